import asyncio

import pytest

from jinqiao.dataplane.gateway.deadlines import within


def test_what_takes_too_long_is_ended_and_says_so() -> None:
    async def slow() -> None:
        with within(0.01):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(slow())


def test_what_is_done_in_time_is_left_alone() -> None:
    async def quick() -> str:
        with within(60):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "done"

    assert asyncio.run(quick()) == "done"


def test_of_two_deadlines_the_nearer_one_strikes_and_the_other_goes_on() -> None:
    async def nested() -> str:
        with within(60):
            with pytest.raises(TimeoutError), within(0.01):
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            return "outer goes on"

    assert asyncio.run(nested()) == "outer goes on"


def test_a_cancellation_from_outside_stays_a_cancellation() -> None:
    async def cancelled() -> None:
        async def work() -> None:
            with within(60):
                await asyncio.Event().wait()

        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())


def test_errors_pass_through() -> None:
    async def failing() -> None:
        with within(60):
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(failing())


def test_a_deadline_strikes_once() -> None:
    async def work() -> str:
        try:
            with within(60) as deadline:
                deadline.strike()
                deadline.strike()
                await asyncio.sleep(60)
        except TimeoutError:
            await asyncio.sleep(0)
            return "over"
        return "not over"

    assert asyncio.run(work()) == "over"
