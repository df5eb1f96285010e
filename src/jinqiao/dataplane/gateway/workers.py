"""Several worker processes of one gateway on one machine, behind one listening socket.

The parent answers no calls. It holds the socket, starts workers, starts again what dies, and replaces them one after the other
at SIGHUP: a new one is ready before an old one drains, so that calls go on. SIGTERM and SIGINT drain all of them. Each worker is the
whole gateway with a lane of the evidence of its own (docs/decisions/0010-several-processes-one-gateway.md).
"""

import ctypes
import logging
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from jinqiao.dataplane.gateway.listening import listening_socket
from jinqiao.dataplane.gateway.settings import read_settings
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

READY_WITHIN_S = 30.0
MARGIN_S = 5.0
LOOK_EVERY_S = 0.1
LONGEST_PAUSE_S = 30.0


def _die_with_parent() -> None:
    """In the child: if the parent is killed outright, it gets SIGTERM (Linux: PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)


@dataclass
class Worker:
    process: "subprocess.Popen[bytes]"
    ready: int  # it writes here when it answers
    was_ready: bool = False

    def is_ready(self, within_s: float) -> bool:
        """Wait until it answers; False where it died or took too long."""
        if not self.was_ready:
            readable, _, _ = select.select([self.ready], [], [], within_s)
            self.was_ready = bool(readable) and os.read(self.ready, 1) != b""
        return self.was_ready

    def close(self) -> None:
        os.close(self.ready)


class Workers:
    """`count` workers of a home on one socket."""

    def __init__(self, home: Path, host: str, port: int, count: int) -> None:
        """Raises SettingsNotValid, KeyFileExposed, and OSError where it cannot listen there."""
        self._home, self._count = home, count
        self._serving = read_settings(home).serving  # as the workers that serve have read it
        self._socket = listening_socket(host, port)
        self._workers: list[Worker] = []
        self._failures = 0
        self._next_start = 0.0
        self._ends = self._renews = False

    def run(self) -> int:
        """Until told to end; the exit code: 0, or 1 where none of the first workers becomes ready."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, self._renew)
        try:
            for _ in range(self._count):
                self._workers.append(self._start())
            if not any(worker.is_ready(READY_WITHIN_S) for worker in self._workers) and not self._ends:
                logger.error("no worker becomes ready")
                return 1
            logger.info("the gateway listens on port %d with %d workers", self._socket.getsockname()[1], self._count)
            while not self._ends:
                self._look_after()
                if self._renews:
                    self._renews = False
                    self._replace_all()
                time.sleep(LOOK_EVERY_S)
        finally:
            self._stop(self._workers)
            self._socket.close()
        return 0

    def _start(self) -> Worker:
        """Raises OSError where the machine has no process or no descriptor to give."""
        ready, tell = os.pipe()
        descriptor = self._socket.fileno()
        command = [sys.executable, "-m", "jinqiao.cli", "gateway", "work", str(self._home)]
        try:
            process = subprocess.Popen(
                [*command, "--socket", str(descriptor), "--tell", str(tell)],
                pass_fds=(descriptor, tell),
                stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent,
            )
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(tell)
        return Worker(process, ready)

    def _look_after(self) -> None:
        """Start again what died: at once what had answered, what dies before that later each time."""
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.process.poll() is not None]:
            self._workers.remove(worker)
            self._failures = 0 if worker.is_ready(0) else self._failures + 1
            self._next_start = now + self._pause_s()
            worker.close()
            logger.error("a worker ended with %d and is started again", worker.process.returncode)
        if len(self._workers) < self._count and now >= self._next_start:
            try:
                self._workers.append(self._start())
            except OSError as problem:  # those that are there go on serving
                self._failures += 1
                self._next_start = now + self._pause_s()
                logger.error("a worker cannot be started for now: %s", type(problem).__name__)

    def _pause_s(self) -> float:
        return min(LONGEST_PAUSE_S, 0.1 * 2 ** min(self._failures, 9)) if self._failures else 0.0

    def _replace_all(self) -> None:
        for old in list(self._workers):
            if self._ends:
                return
            try:
                new = self._start()
            except OSError as problem:
                logger.error("a new worker cannot be started: the old ones stay (%s)", type(problem).__name__)
                return
            if not new.is_ready(READY_WITHIN_S):
                logger.error("a new worker does not become ready: the old ones stay")
                self._stop([new])
                return
            self._workers.append(new)
            self._workers.remove(old)
            self._stop([old])
            self._read_serving()
        logger.info("all workers were replaced")

    def _read_serving(self) -> None:
        """How workers end from now on. A file that was broken meanwhile must not end the gateway: the last good word holds."""
        try:
            self._serving = read_settings(self._home).serving
        except (JinqiaoError, OSError) as problem:
            logger.error("settings cannot be read: %s", getattr(problem, "code", type(problem).__name__))

    def _stop(self, workers: list[Worker]) -> None:
        for worker in workers:
            worker.process.terminate()
        until = time.monotonic() + self._serving.drain_s + self._serving.end_within_s + MARGIN_S
        for worker in workers:
            try:
                worker.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("a worker did not end in time and is killed")
                worker.process.kill()
                worker.process.wait()
            worker.close()

    def _end(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._ends = True

    def _renew(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._renews = True
