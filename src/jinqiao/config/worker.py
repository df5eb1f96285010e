"""The worker: hands outbox rows to durable workflows (DBOS) and starts what the clock says.

One worker runs for a home, held by a lock; workers of several machines may share PostgreSQL (control database and jobs). Each has
a name that stays; each beats, and where another's beat stands still the living take its workflows over. Everything a worker
starts may be repeated: a row's workflow id derives from the row, and each action looks at the state again in its own
transaction. SIGTERM and SIGINT end it after the step at hand.
"""

import fcntl
import logging
import os
import secrets
import signal
import socket
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
from django.db import DatabaseError, close_old_connections, connections, transaction

from jinqiao.audit import anchor
from jinqiao.exchange import actions as exchange_actions
from jinqiao.exchange import tasks as exchange
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.sharing import tasks as sharing

log = logging.getLogger(__name__)

ONLY_EXECUTOR = "worker"
"""Name of every worker before workers had names of their own."""
APPLICATION_VERSION = "1"
"""Raised only when a workflow's steps change so that a half-done one must not go on under the new code."""
LOOK_EVERY_S = 1.0
FINISH_WITHIN_S = 20
BEATS_PER_TAKEOVER = 6
LOCK = "worker.lock"
NAME_FILE = "worker.name"


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
    with transaction.atomic():
        rows = exchange.claimed_messages()
        for row in rows:
            with SetWorkflowID(f"outbox-{row.pk}-{int(row.created_at.timestamp() * 1e6)}"):
                DBOS.start_workflow(outbox_message, row.pk)
            exchange.mark_taken(row.pk)
    return len(rows)


def worker_name(home: Path) -> str:
    """The name of this machine's worker: set, or made once and kept in its home."""
    if settings.WORKER_NAME:
        return str(settings.WORKER_NAME)
    file = home / NAME_FILE
    if not file.exists():
        beside = file.with_name(f".{NAME_FILE}.{os.getpid()}")
        host = "".join(mark for mark in socket.gethostname() if mark.isascii() and (mark.isalnum() or mark == "-"))
        beside.write_text(f"{host[:30]}-{secrets.token_hex(4)}", encoding="ascii")
        beside.rename(file)
    return file.read_text(encoding="ascii").strip()


@dataclass
class Neighbours:
    """The other workers that share the database, as seen from here.

    A worker is dead when its beat has not changed for `dead_after_s` of *our* time: clocks of two machines are never compared.
    One that only stood still, and goes on, does nothing twice that matters: actions look at the state again.
    """

    own: str
    dead_after_s: float
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)

    def dead(self, now: float) -> dict[str, int]:
        """Workers that have been still too long, with their last beat. `now` is monotonic."""
        beats = exchange.worker_beats()
        beats.pop(self.own, None)
        self._seen = {
            name: (at, self._seen[name][1] if self._seen.get(name, (None, 0.0))[0] == at else now)
            for name, at in beats.items()
        }
        return {name: at for name, (at, since) in self._seen.items() if now - since >= self.dead_after_s}

    def take_over(self) -> int:
        """Have the workflows of dead workers done here (or by whichever worker is first); gives the count of the dead."""
        dead = self.dead(time.monotonic())
        for name, at in dead.items():
            # recovered before it is forgotten: killed in between, the next look does it again; the engine lets one runner in
            found = DBOS._recover_pending_workflows([name])
            exchange.forget_worker(name, at)
            log.warning("worker %s beats no more; %d of its jobs go on here", name, len(found))
        return len(dead)


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


def duties(neighbours: Neighbours | None = None) -> list[Duty]:
    """What a worker does, in this order; with others beside it, it beats under its own name and looks after them."""
    began = time.monotonic()
    if neighbours is None:
        beats = [Duty("beat", 10, exchange.beat)]
    else:
        every_s = neighbours.dead_after_s / BEATS_PER_TAKEOVER
        beats = [
            Duty("beat", every_s, lambda: exchange.beat(neighbours.own)),
            Duty("dead workers", every_s, neighbours.take_over),
        ]
    return [
        *beats,
        Duty("outbox", 1, dispatch_outbox),
        Duty("due runs", 5, exchange_actions.start_due_runs),
        Duty("wanted runs", 5, exchange_actions.start_wanted_runs),
        Duty("retries", 5, exchange_actions.retry_due_runs),
        Duty("due comparisons", 30, exchange_actions.compare_due),
        Duty("alerts", 30, lambda: exchange_actions.watch(time.monotonic() - began)),
        Duty("anchors without a witness", 60, exchange_actions.ask_missing_witnesses),
        Duty("replication slots", 60, exchange_actions.watch_slots),
        Duty("grants that ended", 60, sharing.expire_grants),
        Duty("silent nodes", 30, lambda: exchange_actions.alert_silent_nodes(time.monotonic() - began)),
        Duty("old nonces", 60, exchange.forget_nonces),
        Duty("seal of the trail", 60, anchor.seal_head),
        Duty("reminders", 600, sharing.remind_due),
        Duty("unanswered comparisons", 600, exchange_actions.drop_stale_comparisons),
        Duty("unused approvals", 600, exchange_actions.lapse_old_reloads),
        Duty("opened quarantines", 600, exchange_actions.forget_quarantines),
        Duty("anomalies of calls", 600, exchange_actions.watch_calls),
        Duty("samples of calls", 600, exchange_actions.tend_sampling),
        Duty("unused grants", 3600, exchange_actions.remind_unused),
        Duty("evidence whose time is over", 3600, exchange_actions.delete_old_evidence),
        Duty("packs of evidence nobody needs", 3600, exchange_actions.forget_packs),
        Duty("old questions to witnesses", 3600, exchange_actions.drop_old_questions),
        Duty("relay of this machine", 600, exchange_actions.sweep_relay),
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
def workflow_engine(name: str = ONLY_EXECUTOR) -> Iterator[None]:
    """DBOS on its own database, without the vendor's console, observing nothing outside."""
    config: DBOSConfig = {
        "name": "jinqiao",
        "system_database_url": settings.JOBS_DATABASE_URL,
        "executor_id": name,
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


def work(stop: threading.Event, neighbours: Neighbours | None = None) -> None:
    """Do what is due until `stop` is set."""
    rounds = duties(neighbours)
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
        home = Path(settings.HOME)
        with only_worker(home):
            name = worker_name(home)
            exchange.beat(name)  # before there is any work that somebody would have to take over
            with workflow_engine(name):
                DBOS._recover_pending_workflows([ONLY_EXECUTOR])
                log.info("worker %d works as %s", os.getpid(), name)
                work(stop, Neighbours(name, settings.WORKER_TAKEOVER_S))
    except WorkerRuns:
        log.error("another worker runs in %s", settings.HOME)
        return 1
    finally:
        connections.close_all()
    return 0
