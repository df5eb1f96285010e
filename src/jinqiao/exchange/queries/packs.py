"""Packs of evidence that somebody asked for on a page: how far each is."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

from django.db.models import QuerySet

from jinqiao.exchange.models import OutboxMessage

TOPIC = "evidence.pack"
"""The worker makes it; the row of the outbox keeps what was asked, and how far it is."""


class PackState(enum.StrEnum):
    WAITING = "waiting"
    WORKING = "working"
    READY = "ready"
    FAILED = "failed"
    REMOVED = "removed"


LIVE = frozenset({PackState.WAITING, PackState.WORKING})


@dataclass(frozen=True, slots=True)
class PackAsked:
    """A pack as its row says. Days are China's, both inclusive; `done` and `total` count batches, `size` bytes."""

    pk: int
    token: str
    gateway: int
    gateway_name: str
    since: date
    until: date
    by_name: str
    asked_at: datetime
    state: PackState
    done: int
    total: int
    records: int
    size: int
    code: str  # of the error, where it failed

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @classmethod
    def of(cls, row: OutboxMessage) -> Self:
        body: Mapping[str, Any] = row.body
        return cls(
            pk=row.pk,
            token=body["token"],
            gateway=body["gateway"],
            gateway_name=body["gateway_name"],
            since=date.fromisoformat(body["since"]),
            until=date.fromisoformat(body["until"]),
            by_name=body["by_name"],
            asked_at=row.created_at,
            state=PackState(body["state"]),
            done=body.get("done", 0),
            total=body.get("total", 0),
            records=body.get("records", 0),
            size=body.get("size", 0),
            code=body.get("code", ""),
        )


def packs_asked(gateway: int | None = None, state: str = "") -> QuerySet[OutboxMessage]:
    """Rows of packs, newest first."""
    rows = OutboxMessage.objects.filter(topic=TOPIC).order_by("-id")
    if gateway is not None:
        rows = rows.filter(body__gateway=gateway)
    return rows.filter(body__state=state) if state else rows
