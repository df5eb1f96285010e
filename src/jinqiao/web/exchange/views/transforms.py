"""How items of an entry are made from the source's columns: the provider's rules, applied at its node."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.catalogue.models import CatalogueEntry, DataItem
from jinqiao.exchange import actions, rules
from jinqiao.exchange.models import Binding
from jinqiao.exchange.queries.terms import table_schema
from jinqiao.exchange.queries.visible import entries_to_bind
from jinqiao.kernel.catalogues import transform_catalogue
from jinqiao.kernel.contracts.exchange import Transform
from jinqiao.kernel.errors import JinqiaoError, NotFound
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.exchange.binding_form import column_label
from jinqiao.web.exchange.roles import WORKERS
from jinqiao.web.exchange.rule_forms import ChooseTransform, Offered, TransformForm
from jinqiao.web.exchange.task_view import transform_lines
from jinqiao.web.exchange.words import titled, transform_word


def _bound(request: PostHttpRequest, pk: int) -> tuple[CatalogueEntry, Binding]:
    entry: CatalogueEntry = get_object_or_404(entries_to_bind(request.post), pk=pk)
    rules.check_may_bind(request.post, entry)
    binding = Binding.objects.select_related("source").filter(entry=entry).first()
    if binding is None:
        raise NotFound
    return entry, binding


def _names(entry: CatalogueEntry, binding: Binding) -> dict[str, str]:
    """Bound items by code."""
    items = DataItem.objects.filter(version_id=entry.live_version_id).order_by("position")
    return {item.code: item.name for item in items if item.code in binding.columns}


def _kept(binding: Binding) -> list[Transform]:
    return [Transform.from_json(transform) for transform in binding.transforms]


@post_required(*WORKERS)
def transforms(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The rules of an entry, and a chooser for one more."""
    entry, binding = _bound(request, pk)
    names = _names(entry, binding)
    done = {transform.item for transform in _kept(binding)}
    free = [(code, f"{name}（{code}）") for code, name in names.items() if code not in done]
    values = {
        "title": _("转换规则：%(name)s") % {"name": entry.live_version.name if entry.live_version else entry.code},
        "entry": entry,
        "binding": binding,
        "lines": transform_lines(binding, names),
        "chooser": ChooseTransform(free) if free else None,
        "back": reverse("exchange:bindings"),
    }
    return render(request, "exchange/transforms.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def transform(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One rule: a new one (`?item=…&operation=…`), or that of `?item=…`."""
    entry, binding = _bound(request, pk)
    names, kept = _names(entry, binding), _kept(binding)
    item = request.GET.get("item", "")
    old = next((rule for rule in kept if rule.item == item), None)
    operation = request.GET.get("operation", "")
    if old is not None and not operation:
        operation = str(old.parameters.get("operation", "")) or old.kind.value
    catalogue_entry = transform_catalogue().get(operation)
    if catalogue_entry is None or item not in names:
        raise NotFound
    columns = [(column.name, column_label(column)) for column in table_schema(binding.source, binding.table).columns]
    form = TransformForm(Offered((), columns), operation, item, request.POST or None, transform=old)
    back = reverse("exchange:transforms", args=[pk])
    if request.method == "POST" and form.is_valid():
        new = form.transform()
        wanted = [new if rule is old else rule for rule in kept] if old is not None else [*kept, new]
        try:
            actions.choose_transforms(entry, by=request.post, transforms=wanted)
        except JinqiaoError as error:
            explain(request, form, error)
        else:
            messages.success(request, _("转换规则已保存，下一次运行起生效。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("转换：%(name)s") % {"name": transform_word(operation)},
        "form": form,
        "held_label": _("数据项"),
        "held_value": f"{names[item]}（{item}）",
        "note": titled(catalogue_entry, "note"),
        "action": _("保存规则"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)


@post_required(*WORKERS)
@require_POST
def transform_remove(request: PostHttpRequest, pk: int, position: int) -> HttpResponse:
    entry, binding = _bound(request, pk)
    kept = _kept(binding)
    if position >= len(kept):
        raise NotFound
    del kept[position]
    actions.choose_transforms(entry, by=request.post, transforms=kept)
    messages.success(request, _("转换规则已删除，下一次运行起直接用挂接的列。"))
    return HttpResponseRedirect(reverse("exchange:transforms", args=[pk]))
