"""The worker: hands outbox rows to durable workflows (DBOS) and starts what the clock says.

One worker runs for a home, held by a lock. Everything it starts may be repeated: a row's workflow id derives from the row, and
each action looks at the state again in its own transaction. SIGTERM and SIGINT end it after the step at hand.
"""

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connections

from jinqiao.audit import anchor
from jinqiao.exchange import actions as exchange_actions
from jinqiao.exchange import tasks as exchange
from jinqiao.exchange.models import OutboxMessage
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.sharing import tasks as sharing

log = logging.getLogger(__name__)

EXECUTOR = "worker"
APPLICATION_VERSION = "1"
"""Raised only when a workflow's steps change so that a half-done one must not go on under the new code."""
LOOK_EVERY_S = 1.0
FINISH_WITHIN_S = 20
LOCK = "worker.lock"


class WorkerRuns(Exception):
    """Another worker works in this home."""


@DBOS.step(name="work_message", retries_allowed=True, max_attempts=8, interval_seconds=1.0, backoff_rate=3.0)
def work_message(message_id: int) -> str:
    """One outbox row, at least once."""
    try:
        return exchange.work_message(message_id)
    finally:
        connections.close_all()  # this thread belongs to the workflow engine, and goes back to it


@DBOS.workflow(name="outbox_message")
def outbox_message(message_id: int) -> str:
    """See one outbox row through, also across a restart."""
    topic: str = work_message(message_id)
    return topic


def dispatch_outbox() -> int:
    """Hand waiting rows to workflows, oldest first. A row handed over twice is the same workflow."""
    rows = OutboxMessage.objects.filter(pk__in=exchange.waiting_messages()).order_by("id")
    for row in rows:
        with SetWorkflowID(f"outbox-{row.pk}-{int(row.created_at.timestamp() * 1e6)}"):
            DBOS.start_workflow(outbox_message, row.pk)
        exchange.mark_taken(row.pk)
    return len(rows)


@dataclass
class Duty:
    """Something to do again and again. `due_at` is monotonic time."""

    name: str
    every_s: float
    work: Callable[[], Any]
    due_at: float = field(default=0.0)

    def run_if_due(self, now: float) -> None:
        """One duty that fails holds up no other, and is tried again at its next time."""
        if now < self.due_at:
            return
        self.due_at = now + self.every_s
        try:
            self.work()
        except (JinqiaoError, DatabaseError, OSError) as problem:
            reason = problem.code if isinstance(problem, JinqiaoError) else type(problem).__name__
            log.error("%s failed, tried again in %.0f s: %s", self.name, self.every_s, reason)
        except Exception:
            log.exception("%s failed, tried again in %.0f s", self.name, self.every_s)


def duties() -> list[Duty]:
    return [
        Duty("outbox", 1, dispatch_outbox),
        Duty("due runs", 5, exchange_actions.start_due_runs),
        Duty("retries", 5, exchange_actions.retry_due_runs),
        Duty("beat", 10, exchange.beat),
        Duty("grants that ended", 60, sharing.expire_grants),
        Duty("silent nodes", 30, exchange_actions.alert_silent_nodes),
        Duty("old nonces", 60, exchange.forget_nonces),
        Duty("seal of the trail", 60, anchor.seal_head),
        Duty("reminders", 600, sharing.remind_due),
    ]


@contextmanager
def only_worker(home: Path) -> Iterator[None]:
    """Hold this home's worker lock. Raises WorkerRuns."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise WorkerRuns from problem
        yield


@contextmanager
def workflow_engine() -> Iterator[None]:
    """DBOS on its own database, without the vendor's console, observing nothing outside."""
    config: DBOSConfig = {
        "name": "jinqiao",
        "system_database_url": settings.JOBS_DATABASE_URL,
        "executor_id": EXECUTOR,
        "application_version": APPLICATION_VERSION,
        "log_level": "WARNING",
        "enable_otlp": False,
    }
    DBOS(config=config)
    DBOS.launch()
    try:
        yield
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=FINISH_WITHIN_S)


def work(stop: threading.Event) -> None:
    """Do what is due until `stop` is set."""
    rounds = duties()
    while not stop.is_set():
        for duty in rounds:
            if stop.is_set():
                break
            close_old_connections()
            duty.run_if_due(time.monotonic())
        stop.wait(LOOK_EVERY_S)


def main() -> int:
    """Entry of the process. Exit code 0 after SIGTERM or SIGINT, 1 where another worker runs."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        log.info("worker %d ends after signal %d", os.getpid(), number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        with only_worker(Path(settings.HOME)), workflow_engine():
            log.info("worker %d works", os.getpid())
            work(stop)
    except WorkerRuns:
        log.error("another worker runs in %s", settings.HOME)
        return 1
    finally:
        connections.close_all()
    return 0
