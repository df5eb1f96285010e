"""Look-ups of one statement that wait at the same time are asked together.

Whoever comes while a question is under way shares the next one: no timer, so a lone call waits for nobody. Each look-up carries
its own number through the database, so that its rows are told from everybody else's; what it may see stands in the statement.
How many are asked together follows from how long it takes: where a look-up is slow, callers are served side by side instead.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from jinqiao.dataplane.gateway.sources.base import Row, Statement

MOST_TOGETHER = 64
TOGETHER_SIDE_BY_SIDE = 2
MOST_STATEMENTS = 500
SLOW_S, QUICK_S = 0.05, 0.01

Keys = Sequence[str]
Ask = Callable[[Statement, Sequence[Keys]], Awaitable[list[list[Row]]]]


class _Queue:
    """Those who wait for one statement."""

    __slots__ = ("most", "statement", "under_way", "waiting")

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.waiting: list[tuple[Keys, asyncio.Future[list[Row]]]] = []
        self.under_way = 0
        self.most = MOST_TOGETHER

    def side_by_side(self, connections: int) -> int:
        return TOGETHER_SIDE_BY_SIDE if self.most > 1 else connections


class Merger:
    """`ask` answers several look-ups of one statement: for each its rows, in the order of the keys. It may raise anything: then each
    is asked alone."""

    def __init__(self, ask: Ask, connections: int) -> None:
        self._ask = ask
        self._connections = connections
        # by statement and the values bound into it: a row filter is no less part of a question than its text
        self._queues: dict[tuple[str, tuple[Any, ...]], _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # the one in which it is asked first, and always

    def fetch(self, statement: Statement, keys: Keys) -> "asyncio.Future[list[Row]]":
        """The rows of one look-up. The future fails with what `ask` raises."""
        key = (statement.sql, statement.fixed)
        queue = self._queues.get(key)
        if queue is None:
            self._make_room()
            queue = self._queues[key] = _Queue(statement)
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Row]] = loop.create_future()
        queue.waiting.append((keys, done))
        if queue.under_way < queue.side_by_side(self._connections):
            queue.under_way += 1
            task = loop.create_task(self._serve(queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return done

    def _make_room(self) -> None:
        """Statements of policies that are over go some time."""
        if len(self._queues) >= MOST_STATEMENTS:
            for key in [key for key, queue in self._queues.items() if not queue.under_way]:
                del self._queues[key]

    async def _serve(self, queue: _Queue) -> None:
        try:
            while queue.waiting:
                part, queue.waiting = queue.waiting[: queue.most], queue.waiting[queue.most :]
                part = [entry for entry in part if not entry[1].done()]  # a caller may have gone
                if part:
                    await self._answer(queue, part)
        finally:
            queue.under_way -= 1

    async def _answer(self, queue: _Queue, part: "list[tuple[Keys, asyncio.Future[list[Row]]]]") -> None:
        began = time.monotonic()
        try:
            found = await self._ask(queue.statement, [keys for keys, _ in part])
        except Exception as problem:  # noqa: BLE001 -- whatever one look-up may do to a driver is not to be the others'
            if len(part) == 1:
                _fail(part, problem)
                return
            queue.most = max(1, queue.most // 4)
            for entry in part:  # one of them may have spoilt it for all: each is asked alone
                if not entry[1].done():  # it took its time, and a caller may have gone meanwhile
                    await self._answer(queue, [entry])
            return
        except BaseException as problem:
            _fail(part, problem)
            raise
        took = time.monotonic() - began
        if took > SLOW_S:
            queue.most = max(1, queue.most // 2)
        elif took < QUICK_S:
            queue.most = min(MOST_TOGETHER, queue.most * 2)
        for (_, done), rows in zip(part, found, strict=True):
            if not done.done():
                done.set_result(rows)


def _fail(part: "list[tuple[Keys, asyncio.Future[list[Row]]]]", problem: BaseException) -> None:
    for _, done in part:
        if not done.done():
            done.set_exception(problem if isinstance(problem, Exception) else asyncio.CancelledError())
