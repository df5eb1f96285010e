"""A policy that comes while a call is looked up holds for that call: what it takes away is not answered any more."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.snapshot import open_snapshot
from jinqiao.kernel.contracts.policy import Operation, SubjectKey
from jinqiao.kernel.contracts.tables import Mask, Operator, RowCondition
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.subjects import commitment
from tests.dataplane.gateway.world import ANN, BO, CAI, PURPOSE, SERVICE, Caller, World, make_world, records, talk


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    made.services = tuple(replace(service, operations=tuple(Operation)) for service in made.services)
    made.publish()
    return made


@contextlib.contextmanager
def held_up(world: World) -> Iterator[None]:
    """Nobody reads the source meanwhile."""
    with contextlib.closing(sqlite3.connect(world.services[0].connection.database, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


def asked_while(
    world: World, change: Callable[[], dict[str, Any] | None], path: str | None = None, **question: Any
) -> httpx.Response:
    """The answer to a call whose look-up takes until a policy with the change is in force."""

    async def conversation(caller: Caller, gateway: Gateway) -> httpx.Response:
        with held_up(world):
            under_way = asyncio.ensure_future(caller.ask(path=path, **question))
            while not gateway.gate.in_flight:
                await asyncio.sleep(0.01)
            changes = change() or {}
            gateway._install(open_snapshot(world.signed(**changes), homes.load(world.home)))
        return await under_way

    response: httpx.Response = talk(world, conversation)
    return response


def of_service(world: World, **changes: Any) -> Callable[[], None]:
    def change() -> None:
        world.services = tuple(replace(service, **changes) for service in world.services)

    return change


def of_grant(world: World, **changes: Any) -> Callable[[], None]:
    def change() -> None:
        world.services = tuple(replace(service, grant=replace(service.grant, **changes)) for service in world.services)

    return change


def test_what_does_not_concern_the_call_changes_nothing(world: World) -> None:
    other = replace(world.services[0], service="other-001", suspended=True)

    def change() -> None:
        world.services = (*world.services, other)

    response = asked_while(world, change)
    assert (response.status_code, response.json()["rows"]) == (200, [{"xm": "安**", "hyzk": "married"}])
    assert records(world)[-1]["outcome"] == "ok"


def test_a_service_that_is_suspended_answers_no_more(world: World) -> None:
    response = asked_while(world, of_service(world, suspended=True))
    assert response.json()["code"] == "gateway.service.suspended"


def test_a_service_that_another_application_got_is_unknown(world: World) -> None:
    response = asked_while(world, of_service(world, applications=("app-stranger",)))
    assert (response.status_code, response.json()["code"]) == (404, "gateway.service.unknown")
    assert "安" not in response.text
    assert (
        records(world)[-1] | {"outcome": "gateway.service.unknown", "rows": 0, "answer_commitment": ""}
        == records(world)[-1]
    )


def test_an_item_or_a_purpose_that_was_taken_away_is_refused(world: World) -> None:
    fewer = tuple(item for item in world.services[0].grant.items if item.code != "hyzk")
    response = asked_while(world, of_grant(world, items=fewer))
    assert response.json()["code"] == "gateway.items.not_granted"
    response = asked_while(world, of_grant(world, purposes=("保障房年审",)), items=["xm"], purpose=PURPOSE)
    assert response.json()["code"] == "gateway.purpose.not_granted"


def test_a_row_filter_or_a_mask_that_was_laid_on_holds_for_the_answer(world: World) -> None:
    nowhere = (RowCondition(column="area", operator=Operator.EQUAL, values=("000000",)),)
    response = asked_while(world, of_grant(world, row_filter=nowhere))
    assert (response.status_code, response.json()["rows"]) == (200, [])

    def masked() -> None:
        of_grant(
            world,
            row_filter=(),
            items=tuple(replace(item, mask=Mask.HIDDEN) for item in world.services[0].grant.items),
        )()

    response = asked_while(world, masked, by={"sfzh": ANN}, items=["xm"])
    assert response.status_code == 200
    assert "安" not in response.text


def test_a_key_that_was_withdrawn_gets_no_answer(world: World) -> None:
    response = asked_while(world, lambda: world.keys.pop("key-housing") and None)
    assert (response.status_code, response.json()["code"]) == (401, "signature.unknown_key")
    assert "安" not in response.text


def test_a_caller_from_where_the_application_may_not_call_any_more_gets_no_answer(world: World) -> None:
    def moved() -> None:
        world.application_changes["app-housing"] = {"addresses": ("10.0.0.0/8",)}

    response = asked_while(world, moved)
    assert (response.status_code, response.json()["code"]) == (403, "gateway.caller.address")
    assert "安" not in response.text
    assert records(world)[-1]["outcome"] == "gateway.caller.address"


def test_a_certificate_that_is_wanted_since_then_is_wanted_for_the_answer(world: World) -> None:
    def stricter() -> None:
        world.application_changes["app-housing"] = {"certificates": ("0" * 64,)}

    response = asked_while(world, stricter)
    assert response.json()["code"] == "gateway.caller.certificate"
    assert "安" not in response.text


def mark(number: str, key_id: str, key: bytes) -> str:
    return commitment(key_id, suite("international").keyed(key), number)


def test_everybody_is_marked_by_the_policy_by_which_the_answer_was_looked_up(world: World) -> None:
    """Who was asked for, found or not, and under the key of persons that came with it."""
    old, new = b"o" * 32, b"n" * 32
    world.publish(subject_key=SubjectKey(key_id="old", sealed_key=world.gateway.seal(old)))

    def person_items() -> dict[str, Any]:
        of_service(world, subject_items=("sfzh",))()
        return {"subject_key": SubjectKey(key_id="new", sealed_key=world.gateway.seal(new))}

    body = {
        "purpose": PURPOSE,
        "case_number": "GZF-1",
        "by": [{"sfzh": number} for number in (ANN, CAI)],
        "items": ["sfzh", "xm"],
    }
    response = asked_while(world, person_items, path=f"/gateway/v1/services/{SERVICE}/batch", body=body)
    assert response.json()["count"] == 1
    assert set(records(world)[-1]["subjects"]) == {mark(number, "new", new) for number in (ANN, CAI)}


def test_who_is_in_a_list_is_marked_by_a_key_of_persons_that_came_meanwhile(world: World) -> None:
    key = b"n" * 32

    def person_items() -> dict[str, Any]:
        of_service(world, subject_items=("sfzh",))()
        return {"subject_key": SubjectKey(key_id="new", sealed_key=world.gateway.seal(key))}

    body = {"purpose": PURPOSE, "case_number": "GZF-1", "items": ["hyzk"]}
    response = asked_while(world, person_items, path=f"/gateway/v1/services/{SERVICE}/list", body=body)
    assert response.json()["count"] == 2
    assert set(records(world)[-1]["subjects"]) == {mark(number, "new", key) for number in (ANN, BO)}
