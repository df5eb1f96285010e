"""A request or a grant as its page shows it: the course as a bridge, what happened as a timeline, terms as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit.models import AuditEvent
from jinqiao.catalogue.enums import ItemType, PersonalInformation
from jinqiao.catalogue.models import DataItem
from jinqiao.kernel.rulesets import ruleset
from jinqiao.sharing import queries
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.models import Decision, Grant, SharingRequest
from jinqiao.web import formats
from jinqiao.web.audit.words import actor_word
from jinqiao.web.components import Event, Pair, Step, StepState, Text
from jinqiao.web.navigation import url_of
from jinqiao.web.sharing.forms import MASKS
from jinqiao.workflow import queries as workflow
from jinqiao.workflow.enums import SignOffKind
from jinqiao.workflow.models import Clock, SignOff

CONSUMERS_OWN = {"sharing.request.draft", "sharing.request.save", "sharing.request.return"}
PROVIDERS_OWN = {"sharing.decision.draft", "sharing.decision.return"}
"""Work inside one department: the other side does not read it."""

HAPPENED: Mapping[str, Text] = {
    "sharing.request.draft": gettext_lazy("起草申请"),
    "sharing.request.submit": gettext_lazy("提交本部门审批"),
    "sharing.request.ask_papers": gettext_lazy("一次性告知补正"),
    "sharing.request.supply_papers": gettext_lazy("补正材料"),
    "sharing.request.withdraw": gettext_lazy("撤回申请"),
    "sharing.request.overdue": gettext_lazy("答复逾期，平台提醒提供部门负责人和主管部门"),
    "sharing.decision.draft": gettext_lazy("拟办答复"),
    "sharing.extension.ask": gettext_lazy("申请延期答复"),
    "sharing.grant.make": gettext_lazy("授权生效"),
    "sharing.grant.provide": gettext_lazy("首次供给数据"),
    "sharing.grant.suspend": gettext_lazy("暂停授权"),
    "sharing.grant.resume": gettext_lazy("恢复授权"),
    "sharing.grant.revoke": gettext_lazy("撤销授权"),
    "sharing.grant.expire": gettext_lazy("授权到期"),
    "sharing.grant.replace": gettext_lazy("由新授权替代"),
    "sharing.grant.note_filing": gettext_lazy("主管部门备案"),
    "sharing.grant.provision_overdue": gettext_lazy("供给数据逾期，平台提醒提供部门负责人"),
    "sharing.change.propose": gettext_lazy("提出变更"),
}

_SIGNED: Mapping[tuple[str, bool], Text] = {
    (SignOffKind.REQUEST_HEAD, True): gettext_lazy("批准申请，承诺真实、合法、必要"),
    (SignOffKind.REQUEST_HEAD, False): gettext_lazy("退回申请"),
    (SignOffKind.DECISION_HEAD, True): gettext_lazy("批准答复"),
    (SignOffKind.DECISION_HEAD, False): gettext_lazy("退回答复"),
    (SignOffKind.EXTENSION_AUTHORITY, True): gettext_lazy("同意延期答复"),
    (SignOffKind.EXTENSION_AUTHORITY, False): gettext_lazy("不同意延期答复"),
}


def is_overseer(post: Post) -> bool:
    return post.role in (Role.BUREAU, Role.AUDITOR)


def sees_inside(post: Post, organisation_id: int) -> bool:
    """Whether a department's inner steps (drafts, returns) are shown: to itself and to those who oversee."""
    return post.organisation_id == organisation_id or is_overseer(post)


def shown_decision(request: SharingRequest, decision: Decision | None, post: Post) -> Decision | None:
    """The reply: to the consumer only once the provider's head has approved it."""
    if decision is None or decision.approved_at is not None or sees_inside(post, request.provider_id):
        return decision
    return None


