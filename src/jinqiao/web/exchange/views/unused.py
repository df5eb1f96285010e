"""Grants that nobody has used for thirty days, by interface and by exchange."""

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from jinqiao.exchange.queries.unused import DAYS, unused_found
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.exchange.call_forms import UnusedFilter
from jinqiao.web.exchange.roles import SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of


@post_required(*SEERS)
def unused(request: PostHttpRequest) -> HttpResponse:
    form = UnusedFilter(request.GET)
    found = unused_found(request.post, **form.wanted())
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("未用的授权"),
            [
                _("授权"),
                _("目录"),
                _("共享方式"),
                _("提供部门"),
                _("需求部门"),
                _("授权时间"),
                _("有效期止"),
                _("最近使用"),
            ],
            (
                (
                    grant.number,
                    grant.version.name,
                    grant.get_mode_display(),
                    grant.provider.name,
                    grant.consumer.name,
                    grant.created_at,
                    grant.valid_until,
                    grant.last_call or grant.last_run,
                )
                for grant in found.iterator(chunk_size=500)
            ),
        )
    page = page_of(request, found)
    rows = [(grant, grant.last_call or grant.last_run) for grant in page]
    values = {"title": _("未用的授权"), "form": form, "page": page, "rows": rows, "days": DAYS}
    return render(request, "exchange/unused.html", values)
