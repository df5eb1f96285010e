"""What the worker does: by outbox topic, and at every tick. Everything here may be repeated without harm."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction

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


TOPICS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "relay.purge": _purge_relay,
    "run.reconciled": _follow_run,
    "alert.send": _send_alert,
}
"""What each topic of the outbox asks for."""


def waiting_messages(limit: int = 100) -> list[int]:
    return list(OutboxMessage.objects.filter(taken_at=None).order_by("id").values_list("pk", flat=True)[:limit])


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
def beat(name: str = WORKER) -> None:
    """Say that this process works; `health/ready` looks at it."""
    ProcessBeat.objects.update_or_create(name=name, defaults={"at": int(time.time())})
