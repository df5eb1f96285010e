"""Reading alerts, the rules behind them and where they are sent."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import cache, reduce
from importlib.resources import files
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet

from jinqiao.accounts.models import Post
from jinqiao.exchange.enums import AlertKind, AlertSeverity
from jinqiao.exchange.models import Alert, AlertChannel, AlertDelivery, AlertRule, ExchangeTask
from jinqiao.exchange.queries.visible import sees_all
from jinqiao.kernel.moments import CHINA


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number of a rule, with the least and the most it may be set to."""

    name: str
    value: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it holds: shipped, set for all, or set for one task (`origin`: shipped, platform, task)."""

    kind: AlertKind
    is_on: bool
    severity: AlertSeverity
    parameters: Mapping[str, float]
    per_task: bool  # may a task have its own?
    origin: str = "shipped"

    def number(self, name: str) -> float:
        return self.parameters[name]


@cache
def _shipped_file() -> Mapping[str, Any]:
    return tomllib.loads((files("jinqiao.exchange") / "alert_rules.toml").read_text(encoding="utf-8"))


def rules_version() -> str:
    """Version of the shipped rules."""
    return str(_shipped_file()["version"])


def parameters_of(kind: AlertKind) -> tuple[Parameter, ...]:
    """What of a rule may be set, in the order of the file."""
    given = _shipped_file()[kind.value].get("parameters", {})
    return tuple(Parameter(name, row["value"], row["least"], row["most"]) for name, row in given.items())


def shipped_rule(kind: AlertKind) -> Rule:
    row = _shipped_file()[kind.value]
    return Rule(
        kind=kind,
        is_on=bool(row["on"]),
        severity=AlertSeverity(row["severity"]),
        parameters={parameter.name: parameter.value for parameter in parameters_of(kind)},
        per_task=bool(row["per_task"]),
    )


def _with(rule: Rule, row: AlertRule | None, origin: str) -> Rule:
    if row is None:
        return rule
    known = {name: float(value) for name, value in row.parameters.items() if name in rule.parameters}
    return replace(
        rule,
        is_on=row.is_on,
        severity=AlertSeverity(row.severity),
        parameters={**rule.parameters, **known},
        origin=origin,
    )


class RuleBook:
    """All rules as they hold now, read at once. `listening_s`: for how long the platform has been there to be heard from, or
    more; whoever was silent before had nobody to talk to."""

    def __init__(self, listening_s: float = math.inf) -> None:
        self.listening_s = listening_s
        self._rows = {(row.kind, row.task_id): row for row in AlertRule.objects.order_by("id")}

    def rule(self, kind: AlertKind, task_id: int | None = None) -> Rule:
        rule = _with(shipped_rule(kind), self._rows.get((kind.value, None)), "platform")
        return _with(rule, self._rows.get((kind.value, task_id)), "task") if task_id is not None else rule


def rules_for(task: ExchangeTask | None = None) -> list[Rule]:
    """Every rule as it holds for a task (those that a task may set), or for all."""
    book = RuleBook()
    rules = [book.rule(kind, task.pk if task else None) for kind in AlertKind]
    return rules if task is None else [rule for rule in rules if rule.per_task]


def alerts_visible_to(post: Post) -> QuerySet[Alert]:
    """Alerts of the post's own department, of its nodes, and of tasks that it is a side of; all for the bureau and the auditor."""
    alerts = Alert.objects.select_related(
        "organisation", "task__grant__version", "run", "node", "anomaly", "seen_by__person"
    ).order_by("-id")
    if sees_all(post):
        return alerts
    own = post.organisation_id
    sides = Q(organisation_id=own) | Q(node__organisation_id=own)
    return alerts.filter(sides | Q(task__grant__provider_id=own) | Q(task__grant__consumer_id=own))


_NAMED_BY = (
    "run__number",
    "task__number",
    "task__grant__version__name",
    "node__number",
    "node__name",
    "anomaly__service",
    "anomaly__application",
)
"""What an alert is found by: the names that the list shows, and the numbers behind them."""


def alerts_found(
    post: Post,
    *,
    text: str = "",
    is_open: bool | None = None,
    kind: str = "",
    severity: str = "",
    organisation_id: int | None = None,
    since: date | None = None,
    until: date | None = None,
) -> QuerySet[Alert]:
    """Alerts that the post may see, by filters that may be left out; `since` and `until` are days of China, both counted."""
    alerts = alerts_visible_to(post)
    if wanted := text.strip():
        alerts = alerts.filter(reduce(or_, (Q(**{f"{name}__icontains": wanted}) for name in _NAMED_BY)))
    if since is not None:
        alerts = alerts.filter(opened_at__gte=datetime.combine(since, time(), CHINA))
    if until is not None:
        alerts = alerts.filter(opened_at__lt=datetime.combine(until, time(), CHINA) + timedelta(days=1))
    if is_open is not None:
        alerts = alerts.filter(closed_at__isnull=is_open)
    exact = {"kind": kind, "severity": severity, "organisation_id": organisation_id}
    return alerts.filter(**{name: value for name, value in exact.items() if value})


def channels_visible_to(post: Post) -> QuerySet[AlertChannel]:
    """The channels of the post's organisation; all for the bureau."""
    channels = AlertChannel.objects.select_related("organisation", "created_by__person").order_by(
        "organisation_id", "id"
    )
    return channels if sees_all(post) else channels.filter(organisation_id=post.organisation_id)


def last_deliveries(channel: AlertChannel, count: int = 10) -> list[AlertDelivery]:
    return list(channel.deliveries.select_related("alert").order_by("-id")[:count])
