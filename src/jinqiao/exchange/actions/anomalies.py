"""Anomalies of calls: found by the worker, put on the provider's desk, closed by people with a reason."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from django.db import transaction
from django.utils.translation import gettext_noop as _

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.alerting import anomaly_key, close_alert, open_alert
from jinqiao.exchange.actions.platform import post_to_worker
from jinqiao.exchange.enums import ALERT_OF, ANOMALY_MOVES, AnomalyKind, AnomalyState
from jinqiao.exchange.models import Anomaly, OutboxMessage
from jinqiao.exchange.oversight_errors import (
    AnomalyClosed,
    AnomalyReasonMissing,
)
from jinqiao.exchange.queries.anomalies import anomaly_rules, anomaly_rules_version
from jinqiao.exchange.queries.conduct import Finding, findings_of
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.contracts.evidence import CallRecord
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.moments import CHINA
from jinqiao.workflow import actions as workflow

EXPLAIN = "exchange.anomaly.explain"
"""The to-do of a provider, or of the authority, to look into an anomaly."""
LOOK_BACK_DAYS = 1
LATE = "calls.late"
"""Topic of the worker: look at the calls of a day that is over."""
REASON_LIMIT = 500
TITLES = {
    AnomalyKind.OFF_HOURS: _("核实非工作时段的查询：%(name)s"),
    AnomalyKind.VOLUME: _("核实异常的查询量：%(name)s"),
    AnomalyKind.ENUMERATION: _("核实疑似遍历的查询：%(name)s"),
    AnomalyKind.SAME_PERSON: _("核实对同一人的多方查询：%(name)s"),
    AnomalyKind.BUSY_USER: _("核实一名经办人的大量查询：%(name)s"),
    AnomalyKind.SHARED_CASE: _("核实同一业务编号的大量查询：%(name)s"),
}


def watch_calls(today: date | None = None) -> int:
    """Look at the calls of today and yesterday by every rule that is on; gives how many anomalies are new. Looking twice changes nothing
    but the figures of what is still open."""
    last = today or moments.today()
    return sum(watch_day(last - timedelta(days=back)) for back in range(LOOK_BACK_DAYS, -1, -1))


def watch_day(day: date) -> int:
    """The same for the calls of one day."""
    return sum(note_finding(finding) for rule in anomaly_rules() if rule.is_on for finding in findings_of(day, rule))


def watch_late(records: Sequence[CallRecord]) -> None:
    """Have the days looked at of which records come so late that the ticks have passed them: a gateway without a line goes on under its
    last policy, and just then nobody watched."""
    first = moments.today() - timedelta(days=LOOK_BACK_DAYS)
    for day in sorted({record.at.astimezone(CHINA).date() for record in records}):
        if (
            day < first
            and not OutboxMessage.objects.filter(topic=LATE, body={"day": day.isoformat()}, taken_at=None).exists()
        ):
            post_to_worker(LATE, day=day.isoformat())


@transaction.atomic
def note_finding(finding: Finding) -> bool:
    """Keep a finding with its to-do, and tell it by the channels of alerts; whether it is new. One that is closed stays closed, whatever is counted later that day."""
    bodies = Organisation.objects.filter(
        credit_code__in=[code for code in (finding.provider, finding.consumer) if code]
    )
    by_code = {body.credit_code: body for body in bodies}
    anomaly, is_new = Anomaly.objects.get_or_create(
        kind=finding.kind,
        key=_key(finding),
        defaults={
            "rules_version": anomaly_rules_version(),
            "provider": by_code.get(finding.provider),
            "consumer": by_code.get(finding.consumer),
            "service": finding.service,
            "application": finding.application,
            "end_user": finding.end_user,
            "case_number": finding.case_number,
            "subject": finding.subject,
            "since": finding.since,
            "until": finding.until,
            "figures": dict(finding.figures),
            "found_at": moments.now(),
        },
    )
    if not is_new:
        Anomaly.objects.filter(pk=anomaly.pk, state=AnomalyState.OPEN).update(figures=dict(finding.figures))
        return False
    about = trail.subject(anomaly, str(AnomalyKind(anomaly.kind).value))
    title = TITLES[AnomalyKind(anomaly.kind)] % {"name": _name(anomaly)}
    desks = list(_desks(anomaly))
    for organisation, role in desks:
        workflow.open_todo(kind=EXPLAIN, title=title, organisation=organisation, role=role, about=about)
    trail.record(
        "exchange.anomaly.find",
        by=trail.SYSTEM,
        about=about,
        outcome=Outcome.FAILED,
        kind=anomaly.kind,
        rules=anomaly.rules_version,
        service=anomaly.service,
        application=anomaly.application,
        figures=anomaly.figures,
    )
    if desks:
        open_alert(
            ALERT_OF[AnomalyKind(anomaly.kind)],
            anomaly_key(anomaly),
            organisation=desks[0][0],
            title=title,
            about=about,
            anomaly=anomaly,
            **anomaly.figures,
        )
    return True


def _key(finding: Finding) -> str:
    parts = [
        finding.since.isoformat(), finding.provider, finding.consumer, finding.service, finding.application, finding.end_user,
        finding.case_number, finding.subject,
    ]  # fmt: skip
    return suite("international").digest(canonical_json(parts)).hex()


def _name(anomaly: Anomaly) -> str:
    """What stands in the title: a service or an application; never a person, an end user or a case."""
    if anomaly.service or anomaly.application:
        return anomaly.service or anomaly.application
    side = anomaly.consumer or anomaly.provider
    return side.short_name if side else anomaly.since.astimezone(moments.CHINA).date().isoformat()


def _desks(anomaly: Anomaly) -> Iterator[tuple[Organisation, Role]]:
    if anomaly.provider is not None:
        yield anomaly.provider, Role.DEPARTMENT_ADMINISTRATOR
        return
    for authority in Organisation.objects.filter(is_authority=True, is_active=True).order_by("pk"):
        yield authority, Role.BUREAU


@transaction.atomic
def close_anomaly(anomaly: Anomaly, *, by: Post, state: AnomalyState | str, reason: str) -> Anomaly:
    """The provider, or the authority, says what was behind it. Raises NotYourAnomaly, AnomalyReasonMissing, AnomalyClosed."""
    anomaly = Anomaly.objects.select_for_update(of=("self",)).select_related("provider", "consumer").get(pk=anomaly.pk)
    rules.check_may_close_anomaly(by, anomaly)
    state = AnomalyState(state)
    if state not in ANOMALY_MOVES[AnomalyState(anomaly.state)]:
        raise AnomalyClosed(state=str(anomaly.get_state_display()))
    reason = reason.strip()
    if not reason or len(reason) > REASON_LIMIT:
        raise AnomalyReasonMissing(limit=REASON_LIMIT)
    anomaly.state, anomaly.reason, anomaly.closed_at, anomaly.closed_by = state, reason, moments.now(), by
    anomaly.save(update_fields=["state", "reason", "closed_at", "closed_by"])
    about = trail.subject(anomaly, anomaly.kind)
    workflow.finish_todos(about, by=by, kinds=[EXPLAIN])
    close_alert(ALERT_OF[AnomalyKind(anomaly.kind)], anomaly_key(anomaly))
    trail.record(
        "exchange.anomaly.close", by=by.actor, about=about, kind=anomaly.kind, state=state.value, reason=reason
    )
    return anomaly
