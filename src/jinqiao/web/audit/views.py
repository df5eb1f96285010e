"""Search of the trail, one event with its evidence, and the verification of the whole."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jinqiao.accounts.enums import Role
from jinqiao.audit import anchor, queries, trail
from jinqiao.audit.models import AuditEvent
from jinqiao.audit.trail import Subject
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.audit.errors import TooManyEvents
from jinqiao.web.audit.forms import EventFilter
from jinqiao.web.audit.words import action_word, actor_word
from jinqiao.web.components import Pair
from jinqiao.web.exports import xlsx_response
from jinqiao.web.formats import digest, exact_moment
from jinqiao.web.pagination import page_of
from jinqiao.web.targets import target_url

SEERS = (Role.AUDIT_ADMINISTRATOR, Role.AUDITOR)
EXPORT_LIMIT = 200_000
_SAME = 10


@post_required(*SEERS)
def events(request: PostHttpRequest) -> HttpResponse:
    """Events by action, person, organisation, thing, outcome and date; taking them out is itself an event."""
    form = EventFilter(request.GET)
    found = queries.search(form.wanted())
    if request.GET.get("export") == "xlsx":
        count = found.count()
        if count > EXPORT_LIMIT:
            raise TooManyEvents(count=count, most=EXPORT_LIMIT)
        trail.record("audit.event.export", by=request.post.actor, count=count)
        return xlsx_response(
            _("审计日志"),
            [
                _("序号"),
                _("时间"),
                _("行为"),
                _("行为代码"),
                _("结果"),
                _("行为人"),
                _("角色"),
                _("机构"),
                _("对象类型"),
                _("对象标识"),
                _("对象"),
                _("来源地址"),
                _("细节"),
                _("摘要"),
            ],
            (
                (
                    event.number,
                    event.at,
                    str(action_word(event.action)),
                    event.action,
                    event.get_outcome_display(),
                    str(actor_word(event.actor_name)),
                    _role_word(event.actor_role),
                    event.organisation_name,
                    event.about_type,
                    event.about_id,
                    event.about_label,
                    event.address,
                    canonical_json(event.details).decode("utf-8") if event.details else "",
                    event.digest,
                )
                for event in found.iterator(chunk_size=1000)
            ),
        )
    page = page_of(request, found)
    values = {
        "title": _("日志与证据"),
        "form": form,
        "page": page,
        "rows": [(event, action_word(event.action)) for event in page],
        "sealed": anchor.sealed_head(),
        "actions": [(action, action_word(action)) for action in queries.actions_seen()],
    }
    return render(request, "audit/event_list.html", values)


@post_required(*SEERS)
def event(request: PostHttpRequest, number: int) -> HttpResponse:
    """One event: who, what, the details, and whether it holds."""
    found = get_object_or_404(AuditEvent, number=number)
    neighbours = set(AuditEvent.objects.filter(number__in=(number - 1, number + 1)).values_list("number", flat=True))
    same = (
        queries.events_about(Subject(found.about_type, found.about_id, "")).exclude(pk=found.pk).order_by("-number")
        if found.about_type
        else AuditEvent.objects.none()
    )
    values = {
        "title": _("第%(number)s条：%(action)s") % {"number": number, "action": action_word(found.action)},
        "event": found,
        "fault": trail.verify_event(found),
        "before": number - 1 if number - 1 in neighbours else None,
        "after": number + 1 if number + 1 in neighbours else None,
        "pairs": [
            Pair(_("行为代码"), found.action, code=True),
            Pair(_("行为人"), actor_word(found.actor_name)),
            Pair(_("角色"), _role_word(found.actor_role)),
            Pair(_("机构"), found.organisation_name),
            Pair(_("来源地址"), found.address, code=True),
            Pair(_("对象"), found.about_label, url=target_url(found.about_type, found.about_id)),
            Pair(_("对象标识"), f"{found.about_type} {found.about_id}".strip(), code=True),
        ],
        "details": [(name, _as_text(value)) for name, value in sorted(found.details.items())],
        "evidence": [
            Pair(_("时间"), exact_moment(found.at)),
            Pair(_("密码套件"), found.suite, code=True),
            Pair(_("上一条摘要"), digest(found.previous), code=True),
            Pair(_("本条摘要"), digest(found.digest), code=True),
        ],
        "same": [(other, action_word(other.action)) for other in same[:_SAME]],
    }
    return render(request, "audit/event.html", values)


@post_required(*SEERS)
@never_cache
@require_http_methods(["GET", "POST"])
def verify(request: PostHttpRequest) -> HttpResponse:
    """Verify the whole trail against the sealed head, show the verdict, and write down that it was asked for."""
    verdict = None
    if request.method == "POST":
        verdict = anchor.verify()
        trail.record(
            "audit.trail.verify",
            by=request.post.actor,
            ok=verdict.ok,
            events=verdict.events,
            first_broken=verdict.first_broken,
            reason=verdict.reason,
        )
    broken = verdict.first_broken if verdict is not None else None
    values = {
        "title": _("核验留痕"),
        "verdict": verdict,
        "broken_event": broken if broken and AuditEvent.objects.filter(number=broken).exists() else None,
        "sealed": anchor.sealed_head(),
    }
    return render(request, "audit/verify.html", values)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else canonical_json(value).decode("utf-8")


def _role_word(role: str) -> str:
    return str(Role(role).label) if role in Role.values else role
