"""Asking departments' HTTP services whether they are well, where a path for that is registered.

A probe counts as a call does to the circuit of its source, and while the circuit is open it is the probe that tries, not
somebody's call. What was found stands in the metrics, and the process that leads tells the platform. A path that answers
something else than well or overloaded (404, 401, …) is wrongly registered: that is told, and the circuit does without it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from jinqiao.dataplane.connectors.http_options import HealthPath
from jinqiao.dataplane.gateway.calls import CallDesk
from jinqiao.dataplane.gateway.metrics import Sample
from jinqiao.dataplane.gateway.snapshot import PolicyView
from jinqiao.dataplane.gateway.sources.http_service import HttpLookups
from jinqiao.dataplane.gateway.sources.readers import Readers
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.health import ServiceHealth, ServicesHealth
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
TELL_EVERY_S = 60.0
TELL_AGAIN_S = 5.0  # after the platform was not reached
_AWAY = frozenset((408, 425, 429, 500, 502, 503, 504))
WELL, AWAY, WRONG = "well", "away", "wrong"


@dataclass(slots=True)
class Pulse:
    """What is known of one source. `outcome` is empty before the first probe; `due` and `seconds` are monotonic seconds."""

    source: HttpLookups
    health: HealthPath
    services: list[str]
    due: float = 0.0
    is_running: bool = False
    outcome: str = ""
    problem: str = ""
    seconds: float = 0.0
    since: datetime | None = None
    at: datetime | None = None

    def is_due(self, now: float) -> bool:
        """At its interval, and as soon as an open circuit wants to be tried."""
        tries_at = self.source.circuit.tries_at
        return not self.is_running and (now >= self.due or (tries_at is not None and now >= tries_at))

    def note(self, outcome: str, problem: str, seconds: float) -> bool:
        """Take what a probe found; whether it is news."""
        now, is_news = moments.now(), (outcome, problem) != (self.outcome, self.problem)
        if outcome != self.outcome:
            self.since = now
        self.outcome, self.problem, self.seconds, self.at = outcome, problem, seconds, now
        self.source.circuit.is_probed = outcome != WRONG
        if outcome != WRONG:
            self.source.circuit.heard(outcome == WELL, time.monotonic())
        return is_news


class Prober:
    """Belongs to the event loop. `tell` is called in a thread, and says whether there was somebody to be told; it raises
    JinqiaoError."""

    def __init__(self, desk: CallDesk, tell: Callable[[ServicesHealth], bool]) -> None:
        self._desk, self._tell = desk, tell
        self._pulses: dict[int, Pulse] = {}
        self._view: PolicyView | None = None
        self._readers: Readers | None = None
        self._task: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_telling = False
        self._tell_at = 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        for task in (self._task, *self._under_way):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._task = None

    def samples(self) -> list[Sample]:
        """Of each service that was probed: whether it is well, and how long its last answer took."""
        made = []
        for pulse in self._pulses.values():
            for service in pulse.services if pulse.outcome else ():
                labels = (("service", service),)
                made.append(Sample("source_healthy", int(pulse.outcome == WELL), labels))
                made.append(Sample("source_probe_seconds", pulse.seconds, labels))
        return made

    def report(self) -> ServicesHealth:
        """What the platform is told."""
        return ServicesHealth(
            services=tuple(
                ServiceHealth(
                    service=service,
                    is_well=pulse.outcome == WELL,
                    problem=pulse.problem,
                    since=pulse.since,
                    at=pulse.at,
                )
                for pulse in self._pulses.values()
                if pulse.since is not None and pulse.at is not None
                for service in pulse.services
            )
        )

    async def _run(self) -> None:
        while True:
            try:
                self._look()
                if time.monotonic() >= self._tell_at and not self._is_telling:
                    self._begin(self._tell_platform())
            except Exception as problem:  # noqa: BLE001 -- whatever it was, the next look may mend it
                logger.error("probing: %s", type(problem).__name__)
            await asyncio.sleep(LOOK_EVERY_S)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _look(self) -> None:
        """Begin the probes that are due."""
        view, readers = self._desk.view, self._desk.readers
        if self._view is not view or self._readers is not readers:
            self._view, self._readers, self._pulses = view, readers, self._found(view, readers)
        now = time.monotonic()
        for pulse in self._pulses.values():
            if pulse.is_due(now):
                pulse.due, pulse.is_running = now + pulse.health.interval_s, True
                self._begin(self._probe(pulse))

    def _found(self, view: PolicyView | None, readers: Readers) -> dict[int, Pulse]:
        """The sources to be probed under a policy; of those that are known already, what is known."""
        found: dict[int, Pulse] = {}
        for service in view.services.values() if view is not None else ():
            if service.connection.engine is not Engine.HTTP:
                continue
            try:
                source = readers.reader(service, view.passwords if view is not None else {}).source
                health = source.options().health
            except JinqiaoError:
                continue  # its calls say so
            if health is None:
                continue
            pulse = found.get(id(source))
            if pulse is None:
                before = self._pulses.get(id(source))
                pulse = before if before is not None and before.source is source else Pulse(source, health, [])
                pulse.services = []
                found[id(source)] = pulse
            pulse.services.append(service.service)
        return found

    async def _probe(self, pulse: Pulse) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(2 * pulse.health.timeout_s):
                status = await asyncio.to_thread(pulse.source.probe, pulse.health)
            outcome, problem = _outcome(status)
        except (TimeoutError, httpx.TimeoutException):
            outcome, problem = AWAY, "timeout"
        except httpx.HTTPError as error:
            outcome, problem = AWAY, type(error).__name__
        except JinqiaoError as error:
            outcome, problem = AWAY if error.retryable else WRONG, error.code
        except ValueError as error:
            outcome, problem = WRONG, type(error).__name__
        finally:
            pulse.is_running = False
        if pulse.note(outcome, problem, time.monotonic() - began):
            self._tell_at = 0.0
            logger.warning("the health of %s: %s %s", ", ".join(pulse.services), outcome, problem)

    async def _tell_platform(self) -> None:
        report = self.report()
        self._tell_at = time.monotonic() + TELL_EVERY_S  # news that comes meanwhile puts it back
        if not report.services:
            return
        self._is_telling = True
        try:
            is_told = await asyncio.to_thread(self._tell, report)
        except JinqiaoError:
            is_told = False
        finally:
            self._is_telling = False
        if not is_told:
            self._tell_at = min(self._tell_at, time.monotonic() + TELL_AGAIN_S)


def _outcome(status: int) -> tuple[str, str]:
    if 200 <= status < 300:
        return WELL, ""
    return AWAY if status in _AWAY else WRONG, f"status {status}"
