"""Bounds on what is under way, so that too many calls cost their callers a refusal and never the gateway its life.

    the door        everything under way; beyond it a call is refused unread, and counted
    reading         bodies on their way in; where too many are, the oldest is refused, for it is the slow one
    in flight       calls whose caller is known, in all and of one service
    one source      so many at once, so many more wait for a moment; a slow source fills its own places and no others

Nothing here waits without a bound. A call that finds its places free costs some counting and no more.
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

from jinqiao.dataplane.gateway.deadlines import Watch, watch_here, within
from jinqiao.dataplane.gateway.errors import (
    BodyTooSlow,
    CallTooLong,
    GatewayOverloaded,
    ServiceOverloaded,
    SourceOverloaded,
)
from jinqiao.dataplane.gateway.settings import Limits
from jinqiao.kernel.errors import JinqiaoError

BODY_WITHIN_S = 10.0
RETRY_AFTER_S = 3  # at most; callers are spread over the seconds before it


class Bulkhead:
    """`places` at once; up to `queue` more wait, first come first served."""

    __slots__ = ("_line", "places", "queue", "running")

    def __init__(self, places: int, queue: int) -> None:
        self.places, self.queue = places, queue
        self.running = 0
        self._line: deque[asyncio.Future[bool]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._line)

    def enter_at_once(self) -> bool:
        """Take a place that is free now."""
        if self.running < self.places:
            self.running += 1
            return True
        return False

    async def enter(self, within_s: float) -> bool:
        """Take a place; False where the line is full or none came free in time."""
        if self.enter_at_once():
            return True
        if len(self._line) >= self.queue:
            return False
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[bool] = loop.create_future()
        self._line.append(mine)
        end = loop.call_later(within_s, self._give_up, mine)
        try:
            return await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled() and mine.result():
                self.leave()  # it was given to us in the same instant
            elif mine in self._line:
                self._line.remove(mine)
            raise
        finally:
            end.cancel()

    def _give_up(self, mine: "asyncio.Future[bool]") -> None:
        if not mine.done():
            self._line.remove(mine)
            mine.set_result(False)

    def leave(self) -> None:
        """Give the place to who waits longest, or back."""
        while self._line:
            following = self._line.popleft()
            if not following.done():
                following.set_result(True)
                return
        self.running -= 1


class Gate:
    """The bounds of one gateway. Belongs to the event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.inside = 0
        self.in_flight = 0
        self.services: dict[str, int] = {}  # in flight
        self.shed: Counter[str] = Counter()  # refusals for want of a place since the start, by code
        self._unrecorded: Counter[str] = Counter()
        self._sources: WeakKeyDictionary[Any, Bulkhead] = WeakKeyDictionary()
        self._reading: OrderedDict[_Reading, None] = OrderedDict()
        self._watch: Watch | None = None

    def watch(self) -> Watch:
        """Of the loop in which it is asked first, and always."""
        watch = self._watch
        if watch is None:
            watch = self._watch = watch_here()
        return watch

    def change(self, limits: Limits) -> None:
        """Other bounds from now on; who is inside stays inside."""
        self.limits = limits
        for source in self._sources.values():
            source.places, source.queue = limits.per_source, limits.source_queue

    def enter(self) -> None:
        """Come in, before anything of the call is read; `inside` goes down by one at its end. Raises GatewayOverloaded, which is
        counted for `take_unrecorded`."""
        if self.inside >= self.limits.at_door:
            refusal = self.refused(GatewayOverloaded)
            self._unrecorded[refusal.code] += 1
            raise refusal
        self.inside += 1

    def take_unrecorded(self) -> dict[str, int]:
        """How many calls were refused at the door since this was asked last, by code: who asks records them."""
        taken, self._unrecorded = dict(self._unrecorded), Counter()
        return taken

    def reading(self) -> "_Reading":
        """While a body comes in. Raises BodyTooSlow when its time is over, and in the oldest where there are too many."""
        return _Reading(self._reading, self)

    def place(self, service: str, source: Any, began: float) -> "_Place":
        """Around the look-up of one call, which began at `began` (`time.perf_counter`).

        Raises GatewayOverloaded, ServiceOverloaded, SourceOverloaded, CallTooLong.
        """
        return _Place(self, service, source, began)

    def bulkhead(self, source: Any) -> Bulkhead:
        found = self._sources.get(source)
        if found is None:
            found = self._sources[source] = Bulkhead(self.limits.per_source, self.limits.source_queue)
        return found

    def sources(self) -> Iterator[tuple[Any, Bulkhead]]:
        """Sources that were asked, with their places."""
        yield from list(self._sources.items())

    def refused(self, kind: type[JinqiaoError]) -> JinqiaoError:
        """The refusal to raise, counted."""
        self.shed[kind.code] += 1
        return kind(retry_after=1 + self.shed[kind.code] % RETRY_AFTER_S)


# both are deadlines themselves, and written out as classes: a generator as context manager costs a call several times as much


class _Reading(within):
    __slots__ = ("_all", "_began", "_gate", "_is_pushed_out")

    def __init__(self, all_of_them: "OrderedDict[_Reading, None]", gate: Gate) -> None:
        super().__init__(BODY_WITHIN_S, gate.watch())
        self._all, self._gate = all_of_them, gate
        self._began = time.monotonic()
        self._is_pushed_out = False  # by who needs the place

    def __enter__(self) -> Self:
        if len(self._all) >= self._gate.limits.reading:
            oldest, _ = self._all.popitem(last=False)
            oldest._is_pushed_out = True
            oldest.strike()
        super().__enter__()
        self._all[self] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._all.pop(self, None)
        try:
            super().__exit__(kind, problem, trace)
        except TimeoutError as too_slow:
            if self._is_pushed_out:
                self._gate.shed[BodyTooSlow.code] += 1
            raise BodyTooSlow(limit_s=int(time.monotonic() - self._began)) from too_slow


class _Place(within):
    """A place in flight, and one of the source where one is free; where `has_to_wait`, `turn` is to be awaited first."""

    __slots__ = ("_bulkhead", "_gate", "_service", "has_to_wait")

    def __init__(self, gate: Gate, service: str, source: Any, began: float) -> None:
        super().__init__(began + gate.limits.call_within_s - time.perf_counter(), gate.watch())
        self._gate, self._service = gate, service
        self._bulkhead = gate.bulkhead(source)
        self.has_to_wait = False

    def __enter__(self) -> Self:
        gate, limits = self._gate, self._gate.limits
        if gate.in_flight >= limits.in_flight:
            raise gate.refused(GatewayOverloaded)
        of_service = gate.services.get(self._service, 0)
        if of_service >= limits.per_service:
            raise gate.refused(ServiceOverloaded)
        super().__enter__()
        gate.in_flight += 1
        gate.services[self._service] = of_service + 1
        self.has_to_wait = not self._bulkhead.enter_at_once()
        return self

    async def turn(self) -> None:
        """Wait for a place of the source. Raises SourceOverloaded."""
        if not await self._bulkhead.enter(self._gate.limits.source_wait_s):
            raise self._gate.refused(SourceOverloaded)
        self.has_to_wait = False

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.has_to_wait:
            self._bulkhead.leave()
        gate = self._gate
        gate.in_flight -= 1
        left = gate.services[self._service] - 1
        if left:
            gate.services[self._service] = left
        else:
            del gate.services[self._service]
        try:
            super().__exit__(kind, problem, trace)
        except TimeoutError as too_long:
            gate.shed[CallTooLong.code] += 1
            raise CallTooLong(limit_s=int(gate.limits.call_within_s)) from too_long
