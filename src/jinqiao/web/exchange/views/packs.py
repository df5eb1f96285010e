"""Packs of evidence by gateway and period: asked for, made by the worker while the page tells how far it is, downloaded."""

from datetime import timedelta
from typing import Any, cast

from django.contrib import messages
from django.http import FileResponse, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.exchange import actions
from jinqiao.exchange.queries.packs import LIVE, PackAsked, PackState, packs_asked
from jinqiao.kernel import moments
from jinqiao.kernel.errors import error_texts
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.errors import language
from jinqiao.web.exchange.pack_forms import STATES, PackFilter, PackForm
from jinqiao.web.exchange.roles import PACK_TAKERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of

TONES = {
    PackState.WAITING: "wait", PackState.WORKING: "run", PackState.READY: "good", PackState.FAILED: "bad", PackState.REMOVED: "stop",
}  # fmt: skip


@post_required(*PACK_TAKERS)
def packs(request: PostHttpRequest) -> HttpResponse:
    """What was asked for; while the worker is at one, the list asks again every two seconds."""
    form = PackFilter(request.GET)
    found = packs_asked(**form.wanted())
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("存证包"),
            [_("网关"), _("首日"), _("末日"), _("导出人"), _("时间"), _("状态"), _("记录数"), _("字节数")],
            (
                (
                    one.gateway_name, one.since, one.until, one.by_name, one.asked_at, str(STATES[one.state]), one.records, one.size,
                )
                for one in map(PackAsked.of, found.iterator(chunk_size=500))
            ),
        )  # fmt: skip
    page = page_of(request, found)
    listed = [PackAsked.of(row) for row in page]
    values = {
        "title": _("存证包"),
        "form": form,
        "page": page,
        "rows": [_row(one) for one in listed],
        "is_polled": any(one.state in LIVE for one in listed),
        "here_url": request.get_full_path(),
        "kept_days": actions.PACKS_KEPT.days,
    }
    is_part = getattr(request, "htmx", False)
    return render(request, "exchange/_packs_live.html" if is_part else "exchange/packs.html", values)


def _row(one: PackAsked) -> dict[str, Any]:
    text = error_texts().get(one.code)
    problem = text["message" if language() == "zh" else "message_en"] if text else one.code
    return {
        "pack": one,
        "word": STATES[one.state],
        "tone": TONES[one.state],
        "is_ready": one.state == PackState.READY,
        "is_working": one.state == PackState.WORKING,
        "size": formats.size(one.size),
        "problem": problem,
    }


@post_required(*PACK_TAKERS)
@require_http_methods(["GET", "POST"])
def pack_new(request: PostHttpRequest) -> HttpResponse:
    """Which gateway, which days: the last week unless something else is asked for."""
    today = moments.today()
    shown = {
        "gateway": request.GET.get("gateway", ""),
        "since": (today - timedelta(days=6)).isoformat(),
        "until": today.isoformat(),
    }
    form = PackForm(request.POST or None, initial=shown)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        actions.ask_pack(given["gateway"], given["since"], given["until"], by=request.post)
        messages.success(request, _("存证包开始写入，写好后在这里下载。"))
        return HttpResponseRedirect(reverse("exchange:packs"))
    values = {
        "title": _("导出存证"),
        "form": form,
        "note": _(
            "包内是这些天的全部调用记录、批次链、锚和副署、各方公钥，由平台签名；不含查到的内容。任何人用jinqiao verify离线核验。"
            "导出和下载都记入审计留痕。"
        ),
        "action": _("导出存证"),
        "back": reverse("exchange:packs"),
    }
    return render(request, "exchange/form.html", values)


@post_required(*PACK_TAKERS)
@require_POST
def pack_download(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The file, as it verifies."""
    row = get_object_or_404(packs_asked(), pk=pk)
    file = actions.take_pack(row, by=request.post)
    asked = PackAsked.of(row)
    name = f"evidence-{asked.since.isoformat()}-{asked.until.isoformat()}-{asked.token[:8]}.zip"
    response = FileResponse(file.open("rb"), as_attachment=True, filename=name, content_type="application/zip")
    return cast("HttpResponse", response)  # views promise an HttpResponse; Django's streaming one is no subclass
