"""Whom a call was about stands in its record as a commitment, asked for or disclosed, and nowhere as a number."""

import json
from dataclasses import replace
from typing import Any

from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.kernel.contracts.policy import Operation, SubjectKey
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.subjects import commitment
from tests.dataplane.gateway.world import ANN, BO, CAI, PURPOSE, SERVICE, Caller, World, records, talk

KEY = b"c" * 32


def mark(number: str) -> str:
    return commitment("k1", suite("international").keyed(KEY), number)


def marked(world: World, operation: str, body: dict[str, Any], **changes: Any) -> tuple[str, set[str]]:
    """Outcome and persons of one call."""
    offering = {"operations": tuple(Operation), "subject_items": ("sfzh",), **changes}
    world.services = (replace(world.services[0], **offering),)
    world.publish(subject_key=SubjectKey(key_id="k1", sealed_key=world.gateway.seal(KEY)))

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        content = {"purpose": PURPOSE, "case_number": "GZF-1", **body}
        await caller.ask(content, path=f"/gateway/v1/services/{SERVICE}/{operation}")

    talk(world, conversation)
    record = records(world)[-1]
    assert not any(number in json.dumps(records(world)) for number in (ANN, BO, CAI))
    return record["outcome"], set(record["subjects"])


def test_who_is_asked_for_is_marked_found_or_not(world: World) -> None:
    for number in (ANN, CAI):
        assert marked(world, "query", {"by": {"sfzh": number}, "items": ["xm"]}) == ("ok", {mark(number)})


def test_a_batch_marks_everybody_in_it(world: World) -> None:
    body = {"by": [{"sfzh": number} for number in (ANN, BO, ANN)], "items": ["xm"]}
    assert marked(world, "batch", body) == ("ok", {mark(ANN), mark(BO)})


def test_a_verification_marks_who_is_verified(world: World) -> None:
    assert marked(world, "verify", {"by": {"sfzh": BO}, "claims": {"hyzk": "x"}}) == ("ok", {mark(BO)})


def test_a_list_marks_who_is_in_it_also_where_numbers_are_masked_or_not_asked_for(world: World) -> None:
    for items in (["sfzh"], ["hyzk"]):
        assert marked(world, "list", {"items": items}) == ("ok", {mark(ANN), mark(BO)})
    assert marked(world, "list", {"items": ["hyzk"], "page": {"size": 1}})[1] < {mark(ANN), mark(BO)}


def test_a_row_found_by_something_else_marks_its_person(world: World) -> None:
    body = {"by": {"xm": "薄远"}, "items": ["hyzk"]}
    assert marked(world, "query", body, key_items=("xm",)) == ("ok", {mark(BO)})


def test_a_filter_that_names_a_person_marks_it_in_a_count(world: World) -> None:
    items = tuple(replace(item, mask=type(item.mask).NONE) for item in world.services[0].grant.items)
    grant = replace(world.services[0].grant, items=items)
    body = {"filter": [{"item": "sfzh", "op": "in", "values": [BO, CAI]}]}
    outcome = marked(world, "count", body, grant=grant, filter_items=("sfzh",))
    assert outcome == ("ok", {mark(BO), mark(CAI)})


def test_what_was_not_permitted_marks_nobody(world: World) -> None:
    assert marked(world, "query", {"by": {"sfzh": ANN}, "items": ["note"]}) == ("gateway.items.not_granted", set())
