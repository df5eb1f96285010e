"""Deadlines that cost nothing while they are kept: one timer for all of them instead of one each.

`asyncio.timeout` arms and disarms a timer of the loop; thousands of calls a second pay more for that than for their work. Here
a deadline is an entry in a set that is looked through a few times a second, so that it may strike up to `LOOK_EVERY_S` late.
"""

import asyncio
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

LOOK_EVERY_S = 0.2


class Watch:
    """The deadlines of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.kept: set[within] = set()
        self.timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        self.timer = self.loop.call_later(LOOK_EVERY_S, self.look) if self.kept else None
        now = self.loop.time()
        for deadline in [kept for kept in self.kept if kept.until <= now]:
            deadline.strike()


_watches: "WeakKeyDictionary[asyncio.AbstractEventLoop, Watch]" = WeakKeyDictionary()


def watch_here() -> Watch:
    """That of the running loop."""
    loop = asyncio.get_running_loop()
    watch = _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = Watch(loop)
    return watch


class within:
    """`with within(seconds):` around awaits of one task. Raises TimeoutError in it when the time is over."""

    __slots__ = ("_cancelling", "_seconds", "_struck", "_task", "_watch", "until")

    def __init__(self, seconds: float, watch: Watch | None = None) -> None:
        """`watch`: that of the loop in which it runs, where it is known already."""
        self._seconds = seconds
        self._struck = False
        self._watch = watch or watch_here()

    def __enter__(self) -> Self:
        watch = self._watch
        task = asyncio.current_task(watch.loop)
        if task is None:
            raise RuntimeError("a deadline is kept for a task of its loop")
        self._task, self._cancelling = task, task.cancelling()
        self.until = watch.loop.time() + self._seconds
        watch.kept.add(self)
        if watch.timer is None:
            watch.timer = watch.loop.call_later(LOOK_EVERY_S, watch.look)
        return self

    def strike(self) -> None:
        if self._struck:
            return
        self._struck = True
        self._watch.kept.discard(self)
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.kept.discard(self)
        if self._struck and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from problem
