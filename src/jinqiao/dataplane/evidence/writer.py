"""The thread that writes: one job after another, each with a future of the event loop.

An executor of the standard library does the same with a lock, a condition and two futures for each job. The log hands over some
hundred batches a second beside calls that want the interpreter, and each of these steps is one more turn of its lock.
"""

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar, TypeVarTuple

Given = TypeVarTuple("Given")
Result = TypeVar("Result")
_Job = tuple[Callable[..., Any], tuple[Any, ...], "asyncio.Future[Any]"]


class WriterThread:
    """Belongs to the event loop in which it is made; works at once, and until `shutdown`."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def do(self, work: Callable[[*Given], Result], *given: *Given) -> "asyncio.Future[Result]":
        """What `work` returns, or raises, in the thread, after all that was handed over before."""
        done: asyncio.Future[Result] = self._loop.create_future()
        self._jobs.put((work, given, done))
        return done

    def shutdown(self) -> None:
        """End when everything that was handed over is done."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, given, done = job
            try:
                result = work(*given)
            except BaseException as problem:  # noqa: BLE001 -- it is told to who waits, whatever it is
                self._loop.call_soon_threadsafe(_fail, done, problem)
            else:
                self._loop.call_soon_threadsafe(_tell, done, result)


def _tell(done: "asyncio.Future[Result]", result: Result) -> None:
    if not done.done():  # who waited may be gone
        done.set_result(result)


def _fail(done: "asyncio.Future[Any]", problem: BaseException) -> None:
    if not done.done():
        done.set_exception(problem)
