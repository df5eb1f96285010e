"""Every attack of the list meets its documented refusal, gets nothing, and leaves a record."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.snapshot import open_snapshot
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.errors import error_texts
from tests.dataplane.gateway import attacks
from tests.dataplane.gateway.attacks import ATTACKS, PATH, QUERY, REASON, Attack
from tests.dataplane.gateway.world import ANN, CAI, Caller, World, make_world, records, talk

FORBIDDEN = ("绝密备注", "蔡明", CAI, "sqlite", "SELECT", "Traceback", "person", "note")


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    made.services = tuple(
        replace(service, operations=tuple(Operation), filter_items=("xh", "djrq"), calls_per_minute=60_000)
        for service in made.services
    )
    made.publish()
    return made


def test_the_list_is_long_enough_and_each_attack_has_a_name_of_its_own() -> None:
    assert len(ATTACKS) >= 60
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert {attack.code for attack in ATTACKS} - {""} <= error_texts().keys()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_meets_its_refusal_and_gets_nothing(world: World, attack: Attack) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await attack.send(caller)
        answer = response.json()
        if attack.code:
            assert (answer.get("code"), response.status_code >= 400) == (attack.code, True)
        else:
            assert (response.status_code, answer["rows"]) == (200, [])
        told = response.text + json.dumps(dict(response.headers))
        assert [word for word in FORBIDDEN if word in told and word not in attack.name] == []

    talk(world, conversation)
    assert records(world)[-1]["outcome"] == (attack.code or "ok")


@pytest.mark.parametrize("operation", list(Operation))
def test_an_application_of_another_department_finds_no_service(world: World, operation: Operation) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        body = {
            Operation.QUERY: QUERY,
            Operation.BATCH: {"by": [{"sfzh": ANN}], "items": ["xm"], **REASON},
            Operation.VERIFY: {"by": {"sfzh": ANN}, "claims": {"xm": "安小雅"}, **REASON},
            Operation.LIST: {"items": ["xm"], **REASON},
            Operation.COUNT: {**REASON},
        }[operation]
        response = await attacks.stranger(caller).ask(body, path=f"{PATH}/{operation.value}")
        assert (response.status_code, response.json()["code"]) == (404, "gateway.service.unknown")

    talk(world, conversation)


def test_a_grant_that_is_revoked_between_two_calls_ends_the_second(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask(QUERY)).status_code == 200
        world.services = tuple(replace(service, suspended=True) for service in world.services)
        gateway._install(open_snapshot(world.signed(), homes.load(world.home)))
        assert (await caller.ask(QUERY)).json()["code"] == "gateway.service.suspended"

    talk(world, conversation)


@pytest.mark.parametrize(("seconds", "status"), [(599, 200), (-599, 200), (601, 401), (-601, 401)])
def test_a_call_within_the_window_is_answered_and_one_outside_refused(world: World, seconds: int, status: int) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        # a second of slack for the clock that runs on while the call is made
        created = int(time.time()) + seconds + (1 if seconds == -599 else 0)
        response = await caller.ask(QUERY, created=created if seconds != 601 else created + 1)
        assert response.status_code == status

    talk(world, conversation)


def test_trying_out_numbers_is_slowed_by_the_quota_and_every_try_is_recorded(world: World) -> None:
    world.services = tuple(replace(service, calls_per_minute=20) for service in world.services)
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> list[int]:
        return [
            (await caller.ask({**QUERY, "by": {"sfzh": f"6203021990010100{n:02d}"}})).status_code for n in range(30)
        ]

    assert talk(world, conversation) == [200] * 20 + [429] * 10
    commitments = {record["key_commitment"] for record in records(world)}
    assert len(commitments) == 30
