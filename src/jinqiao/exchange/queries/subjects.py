"""Which of the city's keys of persons each gateway marks new calls with."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, QuerySet, Subquery

from jinqiao.exchange.enums import NodeKind, NodeState
from jinqiao.exchange.models import Node, PolicyVersion


@dataclass(frozen=True, slots=True)
class MarkedWith:
    """A gateway with the last policy that it fetched; `key_id` is empty where it fetched none."""

    gateway: Node
    version: int | None
    issued_at: datetime | None
    key_id: str


def live_gateways() -> QuerySet[Node]:
    return (
        Node.objects.filter(kind=NodeKind.GATEWAY)
        .exclude(state=NodeState.RETIRED)
        .select_related("organisation")
        .annotate(
            last_policy=Subquery(
                PolicyVersion.objects.filter(gateway=OuterRef("pk")).order_by("-version").values("pk")[:1]
            )
        )
        .order_by("number")
    )


def marked_with(gateways: list[Node]) -> list[MarkedWith]:
    """`gateways` as `live_gateways` gives them."""
    policies = PolicyVersion.objects.in_bulk([gateway.last_policy for gateway in gateways if gateway.last_policy])  # type: ignore[attr-defined]
    found = []
    for gateway in gateways:
        policy = policies.get(gateway.last_policy)  # type: ignore[attr-defined]
        key = ((policy.body.get("body") or {}).get("subject_key") or {}) if policy is not None else {}
        found.append(
            MarkedWith(
                gateway,
                policy.version if policy is not None else None,
                policy.issued_at if policy is not None else None,
                str(key.get("key_id", "")),
            )
        )
    return found