def course(request: SharingRequest, clock: Clock | None, grant: Grant | None) -> list[Step]:
    """The bridge from the request to its use."""
    submitted, received, decided = request.submitted_at, request.received_at, request.decided_at
    is_over = request.state in (RequestState.WITHDRAWN, RequestState.REFUSED)
    reply_state: StepState = "todo"
    reply_note: Text = ""
    if request.state == RequestState.REFUSED:
        reply_state, reply_note = "bad", _("%(day)s 不同意") % {"day": formats.day(decided)}
    elif decided:
        reply_state, reply_note = "done", formats.day(decided)
    elif received and not is_over:
        reply_state = "now"
        reply_note = _("应于%(day)s") % {"day": formats.day(clock.due_on)} if clock and clock.due_on else ""
    provided = grant.provided_at if grant else None
    steps = [
        Step(_("提出"), "now" if request.state == RequestState.DRAFT else "done", note=formats.day(request.created_at)),
        Step(
            _("本部门批准"),
            "done" if received else "now" if request.state == RequestState.HEAD_APPROVAL else "todo",
            note=formats.day(received) if received else formats.day(submitted) if submitted else "",
        ),
        Step(_("提供方答复"), reply_state, note=reply_note),
        Step(
            _("供给数据"),
            "done" if provided else "now" if grant else "todo",
            note=formats.day(provided) if provided else "" if is_over else _provision_term(request),
        ),
        Step(
            _("使用留痕"),
            "now" if provided else "todo",
            note=_("至%(day)s") % {"day": formats.day(grant.valid_until)} if grant else "",
            url=reverse("sharing:grant", args=[grant.pk]) if grant else "",
        ),
    ]
    if request.state == RequestState.WITHDRAWN:
        at = next(index for index, step in enumerate(steps) if step.state != "done")
        steps[at:] = [Step(_("已撤回"), "bad")]
    return steps


def _provision_term(request: SharingRequest) -> str:
    """How long the provider has after agreeing, by the request's rule set."""
    rule = ruleset(request.rule_set).clocks.get("grant.provision")
    return _("答复后%(days)s个工作日内") % {"days": rule.working_days} if rule else ""


def timeline(request: SharingRequest, post: Post, sign_offs: Sequence[SignOff]) -> list[Event]:
    """What happened to a request, the latest first, without the inner steps of the other department."""
    hidden: set[str] = set()
    if not sees_inside(post, request.consumer_id):
        hidden |= CONSUMERS_OWN
    if not sees_inside(post, request.provider_id):
        hidden |= PROVIDERS_OWN
    lines = _happened(queries.about_request(request).type, str(request.pk), hidden)
    for signed in sign_offs:
        own = request.consumer_id if signed.kind == SignOffKind.REQUEST_HEAD else request.provider_id
        if signed.approved or sees_inside(post, own):
            lines.append(_signed(signed))
    return sorted(lines, key=lambda event: str(event.at), reverse=True)


def grant_timeline(grant: Grant, post: Post) -> list[Event]:
    about = queries.about_grant(grant)
    hidden = set() if sees_inside(post, grant.provider_id) else {"sharing.change.propose"}
    lines = _happened(about.type, about.id, hidden)
    for signed in workflow.sign_offs(about):
        if signed.approved or sees_inside(post, grant.provider_id):
            lines.append(_signed(signed))
    return sorted(lines, key=lambda event: str(event.at), reverse=True)


def _happened(about_type: str, about_id: str, hidden: set[str]) -> list[Event]:
    events = AuditEvent.objects.filter(about_type=about_type, about_id=about_id, action__in=set(HAPPENED) - hidden)
    return [
        Event(
            HAPPENED[event.action],
            at=event.at,
            who=f"{actor_word(event.actor_name)} {event.organisation_name}".strip(),
            note=event.details.get("reason", ""),
        )
        for event in events.order_by("number")
    ]


def _signed(signed: SignOff) -> Event:
    return Event(
        _SIGNED[signed.kind, signed.approved],
        at=signed.signed_at,
        who=f"{signed.person_name} {signed.organisation_name}",
        note=signed.opinion,
    )


