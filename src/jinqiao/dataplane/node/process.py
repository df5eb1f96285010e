"""The loop of a node: answer what is done, tell how far the rest is, ask what is new. Needs no inbound port.

Moves are worked in `parallel` threads, small commands in one of their own, so that a connection test never waits behind an
hour of extraction. Whatever ends the process, the ledger knows where to go on.
"""

import logging
import os
import platform
import sqlite3
import threading
import time
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from jinqiao import __version__
from jinqiao.dataplane.node import admission
from jinqiao.dataplane.node.budget import Budget, BudgetedSpool
from jinqiao.dataplane.node.direct import Listener
from jinqiao.dataplane.node.errors import Closing, CommandNotOfPlatform, HomeCarried, HomeNotWritable, NotYet
from jinqiao.dataplane.node.home import ROTATE_REQUEST, NodeHome
from jinqiao.dataplane.node.ledger import AT_ONCE, KEEP, Ledger, Task
from jinqiao.dataplane.node.relay import waits
from jinqiao.dataplane.node.rotation import rotate
from jinqiao.dataplane.node.work import Worker, drop_staged, failed, problem_of
from jinqiao.dataplane.platform import PlatformAnswerBroken, PlatformAway, PlatformClient, PlatformRefused
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.exchange import (
    CommandKind,
    CommandResult,
    Heartbeat,
    Problem,
    Progress,
    SignedMessage,
    Stage,
)
from jinqiao.kernel.crypto.identity import fingerprint
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

POLL_PATH = "/api/nodes/poll"
RESULTS_PATH = "/api/nodes/results"
HEAVY = (CommandKind.EXTRACT, CommandKind.DELIVER, CommandKind.RESEND, CommandKind.COMPARE, CommandKind.RESUBMIT)
SMALL = (
    CommandKind.TEST_CONNECTION,
    CommandKind.LIST_TABLES,
    CommandKind.PURGE,
    CommandKind.READ_QUARANTINE,
    CommandKind.DROP_SLOT,
    CommandKind.COUNTERSIGN,
    *AT_ONCE,
)
AWAITING_LOOK_S = 5.0
END_WITHIN_S = 20.0
TIDY_EVERY_S = 3600.0
IDLE_S = 0.5


