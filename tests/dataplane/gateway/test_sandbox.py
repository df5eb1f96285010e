"""The sandbox: synthetic people for every service, under the same policy."""

from dataclasses import replace
from typing import Any

import pytest

from jinqiao.dataplane.gateway import sandbox
from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.policy import Operation, SubjectKey
from jinqiao.kernel.contracts.tables import Connection, Engine, LogicalType, Operator, RowCondition
from jinqiao.kernel.identifiers.credit_code import UnifiedSocialCreditCode
from jinqiao.kernel.identifiers.resident_id import ResidentIdentityNumber
from tests.dataplane.gateway.world import ANN, PURPOSE, SERVICE, Caller, World, records, service, talk

ROOT = f"/gateway/sandbox/v1/services/{SERVICE}"
REASON = {"purpose": PURPOSE, "case_number": "GZF-1"}
TYPES = tuple(
    GrantedItem(item=name, code=f"c{at}", column=f"column {at}", type=kind, precision=6, scale=2, length=length)
    for at, (name, kind, length) in enumerate(
        [
            ("公民身份号码", LogicalType.TEXT, 18),
            ("姓名", LogicalType.TEXT, 4),
            ("统一社会信用代码", LogicalType.TEXT, None),
            ("联系电话", LogicalType.TEXT, 11),
            ("住址", LogicalType.TEXT, 5),
            ("等级", LogicalType.TEXT, 2),
            ("人数", LogicalType.INTEGER, None),
            ("金额", LogicalType.DECIMAL, None),
            ("比例", LogicalType.DOUBLE, None),
            ("有效", LogicalType.BOOLEAN, None),
            ("日期", LogicalType.DATE, None),
            ("时间", LogicalType.DATETIME, None),
            ("照片", LogicalType.BINARY, None),
        ]
    )
)


def offer(world: World, **changes: Any) -> None:
    world.services = (replace(world.services[0], operations=tuple(Operation), subject_items=("sfzh",), **changes),)
    world.publish()


async def ask(caller: Caller, operation: str, **body: Any) -> Any:
    return (await caller.ask({**REASON, **body}, path=f"{ROOT}/{operation}")).json()


async def examples(caller: Caller) -> Any:
    response = await caller.ask(b"", path=f"{ROOT}/examples", method="GET", content_type=None)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_examples_that_are_told_exist_in_every_operation(world: World) -> None:
    offer(world, filter_items=("hyzk", "djrq", "bt", "xh"))

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        told = await examples(caller)
        assert (told["service"], told["operations"]) == (SERVICE, [operation.value for operation in Operation])
        people = told["people"]
        for person in people:
            found = await ask(caller, "query", by=person["by"], items=told["items"])
            assert found["count"] == 1
            verified = await ask(caller, "verify", by=person["by"], claims=person["claims"])
            assert verified["result"] == "yes"
        assert (await ask(caller, "query", by=told["nobody"], items=told["items"]))["count"] == 0
        batch = await ask(caller, "batch", by=[person["by"] for person in people], items=["xh"])
        assert batch["count"] == len(people)
        assert (await ask(caller, "count"))["count"] == sandbox.PEOPLE - sandbox.OUTSIDE
        for condition in told["filter"]:
            assert (await ask(caller, "list", items=["xm"], filter=[condition]))["count"] >= 1

    talk(world, conversation)


def test_nothing_of_a_source_is_read_and_nobody_is_marked(world: World) -> None:
    offer(world, connection=Connection(engine=Engine.HTTP, database="http://nowhere"))
    secret = world.gateway.seal(b"k" * 32)
    world.publish(subject_key=SubjectKey(key_id="k1", sealed_key=secret))

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        person = (await examples(caller))["people"][0]
        assert (await ask(caller, "query", by=person["by"], items=["xm"]))["rows"] == [{"xm": "测**"}]
        assert (await ask(caller, "query", by={"sfzh": ANN}, items=["xm"]))["count"] == 0

    talk(world, conversation)
    kept = records(world)
    assert {(record["environment"], record["subjects"] == []) for record in kept} == {("sandbox", True)}
    assert [record["operation"] for record in kept] == ["examples", "query", "query"]


