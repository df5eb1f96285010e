"""Too many calls cost their callers a refusal; a slow source takes no other along."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.errors import BodyTooSlow
from jinqiao.dataplane.gateway.overload import Bulkhead, Gate
from jinqiao.dataplane.gateway.settings import SETTINGS, Limits
from jinqiao.kernel.contracts.tables import Connection, Engine
from tests.dataplane.gateway.world import SERVICE, Caller, World, make_world, records, talk


class Deaf:
    """A database that takes connections and never says a word, until it hangs up on all of them."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        port = self.listening.getsockname()[1]
        self.connection = Connection(
            engine=Engine.POSTGRESQL, host="127.0.0.1", port=port, user="nobody", database="slow"
        )

    def hang_up(self) -> None:
        self.listening.close()


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    made = Deaf()
    yield made
    made.hang_up()


@given(st.lists(st.sampled_from(["come", "go"]), max_size=60), st.integers(1, 4), st.integers(0, 4))
def test_a_bulkhead_never_holds_more_than_it_has(steps: list[str], places: int, queue: int) -> None:
    async def live() -> None:
        bulkhead, inside = Bulkhead(places, queue), 0
        coming: list[asyncio.Task[bool]] = []
        for step in steps:
            if step == "come":
                coming.append(asyncio.create_task(bulkhead.enter(60)))
            elif inside:
                bulkhead.leave()
                inside -= 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for task in [task for task in coming if task.done()]:
                coming.remove(task)
                inside += task.result()
            assert inside == bulkhead.running <= places
            assert bulkhead.waiting == len(coming) <= queue
            assert not coming or inside == places
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
        assert bulkhead.waiting == 0

    asyncio.run(live())


def test_who_waits_too_long_for_a_place_is_turned_away() -> None:
    async def live() -> None:
        bulkhead = Bulkhead(1, 3)
        assert await bulkhead.enter(0)
        assert not await bulkhead.enter(0.01)
        assert bulkhead.waiting == 0
        bulkhead.leave()
        assert await bulkhead.enter(0)

    asyncio.run(live())


def test_where_too_many_bodies_come_in_the_oldest_is_refused_and_the_newest_gets_its_turn() -> None:
    async def live() -> None:
        gate = Gate(Limits(reading=2))
        whole = asyncio.Event()

        async def read(already: bool) -> None:
            with gate.reading():
                if not already:
                    await whole.wait()

        slow = [asyncio.create_task(read(False)) for _ in range(2)]
        await asyncio.sleep(0)
        await read(True)
        with pytest.raises(BodyTooSlow):
            await slow[0]
        whole.set()
        await slow[1]
        assert gate.shed == {BodyTooSlow.code: 1}

    asyncio.run(live())


def test_a_slow_source_fills_its_own_places_and_no_others(tmp_path: Path, deaf: Deaf) -> None:
    world = make_world(tmp_path)
    slow = replace(world.services[0], service="slow-001", connection=deaf.connection)
    world.services = (*world.services, slow)
    world.publish()
    (world.home / SETTINGS).write_text(
        "[limits]\nper_source = 2\nsource_queue = 2\nsource_wait_s = 0.2\ncall_within_s = 1.0\n"
    )

    async def conversation(caller: Caller, gateway: Gateway) -> list[httpx.Response]:
        stuck = [asyncio.create_task(caller.ask(service="slow-001")) for _ in range(10)]
        await asyncio.sleep(0)
        for _ in range(20):
            assert (await caller.ask()).status_code == 200
        assert (await caller.client.get("/gateway/health/ready")).status_code == 200
        answers = await asyncio.gather(*stuck)
        assert gateway.gate.in_flight == 0
        assert (await caller.ask()).status_code == 200
        deaf.hang_up()
        return answers

    answers = talk(world, conversation)
    codes = [answer.json()["code"] for answer in answers]
    assert codes.count("gateway.overload.source") == 8
    assert codes.count("gateway.overload.deadline") == 2
    assert all(answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1 for answer in answers)
    kept = [record["outcome"] for record in records(world) if record["service"] == "slow-001"]
    assert sorted(kept) == sorted(codes)  # whose caller is known has a record of its own


def test_one_service_gets_no_more_than_its_share_and_is_told_429(tmp_path: Path, deaf: Deaf) -> None:
    world = make_world(tmp_path)
    world.services = (replace(world.services[0], connection=deaf.connection),)
    world.publish()
    (world.home / SETTINGS).write_text("[limits]\nper_service = 3\ncall_within_s = 0.5\n")

    async def conversation(caller: Caller, gateway: Gateway) -> list[httpx.Response]:
        answers = await asyncio.gather(*(caller.ask() for _ in range(5)))
        deaf.hang_up()
        return answers

    answers = talk(world, conversation)
    assert sorted(answer.status_code for answer in answers) == [429, 429, 503, 503, 503]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {"gateway.overload.service"}


def test_calls_refused_at_the_door_are_summed_up_in_a_record(tmp_path: Path, deaf: Deaf) -> None:
    world = make_world(tmp_path)
    world.services = (replace(world.services[0], connection=deaf.connection),)
    world.publish()
    (world.home / SETTINGS).write_text("[limits]\nat_door = 2\ncall_within_s = 0.5\n")

    async def conversation(caller: Caller, gateway: Gateway) -> list[httpx.Response]:
        answers = await asyncio.gather(*(caller.ask() for _ in range(7)))
        deaf.hang_up()
        return answers

    answers = talk(world, conversation)
    shed = [answer for answer in answers if answer.json()["code"] == "gateway.overload.gateway"]
    assert len(shed) == 5
    assert all(answer.status_code == 503 and "call_id" not in answer.json() for answer in shed)
    (record,) = [record for record in records(world) if record["operation"] == "shed"]
    assert (record["outcome"], record["keys"], record["service"]) == ("gateway.overload.gateway", 5, "")


def test_calls_under_way_keep_their_connections_for_the_time_they_were_given_whatever_a_later_reload_says(
    world: World,
) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        made = [gateway._desk.readers]  # type: ignore[union-attr]
        for within_s in (15, 0.1, 0.1):
            (world.home / SETTINGS).write_text(f"[limits]\ncall_within_s = {within_s}\n")
            await gateway.reload()
            made.append(gateway._desk.readers)  # type: ignore[union-attr]
        assert gateway._retired == made[:3]
        until = asyncio.get_running_loop().time() + 30
        while len(gateway._retired) == 3:
            assert asyncio.get_running_loop().time() < until
            await asyncio.sleep(0.02)
        assert gateway._retired == made[:2]  # calls that began with these have 15 s

    talk(world, conversation)


def test_other_limits_hold_from_a_reload_on(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).status_code == 200
        (world.home / SETTINGS).write_text("[limits]\nper_source = 1\nsource_queue = 1\n")
        await gateway.reload()
        assert (await caller.ask(service=SERVICE)).status_code == 200
        assert [(place.places, place.queue) for _, place in gateway.gate.sources()][-1] == (1, 1)

    talk(world, conversation)