class Node:
    """One node at work in its home. Holds the home's lock from its making to `close`."""

    def __init__(self, home: NodeHome) -> None:
        """Raises HomeInUse, HomeNotWritable."""
        self.home = home
        self._lock = home.lock()
        try:
            self.ledger = Ledger(home.ledger_file)
        except sqlite3.Error as problem:
            os.close(self._lock)
            raise HomeNotWritable(home=home.path.name) from problem
        self._closing = threading.Event()
        self._news = threading.Event()  # something for the loop: a result, or the end
        self._work = threading.Condition()  # something for the threads
        self._progress: dict[tuple[str, Stage], Progress] = {}
        self._untold: set[tuple[str, Stage]] = set()
        self._progress_lock = threading.Lock()
        self.spool = BudgetedSpool(
            home.spool_folder,
            Budget(
                home.spool_folder,
                budget_bytes=home.spool_budget_bytes,
                min_free_bytes=home.spool_min_free_bytes,
                make_room=self._drop_oldest_kept,
            ),
        )
        self._worker = Worker(home, self.ledger, self._closing, self._note_progress, self.spool)
        self._listener: Listener | None = None
        self._platform: PlatformClient = home.client()
        self._said = ""
        self._is_awaiting = False  # approval by a person
        self._is_broken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._platform.close()
        self.ledger.close()
        os.close(self._lock)

    def stop(self) -> None:
        """End soon; safe in a signal handler."""
        self._closing.set()
        self._news.set()

    # -- running

    def run(self) -> bool:
        """Until `stop`. Work that is going on ends at its next step and is resumed at the next start. False where the
        ledger failed: whoever supervises the process starts it anew. Raises HomeCarried."""
        if self.home.is_carried:
            raise HomeCarried(home=self.home.path.name)
        self.listen()
        lanes = [HEAVY] * self.home.parallel + [SMALL]
        threads = [
            threading.Thread(target=self._work_lane, args=(kinds,), name=f"lane-{number}", daemon=True)
            for number, kinds in enumerate(lanes, 1)
        ]
        for thread in threads:
            thread.start()
        logger.info("node %s works for %s", self.home.node_id, self.home.platform_url)
        wait, tidy_at = waits(), 0.0
        while not self._closing.is_set():
            if self._round():
                wait, pause = waits(), self.home.poll_s
            else:
                pause = AWAITING_LOOK_S if self._is_awaiting else max(wait(), self.home.poll_s)
            if time.monotonic() >= tidy_at:
                self._tidy()
                tidy_at = time.monotonic() + TIDY_EVERY_S
            self._news.wait(pause)
            self._news.clear()
        with self._work:
            self._work.notify_all()
        end_at = time.monotonic() + END_WITHIN_S
        for thread in threads:  # a statement that hangs in a database does not hold the process
            thread.join(max(0.0, end_at - time.monotonic()))
        logger.info("node %s has ended", self.home.node_id)
        return not self._is_broken

    def run_once(self) -> bool:
        """One poll; everything that came or was left over is worked and answered. False where the platform is away."""
        if self.home.is_carried:
            raise HomeCarried(home=self.home.path.name)
        if not self._round():
            return False
        self.work_all()
        return self._send_results()

    def work_all(self) -> None:
        """Work everything that waits and need not wait longer; without the platform."""
        while not self._closing.is_set() and (task := self.ledger.claim((*HEAVY, *SMALL))) is not None:
            self._work_one(task)

    def listen(self) -> None:
        """Take chunks directly from now on, where the configuration says so."""
        if self.home.listen and self._listener is None:
            self._listener = Listener(self.home, self.ledger, self.spool)
            self._listener.start()
            logger.info("node %s takes chunks at %s", self.home.node_id, self._listener.url)

    def _work_one(self, task: Task) -> None:
        try:
            self._finish(self._worker.work(task))
        except NotYet as waiting:
            self.ledger.put_back(task, waiting.until)
            self._news.set()

    def _work_lane(self, kinds: tuple[CommandKind, ...]) -> None:
        while not self._closing.is_set():
            task = self.ledger.claim(kinds)
            if task is None:
                with self._work:
                    self._work.wait(IDLE_S)
                continue
            try:
                self._work_one(task)
            except Closing:
                return
            except Exception:
                # The ledger itself failed (a full disk): a node that cannot write down what it did must not go on.
                logger.exception("the ledger of node %s failed", self.home.node_id)
                self._is_broken = True
                self.stop()
                return

    def _tidy(self) -> None:
        """Old commands lose what they carried; chunks go when they were kept long enough after the receipt, those of runs that
        nobody purged after a month; an identity of before a rotation when nothing can be sealed to it any more."""
        self.ledger.forget_bodies()
        now = moments.now()
        for run_id in self.ledger.kept(before=now - timedelta(hours=self.home.keep_staged_h)):
            drop_staged(self.spool, self.ledger, run_id)
        for run_id in self.spool.runs():
            if self.ledger.is_forgotten(run_id):
                self.spool.purge(run_id)
                self.ledger.forget_staging(run_id)
        if not self.ledger.has_work() and not self.spool.runs() and not self.home.keys.is_rotating:
            for former in self.home.keys.former():
                if former.until < now - KEEP:
                    self.home.keys.forget(former.identity.key_id)

    def _drop_oldest_kept(self) -> bool:
        """Make room: a run whose receipt is complete goes before its time. False where there is none."""
        for run_id in self.ledger.kept()[:1]:
            logger.warning("run %s is cleared before its time: the spool has no room", run_id)
            drop_staged(self.spool, self.ledger, run_id)
            return True
        return False

    def _finish(self, result: CommandResult) -> None:
        self.ledger.finish(result)
        logger.info(
            "command %s is done: %s", result.command_id, "ok" if result.ok else result.problem and result.problem.code
        )
        self._news.set()
        with self._work:  # the next of the same run may be its turn now
            self._work.notify_all()

    # -- talking with the platform

    def _round(self) -> bool:
        """Send results, then poll. False where the platform could not be reached or refused: then wait longer."""
        self._is_awaiting = False
        self._rotate_if_asked()
        return self._send_results() and self._poll()

    def _rotate_if_asked(self) -> None:
        """A rotation that an operator asked for, or that was cut off."""
        request = self.home.path / ROTATE_REQUEST
        if not request.exists() and not self.home.keys.is_rotating:
            return
        try:
            rotate(self.home)
        except PlatformAway as problem:
            self._say(problem)  # the next round goes on
        except JinqiaoError as problem:
            logger.error("the key was not changed: %s", problem)
            request.unlink(missing_ok=True)
        else:
            request.unlink(missing_ok=True)

    def _send_results(self) -> bool:
        for result in self.ledger.unacknowledged():
            if self._closing.is_set():
                return True
            try:
                self._platform.post(RESULTS_PATH, result)
            except PlatformRefused as refusal:
                if refusal.status in (401, 403) or refusal.problem.retryable:
                    self._say_refused(refusal)
                    return False
                self._not_taken(result, refusal)
                continue
            except (PlatformAway, PlatformAnswerBroken) as problem:  # a page of some proxy is no acknowledgement
                self._say(problem)
                return False
            self.ledger.acknowledge(result.command_id)
        return True

    def _not_taken(self, result: CommandResult, refusal: PlatformRefused) -> None:
        """The platform will never take this answer: it does not know the command, or the answer is too large or malformed."""
        logger.error("the answer to %s was refused: %s", result.command_id, refusal.problem.code)
        if refusal.status == 404 or not result.ok:
            self.ledger.acknowledge(result.command_id)
            return
        self.ledger.finish(failed(result.command_id, refusal.problem, result.seconds))

    def _poll(self) -> bool:
        told, heartbeat = self.heartbeat()
        try:
            answer = self._platform.post(POLL_PATH, heartbeat)
            messages = self._commands(answer)
        except (PlatformAway, PlatformRefused, PlatformAnswerBroken, ContractBroken) as problem:
            with self._progress_lock:
                self._untold |= told & set(self._progress)
            if isinstance(problem, PlatformRefused):
                self._say_refused(problem)
            else:
                self._say(problem)
            return False
        platform_now = answer.get("now")
        if isinstance(platform_now, int | float) and not isinstance(platform_now, bool):
            self.home.time.learn(float(platform_now))
        if self._said:
            logger.info("the platform answers again")
            self._said = ""
        for message in messages:
            self.take(message)
        if messages:
            with self._work:
                self._work.notify_all()
        return True

    @staticmethod
    def _commands(answer: Any) -> list[SignedMessage]:
        if not isinstance(answer, dict) or not isinstance(answer.get("commands"), list):
            raise ContractBroken(where="poll", wanted="commands", got=type(answer).__name__)
        return [SignedMessage.from_json(message) for message in answer["commands"]]

    def take(self, message: SignedMessage) -> None:
        """Take one command in. What is not the platform's is never written down; it is answered with its refusal."""
        try:
            command = admission.opened(message, self.home)
        except (CommandNotOfPlatform, ContractBroken) as problem:
            logger.error("a command was refused: %s", problem.code)
            self._refuse(message, problem_of(problem))
            return
        if self.ledger.receive(command) and command.kind in AT_ONCE:
            logger.info("%s run %s", command.kind.value, command.run_id)
            self._finish(CommandResult(command_id=command.id, ok=True, finished_at=moments.now()))

    def _refuse(self, message: SignedMessage, problem: Problem) -> None:
        command_id = message.body.get("id")
        if self.home.is_carried:
            return
        if not isinstance(command_id, str) or not command_id:
            return
        try:
            self._platform.post(RESULTS_PATH, failed(command_id, problem))
        except (PlatformAway, PlatformRefused, PlatformAnswerBroken) as trouble:
            logger.warning("the refusal of %s was not heard: %s", command_id[:80], trouble.code)

    def heartbeat(self) -> tuple[set[tuple[str, Stage]], Heartbeat]:
        open_runs = self.ledger.open_runs()
        with self._progress_lock:
            told = set(self._untold)
            self._untold.clear()
            progress = tuple(self._progress[key] for key in sorted(told))
            for key in [key for key in self._progress if key[0] not in open_runs and key not in told]:
                del self._progress[key]
        return told, Heartbeat(
            node_id=self.home.node_id,
            version=__version__,
            clock_at=moments.now(),
            spool_free_bytes=self._free_bytes(),
            busy_with=open_runs,
            progress=progress,
            url=self._listener.url if self._listener is not None else "",
            python=platform.python_version(),
        )

    def _free_bytes(self) -> int:
        try:
            return self.spool.free_bytes()
        except OSError:  # the disk of the spool is gone: the platform should see that, not a node that is silent
            return 0

    def _note_progress(self, progress: Progress) -> None:
        key = (progress.run_id, progress.stage)
        with self._progress_lock:
            self._progress[key] = progress
            self._untold.add(key)

    def _say_refused(self, refusal: PlatformRefused) -> None:
        """What the platform itself said, once; a node that awaits approval says with which fingerprint."""
        self._is_awaiting = refusal.problem.code == "exchange.node.awaiting"
        if self._is_awaiting:
            words = f"awaiting approval: a person compares {fingerprint(self.home.identity.key_id)} on the node's page"
            if words != self._said:
                logger.warning("%s", words)
                self._said = words
            return
        self._say(refusal)

    def _say(self, problem: JinqiaoError) -> None:
        """Log trouble with the platform once, not at every round."""
        words = str(problem)
        if words != self._said:
            logger.warning("%s", words)
            self._said = words