def test_the_policy_of_the_sandbox_is_that_of_production(world: World) -> None:
    offer(world, case_column="case_no", calls_per_day=3)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        people = (await examples(caller))["people"]
        by = people[0]["by"]
        assert (await ask(caller, "query", by=by, items=["note"]))["code"] == "gateway.items.not_granted"
        assert (await ask(caller, "query", by=by, items=["xm"], purpose="别的"))[
            "code"
        ] == "gateway.purpose.not_granted"
        case = people[0]["case_number"]
        assert (await ask(caller, "query", by=by, items=["xm"], case_number=case))["count"] == 1
        assert (await ask(caller, "query", by=by, items=["xm"], case_number=people[1]["case_number"]))["count"] == 0
        assert (await ask(caller, "query", by=by, items=["xm"]))["count"] == 0
        assert (await ask(caller, "query", by=by, items=["xm"]))["code"] == "gateway.quota.calls"
        # quotas of its own: production has its calls still
        production = {**REASON, "by": {"sfzh": ANN}, "items": ["xm"]}
        assert (await caller.ask(production)).json()["code"] == "gateway.source.not_usable"  # no column case_no
        caller.key_id, caller.secret = "key-stranger", "s3cret-of-a-stranger"
        assert (await ask(caller, "query", by=by, items=["xm"]))["code"] == "gateway.service.unknown"

    talk(world, conversation)


def test_examples_are_for_the_sandbox_and_for_callers_of_the_service(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        path = f"/gateway/v1/services/{SERVICE}/examples"
        assert (await caller.ask(b"", path=path, method="GET", content_type=None)).status_code == 404
        assert (await caller.ask({}, path=f"{ROOT}/examples")).json()["code"] == "gateway.request.method"
        unsigned = await caller.client.get(f"{ROOT}/examples")
        assert unsigned.status_code == 401
        caller.key_id, caller.secret = "key-stranger", "s3cret-of-a-stranger"
        stranger = await caller.ask(b"", path=f"{ROOT}/examples", method="GET", content_type=None)
        assert stranger.json()["code"] == "gateway.service.unknown"

    talk(world, conversation)


FILTERS = [
    RowCondition(column="area", operator=Operator.EQUAL, values=("620302",)),
    RowCondition(column="area", operator=Operator.ONE_OF, values=("620302", "620321")),
    RowCondition(column="area", operator=Operator.STARTS_WITH, values=("6203",)),
    RowCondition(column="column 6", operator=Operator.AT_LEAST, values=("18",)),
    RowCondition(column="column 10", operator=Operator.AT_MOST, values=("2020-05-05",)),
]


@pytest.mark.parametrize("at", range(len(FILTERS)))
def test_every_type_has_values_and_the_row_filter_leaves_some_out(world: World, at: int) -> None:
    grant = {"items": TYPES, "row_filter": (FILTERS[at],)}
    offering = service(world.services[0].connection, grant=grant, operations=tuple(Operation))
    world.services = (replace(offering, key_items=("c0",), subject_items=("c0",)),)
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        told = await examples(caller)
        rows = (await ask(caller, "list", items=told["items"], page={"size": 100}))["rows"]
        assert len(rows) == sandbox.PEOPLE - sandbox.OUTSIDE
        assert all(value is not None for row in rows for value in row.values())
        for row in rows:
            assert ResidentIdentityNumber.parse(row["c0"]).value.startswith(sandbox.REGION)
            assert UnifiedSocialCreditCode.parse(row["c2"]).division == sandbox.REGION
            assert row["c1"].startswith("测试")
        assert len({row["c0"] for row in rows}) == len(rows)

    talk(world, conversation)


def test_people_are_the_same_in_every_service_and_at_every_time() -> None:
    one = service(Connection(engine=Engine.SQLITE, database="x"), subject_items=("sfzh",))
    other = replace(one, service="other-001", grant=replace(one.grant, items=one.grant.items[:2]))
    assert sandbox.examples(one) == sandbox.examples(one)
    first, second = sandbox.examples(one)["people"], sandbox.examples(other)["people"]
    assert [person["by"] for person in first] == [person["by"] for person in second]
