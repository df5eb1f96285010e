import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from jinqiao.dataplane.evidence.writer import WriterThread


def with_a_writer(talk: Callable[[WriterThread], Coroutine[Any, Any, None]]) -> None:
    async def live() -> None:
        writer = WriterThread("writer")
        try:
            await talk(writer)
        finally:
            writer.shutdown()

    asyncio.run(live())


def test_work_is_done_in_one_other_thread_in_the_order_in_which_it_was_handed_over() -> None:
    done: list[tuple[int, str]] = []

    async def talk(writer: WriterThread) -> None:
        waiting = [writer.do(lambda at: done.append((at, threading.current_thread().name)), at) for at in range(50)]
        await asyncio.gather(*waiting)

    with_a_writer(talk)
    assert done == [(at, "writer") for at in range(50)]


def test_who_waits_gets_what_the_work_returns_or_raises() -> None:
    def refuse() -> None:
        raise ValueError("no")

    async def talk(writer: WriterThread) -> None:
        assert await writer.do(divmod, 17, 5) == (3, 2)
        with pytest.raises(ValueError, match="no"):
            await writer.do(refuse)
        assert await writer.do(divmod, 7, 2) == (3, 1), "what one piece of work raises ends nothing"

    with_a_writer(talk)


def test_who_goes_away_spoils_nothing_for_those_behind() -> None:
    began, may_end = threading.Event(), threading.Event()

    def slow() -> bool:
        began.set()
        return may_end.wait(20)

    async def talk(writer: WriterThread) -> None:
        gone = writer.do(slow)
        assert await asyncio.to_thread(began.wait, 20)
        gone.cancel()
        behind = writer.do(divmod, 9, 4)
        may_end.set()
        assert await behind == (2, 1)
        assert gone.cancelled()

    with_a_writer(talk)


def test_shutdown_waits_until_everything_handed_over_is_done() -> None:
    done: list[int] = []

    async def live() -> None:
        writer = WriterThread("writer")
        for at in range(20):
            writer.do(done.append, at)
        writer.shutdown()
        assert done == list(range(20))

    asyncio.run(live())
