"""谁查了我, for the authority that answers a person's request for access: the number is typed, used, and forgotten."""

from datetime import date
from typing import Any

from django.core import signing
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.exchange import actions, oversight_errors, rules
from jinqiao.exchange.queries.disclosures import MOST, Disclosures, Period
from jinqiao.kernel import moments
from jinqiao.kernel.errors import InvalidInput, JinqiaoError
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.exchange.call_forms import DisclosureForm
from jinqiao.web.exchange.roles import AUTHORITY
from jinqiao.web.exports import xlsx_response

SALT = "exchange.disclosures"
TOKEN_LIVES_S = 3600


@post_required(*AUTHORITY)
@sensitive_post_parameters("number")
@never_cache
@require_http_methods(["GET", "POST"])
def disclosures(request: PostHttpRequest) -> HttpResponse:
    """The form; with its answer the calls about the person, without the number."""
    rules.check_may_tell_disclosures(request.post)
    form = DisclosureForm(request.POST or None)
    found: Disclosures | None = None
    values: dict[str, Any] = {"title": _("个人查阅")}
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        period = Period(given["since"], given["until"])
        try:
            found = actions.tell_disclosures(given["number"], period, by=request.post, reference=given["reference"])
        except JinqiaoError as error:
            explain(
                request,
                form,
                error,
                {
                    oversight_errors.PersonNumberWrong: "number",
                    oversight_errors.DisclosureReferenceMissing: "reference",
                },
            )
        else:
            values |= _answer(found, given["reference"])
    return render(
        request, "exchange/disclosures.html", values | {"form": _without_number(form), "found": found, "most": MOST}
    )


def _without_number(form: DisclosureForm) -> DisclosureForm:
    """What was typed is not drawn into the page again."""
    if form.is_bound:
        form.data = {**form.data.dict(), "number": ""} if isinstance(form.data, QueryDict) else {}
    return form


def _answer(found: Disclosures, reference: str) -> dict[str, Any]:
    token = signing.dumps(
        {
            "commitments": list(found.commitments),
            "since": found.period.since.isoformat() if found.period.since else "",
            "until": found.period.until.isoformat() if found.period.until else "",
            "reference": reference,
        },
        salt=SALT,
    )
    return {
        "token": token,
        "reference": reference,
        "now": moments.now(),
        "departments": len({call.consumer for call in found.calls}),
    }


@post_required(*AUTHORITY)
@never_cache
@require_POST
def disclosures_export(request: PostHttpRequest) -> HttpResponse:
    """The answer as a workbook, by the signed commitments that its page carries."""
    try:
        asked = signing.loads(request.POST.get("token", ""), salt=SALT, max_age=TOKEN_LIVES_S)
    except signing.BadSignature as problem:
        raise InvalidInput from problem
    since, until = (date.fromisoformat(asked[name]) if asked[name] else None for name in ("since", "until"))
    found = actions.export_disclosures(
        asked["commitments"], Period(since, until), by=request.post, reference=asked["reference"]
    )
    return xlsx_response(
        _("个人查阅结果"),
        [
            _("时间"), _("查询部门"), _("应用"), _("提供部门"), _("数据"), _("数据项"), _("用途"), _("依据"), _("业务编号"), _("是否有结果"),
            _("调用编号"),
        ],
        (
            (
                call.at, call.consumer, call.application, call.provider, call.entry, "、".join(call.items), call.purpose, call.basis,
                call.case_number, _("是") if call.found else _("否"), call.call_id,
            )
            for call in found.calls
        ),
    )  # fmt: skip
