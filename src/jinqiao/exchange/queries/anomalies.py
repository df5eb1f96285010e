"""Reading anomalies of calls and the rules that find them: the rules of alerts (`queries.alerts`) whose kinds stand for anomalies."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Max, QuerySet

from jinqiao.accounts.models import Post
from jinqiao.exchange.enums import ALERT_OF, AnomalyKind
from jinqiao.exchange.models import AlertRule, Anomaly
from jinqiao.exchange.queries.alerts import RuleBook, rules_version
from jinqiao.exchange.queries.visible import sees_all
from jinqiao.kernel.moments import CHINA


@dataclass(frozen=True, slots=True)
class AnomalyRule:
    """A rule with its thresholds, as they hold now."""

    kind: AnomalyKind
    is_on: bool
    numbers: Mapping[str, float]

    def number(self, name: str) -> float:
        return self.numbers[name]


def anomaly_rules_version() -> str:
    """The version of the shipped rules; where the bureau has set some, with the minute in which it did so last: 2026-11+2603181022."""
    kinds = [kind.value for kind in ALERT_OF.values()]
    set_at = AlertRule.objects.filter(kind__in=kinds, task=None).aggregate(last=Max("set_at"))["last"]
    return rules_version() + (f"+{set_at.astimezone(CHINA):%y%m%d%H%M}" if set_at else "")


def anomaly_rule(kind: AnomalyKind) -> AnomalyRule:
    return _of(kind, RuleBook())


def anomaly_rules() -> list[AnomalyRule]:
    book = RuleBook()
    return [_of(kind, book) for kind in AnomalyKind]


def _of(kind: AnomalyKind, book: RuleBook) -> AnomalyRule:
    rule = book.rule(ALERT_OF[kind])
    return AnomalyRule(kind, rule.is_on, dict(rule.parameters))


def anomalies_visible_to(post: Post) -> QuerySet[Anomaly]:
    """Of the post's department as provider; all for the bureau and the auditor. The consumer, whose conduct is looked at, is asked
    by people and not told by the list."""
    found = Anomaly.objects.select_related("provider", "consumer", "closed_by__person").order_by("-id")
    return found if sees_all(post) else found.filter(provider_id=post.organisation_id)


def anomalies_found(
    post: Post, *, state: str = "", kind: str = "", provider: str = "", consumer: str = ""
) -> QuerySet[Anomaly]:
    """Anomalies that the post may see, by filters that may be left out; departments by credit code."""
    exact = {"state": state, "kind": kind, "provider__credit_code": provider, "consumer__credit_code": consumer}
    return anomalies_visible_to(post).filter(**{name: value for name, value in exact.items() if value})
