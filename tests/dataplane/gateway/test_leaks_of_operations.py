"""For any grant, any settings of its service and any question of any operation: nothing that the grant does not give is told, by
rows, refusals, counts, orders or cursors."""

import asyncio
import base64
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.masking import stricter
from jinqiao.dataplane.gateway.snapshot import open_snapshot
from jinqiao.dataplane.gateway.sources.sqlite import SqliteLookups
from jinqiao.dataplane.masks import mask_text
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.policy import Operation, RoleMask
from jinqiao.kernel.contracts.tables import LogicalType, Mask, Operator, RowCondition
from tests.dataplane.gateway.world import SERVICE, Caller, World, day, make_world, running, service

COLUMNS = [f"c{n}" for n in range(4)]
TRIES = 20
ROWS, CASES, ROLES = 8, ("A-1", "A-2"), ("窗口", "审核")


def cell(row: int, column: str) -> str:
    """A value found nowhere else, long enough for each mask to hide something of it; the first column has every value twice."""
    return f"value-of-{column}-in-row-{row // 2 if column == 'c0' else row:02d}"


def person(row: int) -> str:
    return f"person-{row:02d}-number"


def value(row: int, code: str) -> str:
    return person(row) if code == "key" else cell(row, code)


def fill(path: Path) -> None:
    with sqlite3.connect(path) as db:
        names = ", ".join(f"{column} TEXT" for column in COLUMNS)
        db.execute(f"CREATE TABLE people (key TEXT PRIMARY KEY, area TEXT, case_no TEXT, {names})")
        for row in range(ROWS):
            values = [person(row), "east" if row < 6 else "west", CASES[row % 2], *(cell(row, c) for c in COLUMNS)]
            db.execute(f"INSERT INTO people VALUES ({', '.join('?' * len(values))})", values)
    db.close()


masks = st.sampled_from(list(Mask))
services = st.fixed_dictionaries(
    {
        "columns": st.lists(st.sampled_from(COLUMNS), unique=True, min_size=1),
        "masks": st.lists(st.just(Mask.NONE) | masks, min_size=5, max_size=5),
        "role_masks": st.lists(
            st.tuples(st.sampled_from(ROLES), st.sampled_from(["key", *COLUMNS]), masks), max_size=3
        ),
        "filter_items": st.lists(st.sampled_from(["key", "area", *COLUMNS]), unique=True),
        "operations": st.just(tuple(Operation)) | st.lists(st.sampled_from(list(Operation)), unique=True).map(tuple),
        "by_case": st.booleans(),
        "cap": st.integers(1, 4),
        "smallest": st.sampled_from([0, 0, 3]),
    }
)
codes = st.sampled_from(["key", *COLUMNS, "area", "case_no"])
texts = st.sampled_from(
    [value(row, code) for row in range(ROWS) for code in ("key", *COLUMNS)]
    + ["", "east", "person-", "value-of-c1", "%"]
)
conditions = st.builds(
    lambda item, op, one: {"item": item, "op": op, **({"values": [one, person(1)]} if op == "in" else {"value": one})},
    codes, st.sampled_from([operator.value for operator in Operator]), texts,
)  # fmt: skip
questions = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(list(Operation)),
        "by": st.sampled_from([person(row) for row in range(ROWS)]),
        "items": st.lists(codes, unique=True, min_size=1, max_size=4),
        "claims": st.dictionaries(codes, texts, min_size=1, max_size=3),
        "filter": st.lists(conditions, max_size=2),
        "order": st.lists(codes, unique=True, max_size=2),
        "role": st.sampled_from(["", "别的", *ROLES]),
        "case": st.sampled_from(CASES),
    }
)


PLAIN = {
    "columns": COLUMNS,
    "masks": [Mask.NONE] * 5,
    "role_masks": [],
    "filter_items": ["key", *COLUMNS],
    "operations": tuple(Operation),
    "by_case": False,
    "cap": 4,
    "smallest": 0,
}
"""A service that answers everything, and below a question that it answers by each operation."""
ASKED = {
    "operation": Operation.QUERY,
    "by": person(1),
    "items": ["key", "c1"],
    "claims": {"c1": cell(1, "c1")},
    "filter": [{"item": "c1", "op": "ge", "value": cell(1, "c1")}],
    "order": ["c1"],
    "role": "",
    "case": CASES[0],
}


async def put_in_force(world: World, gateway: Gateway, offered: dict[str, Any]) -> None:
    items = tuple(
        GrantedItem(item=code, code=code, column=code, type=LogicalType.TEXT, mask=mask)
        for code, mask in zip(["key", *offered["columns"]], offered["masks"], strict=False)
    )
    grant = {
        "items": items,
        "row_filter": (RowCondition(column="area", operator=Operator.EQUAL, values=("east",)),),
        "purposes": ("核验",),
        "valid_from": day(-1),
        "valid_until": day(1),
    }
    world.services = (
        replace(
            service(world.services[0].connection, grant=grant),
            table="people",
            key_items=("key",),
            operations=offered["operations"],
            filter_items=tuple(offered["filter_items"]),
            subject_items=("key",),
            case_column="case_no" if offered["by_case"] else "",
            role_masks=tuple(RoleMask(role=r, code=c, mask=m) for r, c, m in offered["role_masks"]),
            row_cap=offered["cap"],
            smallest_count=offered["smallest"],
            calls_per_minute=10**6,
        ),
    )
    gateway._install(open_snapshot(world.signed(), homes.load(world.home)))


