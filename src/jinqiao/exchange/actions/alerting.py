"""Alerts open and close: each stands on one desk as a to-do, and goes to the channels of its side and of the bureau. Those of
evidence stand on the desks of the authority and of who audits, and go to the channels of both.

Opening and closing happen in the transaction of what caused them; sending is the worker's.
"""

from collections.abc import Iterator
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from jinqiao.accounts import queries as accounts
from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import post_to_worker
from jinqiao.exchange.enums import OF_EVIDENCE, AlertKind, AlertSeverity
from jinqiao.exchange.models import Alert, AlertChannel, AlertDelivery, Anomaly, ExchangeTask, Node, Run
from jinqiao.exchange.queries.alerts import Rule, RuleBook
from jinqiao.kernel import moments
from jinqiao.workflow import actions as workflow

FAILURE = "exchange.run.failed"
SILENCE = "exchange.node.silent"
TODO_KINDS: dict[AlertKind, str] = {
    **{kind: f"exchange.alert.{kind.value}" for kind in AlertKind},
    AlertKind.RUN_FAILED: FAILURE,
    AlertKind.NODE_SILENT: SILENCE,
}
"""Kind of the to-do of each alert."""
CLOSED_BECAUSE = "closed_because"
"""Where the details of an alert say why it was closed though its cause has not passed."""
GATEWAY_RETIRED, WITNESS_RETIRED = "gateway_retired", "witness_retired"
_ORDER = [severity.value for severity in AlertSeverity]


def task_key(task: ExchangeTask) -> str:
    return f"task:{task.pk}"


def node_key(node: Node) -> str:
    return f"node:{node.pk}"


def run_key(run: Run) -> str:
    return f"run:{run.pk}"


def anomaly_key(anomaly: Anomaly) -> str:
    return f"anomaly:{anomaly.pk}"


@transaction.atomic
def open_alert(
    kind: AlertKind,
    key: str,
    *,
    organisation: Organisation,
    title: str,
    about: trail.Subject,
    rule: Rule | None = None,
    task: ExchangeTask | None = None,
    run: Run | None = None,
    node: Node | None = None,
    anomaly: Anomaly | None = None,
    **details: Any,
) -> Alert | None:
    """Open an alert with its to-do; None where it stands open already. Where the rule of failed runs is off, the to-do still comes:
    it is the only word of the failure. An anomaly has a to-do of its own already.

    `title` is the to-do's, in Chinese; `details` are counts, times and codes, never data.
    """
    rule = rule or RuleBook().rule(kind, task.pk if task else None)
    if not rule.is_on:
        if kind is AlertKind.RUN_FAILED:
            _put_on_desk(kind, title, organisation, about)
        return None
    try:
        with transaction.atomic():
            alert = Alert.objects.create(
                kind=kind,
                key=key,
                severity=rule.severity,
                organisation=organisation,
                task=task,
                run=run,
                node=node,
                anomaly=anomaly,
                details=details,
                opened_at=moments.now(),
            )
    except IntegrityError:  # another worker was first
        return None
    if anomaly is None:
        _put_on_desk(kind, title, organisation, about)
    _send(alert, is_closing=False)
    trail.record(
        "exchange.alert.open",
        by=trail.SYSTEM,
        about=about,
        outcome=Outcome.FAILED,
        kind=kind.value,
        severity=rule.severity.value,
        **details,
    )
    return alert


def _put_on_desk(kind: AlertKind, title: str, organisation: Organisation, about: trail.Subject) -> None:
    for desk, role in _desks(kind, organisation):
        workflow.open_todo(kind=TODO_KINDS[kind], title=title, organisation=desk, role=role, about=about)


def _desks(kind: AlertKind, organisation: Organisation) -> Iterator[tuple[Organisation, Role]]:
    """Whose to-do it is: the administrator's of the side that answers; of evidence the authority's and that of every auditor."""
    if kind not in OF_EVIDENCE:
        yield organisation, Role.DEPARTMENT_ADMINISTRATOR
        return
    yield organisation, Role.BUREAU if organisation.is_authority else Role.DEPARTMENT_ADMINISTRATOR
    for auditing in Organisation.objects.filter(pk__in=_auditing()).order_by("pk"):
        yield auditing, Role.AUDITOR


def _auditing() -> QuerySet[Any]:
    """Keys of the organisations in which somebody audits now."""
    return accounts.holders_of_role(Role.AUDITOR).order_by().values("organisation_id").distinct()


@transaction.atomic
def close_alert(kind: AlertKind, key: str, *, because: str = "") -> bool:
    """The cause is gone: close the alert and its to-do. Whether one was open. `because` is a code of why, where that is not that the
    cause has passed: it is kept with the alert, said to the channels and recorded."""
    alert = Alert.objects.select_for_update(of=("self",)).filter(kind=kind, key=key, closed_at=None).first()
    if alert is None:
        return False
    alert.closed_at = moments.now()
    why: dict[str, Any] = {CLOSED_BECAUSE: because} if because else {}
    alert.details = alert.details | why
    alert.save(update_fields=["closed_at", "details"])
    about = alert.task or alert.node or alert.anomaly
    if about is not None:
        others = Alert.objects.filter(
            kind=kind, closed_at=None, task=alert.task, node=alert.node, anomaly=alert.anomaly
        )
        if not others.exists():  # several of a kind about one thing share a to-do
            workflow.finish_todos(trail.subject(about), by=None, kinds=[TODO_KINDS[kind]])
        trail.record("exchange.alert.close", by=trail.SYSTEM, about=trail.subject(about), kind=kind.value, **why)
    _send(alert, is_closing=True)
    return True


def _send(alert: Alert, *, is_closing: bool) -> None:
    """A message for each channel that takes it; of the end only those that heard of the beginning."""
    of = Q(organisation=alert.organisation) | Q(organisation__is_authority=True)
    if alert.kind in OF_EVIDENCE:
        of |= Q(organisation__in=_auditing())
    channels = AlertChannel.objects.filter(of, is_active=True).distinct()
    for channel in channels.order_by("id"):
        if _ORDER.index(channel.least) > _ORDER.index(alert.severity):
            continue
        if is_closing and not alert.deliveries.filter(channel=channel, is_closing=False).exists():
            continue
        delivery, is_new = AlertDelivery.objects.get_or_create(
            alert=alert, channel=channel, is_closing=is_closing, defaults={"created_at": moments.now()}
        )
        if is_new:
            post_to_worker("alert.send", delivery=delivery.pk)


@transaction.atomic
def see_alert(alert: Alert, *, by: Post) -> Alert:
    """Somebody of the responsible side, or of the bureau, has seen it; it stays open until its cause is gone."""
    alert = Alert.objects.select_for_update(of=("self",)).get(pk=alert.pk)
    rules.check_may_see_alert(by, alert)
    if alert.seen_by_id is None:
        alert.seen_by, alert.seen_at = by, moments.now()
        alert.save(update_fields=["seen_by", "seen_at"])
        trail.record("exchange.alert.see", by=by.actor, about=trail.subject(alert))
    return alert
