"""Calls in words: departments by name, outcomes as people read them, the parts of one call's page."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from jinqiao.accounts.models import Organisation, Post
from jinqiao.exchange.models import Call
from jinqiao.exchange.queries.calls import Proof
from jinqiao.exchange.queries.disclosures import item_names
from jinqiao.kernel.errors import error_texts
from jinqiao.web import formats
from jinqiao.web.components import Pair, Step, Text
from jinqiao.web.errors import language
from jinqiao.web.exchange.call_forms import ENVIRONMENTS, OPERATIONS
from jinqiao.web.navigation import may_enter, url_of


class _Unnamed(dict[str, str]):
    """Details of a refusal are not part of the record: … stands for them."""

    def __missing__(self, key: str) -> str:
        return "…"


def outcome_words(code: str) -> str:
    """An outcome as people read it: answered, or the first sentence of the refusal's code."""
    if code == "ok":
        return _("已答复")
    text = error_texts().get(code)
    if text is None:
        return code
    message = text["message" if language() == "zh" else "message_en"].format_map(_Unnamed())
    return message.split("。")[0].removesuffix(".")


def operation_words(operation: str) -> Text:
    return OPERATIONS.get(operation, operation)


def environment_words(environment: str) -> Text:
    return ENVIRONMENTS.get(environment, environment)


def names_of(codes: Iterable[str]) -> Mapping[str, str]:
    """Short names of departments by credit code."""
    wanted = {code for code in codes if code}
    return dict(Organisation.objects.filter(credit_code__in=wanted).values_list("credit_code", "short_name"))


def rows_of(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """What the list shows of each call."""
    listed = list(calls)
    names = names_of(code for call in listed for code in (call.consumer, call.provider))
    return [
        {
            "call": call,
            "consumer": names.get(call.consumer, call.consumer),
            "provider": names.get(call.provider, call.provider),
            "operation": operation_words(call.operation),
            "is_sandbox": call.environment == "sandbox",
            "outcome": outcome_words(call.outcome),
            "is_answered": call.outcome == "ok",
            "owner": call.get_error_owner_display() if call.error_owner else "",
            "ms": round(call.duration_us / 1000, 1),
        }
        for call in listed
    ]


def _open_url(post: Post, name: str, *arguments: object) -> str:
    url = url_of(name, *arguments)
    return url if may_enter(url, post) else ""


def asked_pairs(call: Call, proof: Proof, post: Post) -> list[Pair]:
    """What was asked, by whom, for what."""
    names = names_of((call.consumer, call.provider))
    grant, service, application = proof.grant, proof.service, proof.application
    return [
        Pair(_("需求部门"), names.get(call.consumer, call.consumer)),
        Pair(_("提供部门"), names.get(call.provider, call.provider)),
        Pair(
            _("应用"),
            application.name if application else call.application,
            hint=call.application if application else "",
            url=_open_url(post, "accounts:application", application.pk) if application else "",
        ),
        Pair(_("经办人"), call.end_user, hint=str((call.record or {}).get("role", ""))),
        Pair(
            _("服务"),
            call.service,
            url=_open_url(post, "exchange:service", service.pk) if service else "",
            code=True,
        ),
        Pair(
            _("授权"),
            call.grant_number,
            hint=grant.version.name if grant else "",
            url=_open_url(post, "sharing:grant", grant.pk) if grant else "",
            code=True,
        ),
        Pair(_("用途"), call.purpose),
        Pair(_("业务编号"), call.case_number, code=True),
        Pair(_("操作"), operation_words(call.operation)),
        Pair(_("环境"), environment_words(call.environment)),
        Pair(_("查询对象数"), formats.number(call.keys)),
        Pair(_("返回行数"), formats.number(call.rows)),
        Pair(_("来源地址"), call.address, code=True),
        Pair(_("用时（毫秒）"), formats.number(round(call.duration_us / 1000, 1))),
        Pair(_("数据项"), _("、").join(item_names(call, grant)), wide=True),
    ]


def commitment_pairs(call: Call) -> list[Pair]:
    """Digests that prove the call later; none of them tells what it is of."""
    record = call.record
    if record is None:
        return []
    pairs = [
        Pair(_("请求摘要"), record.get("request_digest", ""), code=True, wide=True),
        Pair(_("查询条件摘要"), record.get("key_commitment", ""), code=True, wide=True),
        Pair(_("答复摘要"), record.get("answer_commitment", ""), code=True, wide=True),
    ]
    subjects = record.get("subjects") or []
    if subjects:
        pairs.append(Pair(_("涉及的人"), formats.number(len(subjects)), hint=_("只有摘要，看不出是谁")))
    return pairs


def proof_steps(call: Call, proof: Proof) -> list[Step]:
    """Recorded, shipped, anchored, countersigned, confirmed by the other side."""
    segment, anchor = proof.segment, proof.anchor
    signed = anchor is not None and anchor.countersigned_at is not None
    if call.confirmed_at is None:
        pairing = Step(_("需求方确认"), "todo", _("未收到"))
    elif call.confirmation_fits is False:
        pairing = Step(_("需求方确认"), "bad", _("双方记录不一致"), formats.moment(call.confirmed_at))
    else:
        pairing = Step(_("需求方确认"), "done", _("双方记录一致"), formats.moment(call.confirmed_at))
    return [
        Step(_("网关记录"), "done", f"{call.lane}/{call.number}", formats.exact_moment(call.at)),
        Step(
            _("成批入链"),
            "done" if segment else "bad",
            _("第%(batch)s批") % {"batch": segment.batch} if segment else _("没有找到批次"),
            formats.moment(segment.received_at) if segment else "",
        ),
        Step(
            _("锚定"),
            "done" if anchor else "todo",
            _("第%(batch)s批的锚") % {"batch": anchor.batch} if anchor else _("等下一个锚"),
            formats.moment(anchor.at) if anchor else "",
        ),
        Step(
            _("见证副署"),
            "done" if signed else "todo",
            (anchor.witness.name if anchor.witness else _("平台")) if anchor and signed else _("未副署"),
            formats.moment(anchor.countersigned_at) if anchor and signed else "",
        ),
        pairing,
    ]
