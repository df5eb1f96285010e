"""The loop of a node: answer what is done, tell how far the rest is, ask what is new. Needs no inbound port.

Moves are worked in `parallel` threads, small commands in one of their own, so that a connection test never waits behind an
hour of extraction. Whatever ends the process, the ledger knows where to go on.
"""

import logging
import os
import sqlite3
import threading
import time
from types import TracebackType
from typing import Any, Self

from jinqiao import __version__
from jinqiao.dataplane.node import admission
from jinqiao.dataplane.node.errors import Closing, CommandNotOfPlatform, HomeNotWritable
from jinqiao.dataplane.node.home import NodeHome
from jinqiao.dataplane.node.ledger import MOVES, Ledger
from jinqiao.dataplane.node.relay import waits
from jinqiao.dataplane.node.work import Worker, failed, problem_of
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
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

POLL_PATH = "/api/nodes/poll"
RESULTS_PATH = "/api/nodes/results"
SMALL = (CommandKind.TEST_CONNECTION, CommandKind.LIST_TABLES, CommandKind.PURGE, CommandKind.STOP)
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
        self._worker = Worker(home, self.ledger, self._closing, self._note_progress)
        self._platform: PlatformClient = home.client()
        self._said = ""
        self._is_broken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
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
        ledger failed: whoever supervises the process starts it anew."""
        lanes = [MOVES] * self.home.parallel + [SMALL]
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
                pause = max(wait(), self.home.poll_s)
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
        if not self._round():
            return False
        while not self._closing.is_set() and (task := self.ledger.claim((*MOVES, *SMALL))) is not None:
            self._finish(self._worker.work(task))
        return self._send_results()

    def _work_lane(self, kinds: tuple[CommandKind, ...]) -> None:
        while not self._closing.is_set():
            task = self.ledger.claim(kinds)
            if task is None:
                with self._work:
                    self._work.wait(IDLE_S)
                continue
            try:
                self._finish(self._worker.work(task))
            except Closing:
                return
            except Exception:
                # The ledger itself failed (a full disk): a node that cannot write down what it did must not go on.
                logger.exception("the ledger of node %s failed", self.home.node_id)
                self._is_broken = True
                self.stop()
                return

    def _tidy(self) -> None:
        """Old commands lose what they carried; chunks of runs that nobody purged go after a month."""
        self.ledger.forget_bodies()
        spool = self.home.spool
        for run_id in spool.runs():
            if self.ledger.is_forgotten(run_id):
                spool.purge(run_id)
                self.ledger.forget_staging(run_id)

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
        return self._send_results() and self._poll()

    def _send_results(self) -> bool:
        for result in self.ledger.unacknowledged():
            if self._closing.is_set():
                return True
            try:
                self._platform.post(RESULTS_PATH, result)
            except PlatformRefused as refusal:
                if refusal.status in (401, 403):
                    self._say(refusal)
                    return False
                self._not_taken(result, refusal)
                continue
            except PlatformAway as problem:
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
        told, heartbeat = self._heartbeat()
        try:
            messages = self._commands(self._platform.post(POLL_PATH, heartbeat))
        except (PlatformAway, PlatformRefused, PlatformAnswerBroken, ContractBroken) as problem:
            with self._progress_lock:
                self._untold |= told & set(self._progress)
            self._say(problem)
            return False
        if self._said:
            logger.info("the platform answers again")
            self._said = ""
        for message in messages:
            self._take(message)
        if messages:
            with self._work:
                self._work.notify_all()
        return True

    @staticmethod
    def _commands(answer: Any) -> list[SignedMessage]:
        if not isinstance(answer, dict) or not isinstance(answer.get("commands"), list):
            raise ContractBroken(where="poll", wanted="commands", got=type(answer).__name__)
        return [SignedMessage.from_json(message) for message in answer["commands"]]

    def _take(self, message: SignedMessage) -> None:
        """Take one command in. What is not the platform's is never written down; it is answered with its refusal."""
        try:
            command = admission.opened(message, self.home)
        except (CommandNotOfPlatform, ContractBroken) as problem:
            logger.error("a command was refused: %s", problem.code)
            self._refuse(message, problem_of(problem))
            return
        if self.ledger.receive(command) and command.kind is CommandKind.STOP:
            logger.info("run %s is to stop", command.run_id)
            self._finish(CommandResult(command_id=command.id, ok=True, finished_at=moments.now()))

    def _refuse(self, message: SignedMessage, problem: Problem) -> None:
        command_id = message.body.get("id")
        if not isinstance(command_id, str) or not command_id:
            return
        try:
            self._platform.post(RESULTS_PATH, failed(command_id, problem))
        except (PlatformAway, PlatformRefused) as trouble:
            logger.warning("the refusal of %s was not heard: %s", command_id[:80], trouble.code)

    def _heartbeat(self) -> tuple[set[tuple[str, Stage]], Heartbeat]:
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
        )

    def _free_bytes(self) -> int:
        try:
            return self.home.spool.free_bytes()
        except OSError:  # the disk of the spool is gone: the platform should see that, not a node that is silent
            return 0

    def _note_progress(self, progress: Progress) -> None:
        key = (progress.run_id, progress.stage)
        with self._progress_lock:
            self._progress[key] = progress
            self._untold.add(key)

    def _say(self, problem: JinqiaoError) -> None:
        """Log trouble with the platform once, not at every round."""
        words = str(problem)
        if words != self._said:
            logger.warning("%s", words)
            self._said = words