def request_pairs(request: SharingRequest, approver: SignOff | None) -> list[Pair]:
    pairs = [
        Pair(
            _("需求部门"),
            request.consumer.name,
            hint=f"{request.created_by.person.name} {request.created_by.section or ''}".strip(),
        ),
        Pair(_("提供部门"), request.provider.name),
        Pair(
            _("目录条目"),
            request.version.name,
            hint=request.entry.code or "",
            url=url_of("catalogue:entry", request.entry_id),
            wide=True,
        ),
        Pair(_("使用依据"), request.basis, wide=True),
        Pair(_("使用场景"), request.scenario, wide=True),
        Pair(_("使用范围"), request.scope, wide=True),
        Pair(_("共享方式"), request.get_mode_display()),
        Pair(
            _("使用时限"),
            _("%(first)s至%(last)s")
            % {"first": formats.full_day(request.use_from), "last": formats.full_day(request.use_until)},
        ),
        Pair(_("用途"), "、".join(request.purposes), wide=True),
        Pair(_("业务编号"), _("每次查询必须填写") if request.case_number_required else _("不要求")),
        Pair(_("数据范围"), request.row_scope),
    ]
    if approver is not None:
        pairs[2:2] = [
            Pair(_("批准人"), approver.person_name, hint=formats.day(approver.signed_at)),
            Pair(_("批准意见"), approver.opinion),
        ]
    return pairs


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A data item as a request or a grant shows it. `mask` is empty where nothing is decided; `agreed` None likewise."""

    code: str
    name: str
    data_type: Text
    personal_information: Text
    is_sensitive: bool
    mask: Text = ""
    agreed: bool | None = None


def item_rows(request: SharingRequest, known: Mapping[str, DataItem], decision: Decision | None) -> list[ItemRow]:
    """The items asked for, with what the reply says of each."""
    rows = []
    for code in request.items:
        item = known.get(code)
        if item is None:
            continue
        agreed = None if decision is None else decision.agrees and code in decision.items
        mask = MASKS[decision.masks.get(code, "none")] if decision is not None and agreed else ""
        rows.append(
            ItemRow(
                code=code,
                name=item.name,
                data_type=item.get_data_type_display(),
                personal_information=item.get_personal_information_display(),
                is_sensitive=item.personal_information == PersonalInformation.SENSITIVE,
                mask=mask,
                agreed=agreed,
            )
        )
    return rows


def granted_rows(grant: Grant) -> list[dict[str, Any]]:
    """The items of a grant with words for type and mask."""
    return [
        {
            **item,
            "type": ItemType(item["data_type"]).label,
            "mask_words": MASKS[item["mask"]],
            "is_masked": item["mask"] != "none",
        }
        for item in grant.items
    ]


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of the comparison with the grant that runs."""

    what: Text
    running: Text
    asked: Text
    verdict: Text
    tone: str


def differences(request: SharingRequest, running: Grant, names: Mapping[str, str]) -> list[Difference]:
    """How the request differs from the running grant on the same entry: wider, narrower, the same."""
    old, new = {item["code"] for item in running.items}, set(request.items)
    added = "、".join(names.get(code, code) for code in sorted(new - old))
    if new == old:
        items = (_("不变"), "idle")
    elif new > old or new - old:
        items = (_("扩大"), "warn")
    else:
        items = (_("缩小"), "good")
    old_rows, new_rows = len(running.row_filter), len(request.row_filter)
    same_rows = running.row_filter == request.row_filter
    narrower_rows = all(condition in request.row_filter for condition in running.row_filter)
    count = _("%(count)s项")
    return [
        Difference(
            _("数据项"),
            count % {"count": len(old)},
            count % {"count": len(new)} + (_("，新增%(items)s") % {"items": added} if added else ""),
            *items,
        ),
        Difference(
            _("数据范围条件"),
            _("%(count)s条") % {"count": old_rows},
            _("%(count)s条") % {"count": new_rows},
            *((_("不变"), "idle") if same_rows else (_("缩小"), "good") if narrower_rows else (_("有变化"), "warn")),
        ),
        Difference(
            _("有效期"),
            _("至%(day)s") % {"day": formats.full_day(running.valid_until)},
            _("至%(day)s") % {"day": formats.full_day(request.use_until)},
            *((_("延长"), "warn") if request.use_until > running.valid_until else (_("不延长"), "idle")),
        ),
    ]
