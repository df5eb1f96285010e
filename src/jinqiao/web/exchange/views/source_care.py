"""Sparing a source, saying that its data has arrived, dropping it."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.exchange import actions, rules
from jinqiao.exchange.errors import ProtectionWrong
from jinqiao.exchange.models import DataSource, SourceLimits
from jinqiao.exchange.queries.visible import sources_visible_to
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.exchange.forms import ReasonForm
from jinqiao.web.exchange.protection_form import ProtectionForm
from jinqiao.web.exchange.roles import WORKERS


def _source(request: PostHttpRequest, pk: int) -> DataSource:
    found: DataSource = get_object_or_404(sources_visible_to(request.post), pk=pk)
    rules.check_may_manage_source(request.post, found)
    return found


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def source_protect(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Rates, hours, readers side by side, how long a statement may take."""
    found = _source(request, pk)
    limits = SourceLimits.objects.filter(source=found).first()
    form = ProtectionForm(request.POST or None, initial=ProtectionForm.values_of(limits))
    back = reverse("exchange:source", args=[pk])
    if request.method == "POST" and form.is_valid():
        try:
            actions.protect_source(found, by=request.post, **form.wanted())
        except JinqiaoError as error:
            named = str(error.details.get("field", ""))
            explain(request, form, error, {ProtectionWrong: named} if named in form.fields else None)
        else:
            messages.success(request, _("已保存，从下一次运行起生效。"))
            return HttpResponseRedirect(f"{back}#protection")
    values = {
        "title": _("保护数据源"),
        "form": form,
        "held_label": _("数据源"),
        "held_value": found.name,
        "note": _("每个任务都守这些限制；需求方可以更慢，不能更快。"),
        "action": _("保存"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)


@post_required(*WORKERS)
@require_POST
def source_arrived(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Somebody says that new data is there."""
    count = actions.announce_arrival(_source(request, pk), by=request.post)
    messages.success(request, _("已通知%(count)s个任务：来源有新数据。") % {"count": count})
    return HttpResponseRedirect(reverse("exchange:source", args=[pk]))


@post_required(*WORKERS)
@never_cache
@require_POST
def source_arrival_token(request: PostHttpRequest, pk: int) -> HttpResponse:
    """A token for the department's own system; shown once."""
    found = _source(request, pk)
    token = actions.give_arrival_token(found, by=request.post)
    values = {"title": _("到达通知口令"), "source": found, "token": token}
    return render(request, "exchange/arrival_token.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def source_retire(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Drop it for good; asks first."""
    found = _source(request, pk)
    form = ReasonForm(request.POST or None)
    back = reverse("exchange:source", args=[pk])
    if request.method == "POST" and form.is_valid():
        try:
            actions.retire_data_source(found, by=request.post, reason=form.cleaned_data["reason"])
        except JinqiaoError as error:
            explain(request, form, error)
        else:
            messages.success(request, _("数据源已停用。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("停用数据源"),
        "question": _("停用“%(name)s”？") % {"name": found.name},
        "what_stays": [
            _("口令立即清除，不再从它读取，也不再向它交付；停用后不能恢复。"),
            _("经它做过的运行、回执和留痕都保留。它名下的目录挂接一并解除。"),
        ],
        "form": form,
        "action": _("停用数据源"),
        "danger": True,
        "back": back,
        "back_label": _("不停用"),
    }
    return render(request, "components/confirm.html", values)