def masks_of(offered: dict[str, Any], role: str) -> dict[str, Mask]:
    """The masks of the granted items for a role, worked out once more."""
    found = dict(zip(["key", *offered["columns"]], offered["masks"], strict=False))
    for code in found:
        by_role = [(r, m) for r, c, m in offered["role_masks"] if c == code]
        own = [m for r, m in by_role if r == role]
        for mask in own or [m for _, m in by_role]:
            found[code] = stricter(found[code], mask)
    return found


def visible(offered: dict[str, Any], case: str) -> list[int]:
    return [row for row in range(6) if not offered["by_case"] or CASES[row % 2] == case]


def meets(row: int, one: dict[str, Any]) -> bool:
    have, wanted = value(row, one["item"]), one.get("value", "")
    match one["op"]:
        case "eq":
            return have == wanted
        case "in":
            return have in one["values"]
        case "ge":
            return have >= wanted
        case "le":
            return have <= wanted
    return have.startswith(wanted)


def body_of(asked: dict[str, Any], after: str = "") -> tuple[str, dict[str, Any]]:
    operation: Operation = asked["operation"]
    reason = {"purpose": "核验", "case_number": asked["case"], "role": asked["role"]}
    by = {"key": asked["by"]}
    parts: dict[Operation, dict[str, Any]] = {
        Operation.QUERY: {"by": by, "items": asked["items"]},
        Operation.BATCH: {"by": [by, {"key": person(7)}, {"key": person(1)}], "items": asked["items"]},
        Operation.VERIFY: {"by": by, "claims": asked["claims"]},
        Operation.COUNT: {"filter": asked["filter"]},
        Operation.LIST: {
            "items": asked["items"],
            "filter": asked["filter"],
            "order": [{"item": code} for code in asked["order"]],
            "page": {"size": 1, **({"after": after} if after else {})},
        },
    }
    return f"/gateway/v1/services/{SERVICE}/{operation.value}", {**reason, **parts[operation]}


def rows_that_may_be_told(offered: dict[str, Any], asked: dict[str, Any]) -> list[int]:
    seen = visible(offered, asked["case"])
    match asked["operation"]:
        case Operation.QUERY:
            return [row for row in seen if person(row) == asked["by"]]
        case Operation.BATCH:
            return [row for row in seen if person(row) in (asked["by"], person(1))]
        case Operation.LIST:
            return [row for row in seen if all(meets(row, one) for one in asked["filter"])]
    return []


def fits(offered: dict[str, Any], asked: dict[str, Any], shown: dict[str, Mask]) -> bool:
    operation = asked["operation"]
    if operation not in offered["operations"]:
        return False
    open_ = {code for code in offered["filter_items"] if shown.get(code) is Mask.NONE}
    filtered = {one["item"] for one in asked["filter"]} if operation in (Operation.LIST, Operation.COUNT) else set()
    ordered = set(asked["order"]) if operation is Operation.LIST else set()
    granted = set(asked["items"]) <= set(shown) or operation in (Operation.VERIFY, Operation.COUNT)
    claimed = set(asked["claims"]) if operation is Operation.VERIFY else set()
    verifiable = {code for code, mask in shown.items() if mask is not Mask.HIDDEN}
    return granted and filtered <= open_ and ordered <= open_ and claimed <= verifiable


async def answer_of(caller: Caller, path: str, body: dict[str, Any]) -> httpx.Response:
    """What the gateway says of a question. On a machine at work a source or the disk may take too long: that is a refusal as any other,
    but says nothing of the grant, so the question is asked again."""
    for _ in range(TRIES):
        response = await caller.ask(body, path=path)
        if response.status_code != 503:
            return response
    raise AssertionError(f"no word on the question in {TRIES} tries: {response.text}")


async def check_one(caller: Caller, offered: dict[str, Any], asked: dict[str, Any], every: Sequence[str]) -> bool:
    """Whether it was answered. Raises AssertionError where it told too much."""
    shown = masks_of(offered, asked["role"])
    may_answer = fits(offered, asked, shown)
    rows = rows_that_may_be_told(offered, asked) if may_answer else []
    allowed = {mask_text(value(row, code), shown[code]) for row in rows for code in asked["items"]}
    after, told = "", []
    while True:
        path, body = body_of(asked, after)
        response = await answer_of(caller, path, body)
        said = response.text + json.dumps(dict(response.headers))
        assert not [text for text in every if text in said and text not in allowed]
        if response.status_code != 200:
            assert not {"rows", "results", "result", "count"} & response.json().keys()
            return False
        assert may_answer
        answer = response.json()
        told += answer.get("rows", [row for one in answer.get("results", []) for row in one["rows"]])
        after = answer.get("next") or ""
        if not after:
            break
        sealed = base64.urlsafe_b64decode(after + "=" * (-len(after) % 4))
        assert not [text for text in every if text.encode() in sealed]
    assert all(set(row) == set(asked["items"]) and set(row.values()) <= allowed for row in told)
    if asked["operation"] is Operation.LIST:
        assert len(told) == len(rows)
        for code in asked["order"][:1]:
            if code in asked["items"]:
                assert [row[code] for row in told] == sorted(row[code] for row in told)
    if asked["operation"] is Operation.COUNT:
        found = len([r for r in visible(offered, asked["case"]) if all(meets(r, one) for one in asked["filter"])])
        told_count = None if 0 < found < offered["smallest"] else found
        assert answer["count"] == told_count
    return True


