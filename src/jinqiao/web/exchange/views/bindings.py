"""Binding entries to tables: the list of entries, and the two steps of a binding (choose a table, choose columns)."""

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from jinqiao.catalogue.models import DataItem
from jinqiao.exchange import actions, rules
from jinqiao.exchange.models import Binding, SourceTable
from jinqiao.exchange.queries.visible import entries_to_bind, sees_all, sources_visible_to
from jinqiao.kernel.contracts.tables import TableSchema
from jinqiao.kernel.errors import JinqiaoError, NotFound
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.exchange.binding_form import BindForm, TableForm
from jinqiao.web.exchange.forms import EntryFilter
from jinqiao.web.exchange.roles import SEERS, WORKERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of


@post_required(*SEERS)
def bindings(request: PostHttpRequest) -> HttpResponse:
    """Published entries and where their data stands."""
    form = EntryFilter(request.GET, sees_all=sees_all(request.post))
    form.is_valid()
    found = entries_to_bind(request.post)
    text, state = (form.cleaned_data.get(name, "").strip() for name in ("q", "state"))
    if text:
        found = found.filter(Q(live_version__name__icontains=text) | Q(code__icontains=text))
    if state:
        found = found.filter(binding__isnull=state == "open")
    if organisation := form.cleaned_data.get("organisation"):
        found = found.filter(provider=organisation)
    if request.GET.get("export") == "xlsx":
        rows = (
            (
                entry.code,
                entry.live_version.name if entry.live_version else "",
                entry.provider.name,
                binding.source.name if binding else "",
                binding.table if binding else "",
                len(binding.columns) if binding else 0,
                entry.item_count,
            )
            for entry in found.iterator(chunk_size=500)
            for binding in (getattr(entry, "binding", None),)
        )
        heads = [_("信息资源代码"), _("名称"), _("提供方"), _("数据源"), _("表"), _("已挂接数据项"), _("数据项")]
        return xlsx_response(_("挂接"), heads, rows)
    page = page_of(request, found)
    values = {
        "title": _("目录挂接"),
        "form": form,
        "page": page,
        "rows": [(entry, rules.may(rules.check_may_bind, request.post, entry)) for entry in page],
    }
    return render(request, "exchange/bindings.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def bind(request: PostHttpRequest, pk: int) -> HttpResponse:
    """`?source=…&table=…` choose the table; then each data item gets its column."""
    entry = get_object_or_404(entries_to_bind(request.post), pk=pk)
    rules.check_may_bind(request.post, entry)
    binding: Binding | None = getattr(entry, "binding", None)
    chosen_source = request.GET.get("source") or (str(binding.source_id) if binding else "")
    chosen_table = request.GET.get("table") or (binding.table if binding and not request.GET.get("source") else "")
    own = sources_visible_to(request.post).filter(organisation_id=entry.provider_id)
    source = own.filter(pk=int(chosen_source)).first() if chosen_source.isdecimal() else None
    tables = (
        list(SourceTable.objects.filter(source=source).order_by("name").values_list("name", flat=True))
        if source
        else []
    )
    table = SourceTable.objects.filter(source=source, name=chosen_table).first() if source and chosen_table else None
    if request.method == "POST" and (source is None or table is None):
        raise NotFound
    form = None
    if source is not None and table is not None:
        items = DataItem.objects.filter(version_id=entry.live_version_id).order_by("position")
        form = BindForm(list(items), TableSchema.from_json(table.schema), binding, request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                actions.bind_entry(entry, by=request.post, source=source, table=table.name, **form.values())
            except JinqiaoError as error:
                explain(request, form, error)
            else:
                messages.success(request, _("已挂接到%(table)s。") % {"table": table.name})
                return HttpResponseRedirect(reverse("exchange:bindings"))
    values = {
        "title": _("挂接：%(name)s") % {"name": entry.live_version.name if entry.live_version else entry.code},
        "entry": entry,
        "binding": binding,
        "chooser": TableForm(own, tables, initial={"source": source, "table": chosen_table}),
        "form": form,
        "source": source,
        "table": table,
        "back": reverse("exchange:bindings"),
    }
    return render(request, "exchange/bind.html", values)
