"""What the worker does: by outbox topic, and at every tick. Everything here may be repeated without harm."""

import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from django.db import connection, transaction

from jinqiao.exchange import actions
from jinqiao.exchange.models import OutboxMessage, ProcessBeat, SeenNonce
from jinqiao.kernel import moments

WORKER = "worker"


def _purge_relay(body: Mapping[str, Any]) -> None:
    actions.purge_relay(str(body["run"]))


def _follow_run(body: Mapping[str, Any]) -> None:
    actions.follow_run(str(body["run"]))


def _send_alert(body: Mapping[str, Any]) -> None:
    actions.send_alert(int(body["delivery"]))


def _make_pack(body: Mapping[str, Any]) -> None:
    actions.make_pack(str(body["token"]))


def _watch_late(body: Mapping[str, Any]) -> None:
    actions.watch_day(date.fromisoformat(str(body["day"])))


TOPICS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "relay.purge": _purge_relay,
    "run.reconciled": _follow_run,
    "alert.send": _send_alert,
    "evidence.pack": _make_pack,
    "calls.late": _watch_late,
}
"""What each topic of the outbox asks for."""


def waiting_messages(limit: int = 100) -> list[int]:
    return list(OutboxMessage.objects.filter(taken_at=None).order_by("id").values_list("pk", flat=True)[:limit])


def claimed_messages(limit: int = 100) -> list[OutboxMessage]:
    """Waiting rows, oldest first, that no other worker is handing over just now: locked until the caller's transaction ends."""
    skips = connection.features.has_select_for_update_skip_locked
    rows = OutboxMessage.objects.select_for_update(skip_locked=skips).filter(taken_at=None)
    return list(rows.order_by("id")[:limit])


def work_message(message_id: int) -> str:
    """Do what one outbox row asks for; gives its topic."""
    message = OutboxMessage.objects.get(pk=message_id)
    TOPICS[message.topic](message.body)
    return message.topic


def mark_taken(message_id: int) -> None:
    """The row has been handed to a durable workflow, which will see it through."""
    OutboxMessage.objects.filter(pk=message_id, taken_at=None).update(taken_at=moments.now())


def forget_nonces() -> int:
    """Drop nonces whose time window has passed; by then the call is refused for its age."""
    return SeenNonce.objects.filter(expires_at__lt=int(time.time())).delete()[0]


@transaction.atomic
def beat(worker: str = "") -> None:
    """Say that this process works; `health/ready` looks at the beat of any worker, the others at each other's."""
    now = int(time.time())
    ProcessBeat.objects.update_or_create(name=WORKER, defaults={"at": now})
    if worker:
        row, _made = ProcessBeat.objects.get_or_create(name=_beat_name(worker), defaults={"at": now})
        # always another number than before: the others see a change, whatever our clock says
        ProcessBeat.objects.filter(pk=row.pk).update(at=max(now, row.at + 1))


def _beat_name(worker: str) -> str:
    return f"{WORKER}:{worker}"[:60]


def worker_beats() -> dict[str, int]:
    """The last beat of each worker that shares this database, by name."""
    rows = ProcessBeat.objects.filter(name__startswith=f"{WORKER}:").values_list("name", "at")
    return {name.removeprefix(f"{WORKER}:"): at for name, at in rows}


def forget_worker(worker: str, at: int) -> bool:
    """A dead worker's work has been taken over. False where it has beaten again meanwhile."""
    return bool(ProcessBeat.objects.filter(name=_beat_name(worker), at=at).delete()[0])