def test_no_operation_tells_what_the_grant_does_not_give(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    fill(tmp_path / "civil-affairs.db")
    every = sorted({value(row, code) for row in range(ROWS) for code in ("key", *COLUMNS)})
    answered = dict.fromkeys(Operation, 0)

    # how many questions are answered is chance; that each operation is answered at all must not be
    @example(PLAIN, [{**ASKED, "operation": operation} for operation in Operation])
    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(services, st.lists(questions, min_size=3, max_size=6))
    def check(offered: dict[str, Any], asked: list[dict[str, Any]]) -> None:
        loop.run_until_complete(put_in_force(world, gateway, offered))
        granted = ["key", *offered["columns"]]
        open_ = [code for code in offered["filter_items"] if code in granted]
        for one in asked:
            keeping = {  # the same question, kept to the grant: else most would be refused and the property held by silence
                **one,
                "items": [code for code in one["items"] if code in granted] or ["key"],
                "claims": {code: text for code, text in one["claims"].items() if code in granted} or {"key": one["by"]},
                "filter": [c for c in one["filter"] if c["item"] in open_],
                "order": [code for code in one["order"] if code in open_],
            }
            for question in (one, keeping):
                answered[question["operation"]] += loop.run_until_complete(check_one(caller, offered, question, every))

    loop = asyncio.new_event_loop()
    try:
        opened = running(world)
        caller, gateway = loop.run_until_complete(opened.__aenter__())
        check()
        loop.run_until_complete(opened.__aexit__(None, None, None))
    finally:
        loop.close()
    assert min(answered.values()) > 0, answered


def test_a_verification_asks_the_source_the_same_whether_there_is_somebody_or_not(
    tmp_path: Path, monkeypatch: Any
) -> None:
    world = make_world(tmp_path)
    fill(tmp_path / "civil-affairs.db")
    asked: list[str] = []
    fetch = SqliteLookups.fetch

    async def noted(self: SqliteLookups, statement: Any, keys: Any) -> Any:
        asked.append(statement.sql)
        return await fetch(self, statement, keys)

    monkeypatch.setattr(SqliteLookups, "fetch", noted)
    offered = {
        "columns": COLUMNS,
        "masks": [Mask.NONE] * 5,
        "role_masks": [],
        "filter_items": [],
        "operations": (Operation.VERIFY,),
        "by_case": True,
        "cap": 1,
        "smallest": 0,
    }

    async def conversation() -> set[tuple[tuple[str, ...], str, int]]:
        async with running(world) as (caller, gateway):
            await put_in_force(world, gateway, offered)
            told = set()
            for number in (
                person(0),
                person(1),
                person(7),
                "nobody-at-all",
            ):  # there, another's case, outside, not there
                path = f"/gateway/v1/services/{SERVICE}/verify"
                body = {
                    "purpose": "核验",
                    "case_number": "A-1",
                    "by": {"key": number},
                    "claims": {"c0": "x", "c1": "y"},
                }
                asked.clear()
                response = await caller.ask(body, path=path)
                said = response.text.replace(response.json()["call_id"], "")
                told.add((tuple(asked), said, len(response.content)))
            return told

    assert len(asyncio.run(conversation())) == 1


def test_rows_that_are_alike_come_in_an_order_that_does_not_follow_hidden_numbers(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    fill(tmp_path / "civil-affairs.db")
    offered = {
        "columns": ["c1"],
        "masks": [Mask.HIDDEN, Mask.NONE],
        "role_masks": [],
        "filter_items": [],
        "operations": (Operation.LIST,),
        "by_case": False,
        "cap": 8,
        "smallest": 0,
    }

    async def conversation() -> list[list[str]]:
        async with running(world) as (caller, gateway):
            orders = []
            for turn in range(6):
                await put_in_force(world, gateway, offered)
                grant = replace(world.services[0].grant, grant_id=f"SQ-{turn}")
                world.services = (replace(world.services[0], grant=grant),)
                gateway._install(open_snapshot(world.signed(), homes.load(world.home)))
                body = {"purpose": "核验", "case_number": "A-1", "items": ["c1"]}
                rows = (await caller.ask(body, path=f"/gateway/v1/services/{SERVICE}/list")).json()["rows"]
                orders.append([row["c1"] for row in rows])
            return orders

    orders = asyncio.run(conversation())
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert len({tuple(order) for order in orders}) > 1  # another for each grant: drawn by a secret, not by the numbers
