"""Reading anomalies of calls and the rules that find them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from django.db.models import QuerySet

from jinqiao.accounts.models import Post
from jinqiao.exchange.enums import AnomalyKind
from jinqiao.exchange.models import Anomaly
from jinqiao.exchange.queries.visible import sees_all


@dataclass(frozen=True, slots=True)
class AnomalyRule:
    """A rule with its thresholds, as the version of the file has it."""

    kind: AnomalyKind
    is_on: bool
    numbers: Mapping[str, float]

    def number(self, name: str) -> float:
        return self.numbers[name]


@cache
def _file() -> Mapping[str, Any]:
    return tomllib.loads((files("jinqiao.exchange") / "anomaly_rules.toml").read_text(encoding="utf-8"))


def anomaly_rules_version() -> str:
    return str(_file()["version"])


def anomaly_rule(kind: AnomalyKind) -> AnomalyRule:
    row = _file()[kind.value]
    return AnomalyRule(kind, bool(row["on"]), {name: value for name, value in row.items() if name != "on"})


def anomaly_rules() -> list[AnomalyRule]:
    return [anomaly_rule(kind) for kind in AnomalyKind]


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
