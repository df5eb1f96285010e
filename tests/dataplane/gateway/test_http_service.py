"""Departments' own HTTP services behind the same policy: what they answer is checked, and what is wrong is not told."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.circuit import FAILURES, FIRST_REST_S, Circuit
from jinqiao.dataplane.gateway.errors import SourceResting
from jinqiao.dataplane.gateway.sources.http_service import ANSWER_BYTES, HttpLookups
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.contracts.tables import Connection, Engine
from tests.dataplane.gateway.world import (
    ANN,
    BO,
    CAI,
    PEOPLE,
    SERVICE,
    Caller,
    World,
    make_world,
    question,
    records,
    talk,
)
from tests.web_servers import Answer, Asked, WebServer, serving

COLUMNS = ("id_no", "name", "phone", "status", "registered_on", "amount", "number", "area", "note")
FIELDS: dict[str, Any] = {
    "id_no": {"type": "text", "at": "/identity/number"},
    "name": {"type": "text", "at": "/identity/name"},
    "status": "text",
    "registered_on": "date",
    "amount": "decimal(10,2)",
    "number": "integer",
    "area": "text",
}


def person(number: str) -> dict[str, Any] | None:
    for row in PEOPLE:
        if row[0] == number:
            found = dict(zip(COLUMNS, row, strict=True))
            return {**found, "identity": {"number": found.pop("id_no"), "name": found.pop("name")}}
    return None


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def by_query(asked: Asked) -> Answer:
    number = parse_qs(urlsplit(asked.path).query).get("idNo", [""])[0]
    found = person(number)
    return as_json({"data": {"people": [found] if found else []}})


def options(**lookup: Any) -> dict[str, Any]:
    table = {
        "path": lookup.pop("path", "/people"),
        "rows": lookup.pop("rows", "/data/people"),
        "fields": FIELDS,
        "lookup": {"keys": {"id_no": "idNo"}, **lookup},
    }
    return {"tables": {"person": table}, "auth": {"kind": "header", "name": "X-Key"}}


@contextmanager
def behind(
    tmp_path: Path, answer: Callable[[Asked], Answer], given: dict[str, Any] | None = None, **changes: Any
) -> Iterator[tuple[World, WebServer]]:
    with serving(answer) as server:
        world = make_world(tmp_path)
        connection = Connection(
            engine=Engine.HTTP,
            database=server.url("").rstrip("/"),
            options=given or options(),
            sealed_password=world.gateway.seal(b"the-department-s-secret"),
        )
        offering = replace(world.services[0], connection=connection, operations=tuple(Operation), **changes)
        world.services = (offering,)
        world.publish()
        yield world, server


@pytest.fixture(autouse=True)
def _this_machine_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "127.0.0.0/8")


async def ask(caller: Caller, operation: str, **body: Any) -> Any:
    content = {key: value for key, value in {**question(), **body}.items() if value is not None}
    return (await caller.ask(content, path=f"/gateway/v1/services/{SERVICE}/{operation}")).json()


def test_a_service_is_looked_up_in_like_a_table(tmp_path: Path) -> None:
    with behind(tmp_path, by_query) as (world, server):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            answer = await ask(caller, "query", items=["sfzh", "xm", "hyzk", "djrq", "bt", "xh"])
            assert answer["rows"] == [
                {
                    "sfzh": "620302********0015",
                    "xm": "安**",
                    "hyzk": "married",
                    "djrq": "2015-06-01",
                    "bt": "12.50",
                    "xh": 1,
                }
            ]
            batch = await ask(caller, "batch", by=[{"sfzh": number} for number in (BO, "x", ANN, CAI)], items=["xh"])
            assert [result["rows"] for result in batch["results"]] == [[{"xh": 2}], [], [{"xh": 1}], []]
            verified = await ask(caller, "verify", items=None, claims={"hyzk": "married", "bt": "12.5", "xh": 1})
            assert verified["result"] == "yes"
            for operation, body in (("list", {"by": None}), ("count", {"by": None, "items": None})):
                refused = await ask(caller, operation, **body)
                assert (refused["code"], refused["details"]["allowed"]) == (
                    "gateway.service.operation",
                    "query、batch、verify",
                )

        talk(world, conversation)
        assert {asked.headers["x-key"] for asked in server.asked} == {"the-department-s-secret"}
        # the row filter is laid on what comes: of another county nothing is told, though the service told it
        assert any(CAI in asked.path for asked in server.asked)


@pytest.mark.parametrize("place", ["path", "json"])
def test_a_key_stands_in_the_path_or_in_a_body_of_json(tmp_path: Path, place: str) -> None:
    strange = "a/../b?c#d e%2f"
    seen: list[str] = []

    def answer(asked: Asked) -> Answer:
        number = unquote(asked.path.removeprefix("/people/")) if place == "path" else json.loads(asked.body)["idNo"]
        seen.append(number)
        found = person(number)
        return as_json(found) if found else as_json({"error": "none"}, 404)

    given = options(
        path="/people/{idNo}" if place == "path" else "/people",
        rows="",
        method="GET" if place == "path" else "POST",
        missing=[404],
        **{"in": place},
    )
    with behind(tmp_path, answer, given) as (world, server):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            assert (await ask(caller, "query"))["count"] == 1
            assert (await ask(caller, "query", by={"sfzh": strange}))["count"] == 0
            if place == "path":
                for dots in (".", ".."):
                    assert (await ask(caller, "query", by={"sfzh": dots}))["code"] == "gateway.keys.not_valid"

        talk(world, conversation)
        assert seen == [ANN, strange]
        assert all(asked.path.count("/") == (2 if place == "path" else 1) for asked in server.asked)


GOOD = person(ANN) or {}
WRONG: list[Any] = [
    b"<html>secret</html>",
    b"",
    b'{"data": {"people": [NaN]}}',
    b'{"data": {"people": [], "people": []}}',
    b"[" * 100_000,
    {"data": {}},
    {"data": {"people": "secret"}},
    {"data": {"people": ["secret"]}},
    {"data": {"people": [{**GOOD, "number": "1"}]}},
    {"data": {"people": [{**GOOD, "number": 1.5}]}},
    {"data": {"people": [{**GOOD, "number": True}]}},
    {"data": {"people": [{**GOOD, "status": 7}]}},
    {"data": {"people": [{**GOOD, "status": ["secret"]}]}},
    {"data": {"people": [{**GOOD, "amount": "secret"}]}},
    {"data": {"people": [{**GOOD, "registered_on": "secret"}]}},
    {"data": {"people": [{key: value for key, value in GOOD.items() if key != "number"}]}},
    {"data": {"people": [GOOD, person(BO)]}},  # the parameter was ignored: everybody comes
    {"data": {"people": [{**GOOD, "note": "s" * ANSWER_BYTES}]}},
]


@pytest.mark.parametrize("at", range(len(WRONG)))
def test_an_answer_of_another_form_is_not_usable_and_nothing_of_it_is_told(tmp_path: Path, at: int) -> None:
    wrong = WRONG[at]
    with behind(tmp_path, lambda _: Answer(200, wrong) if isinstance(wrong, bytes) else as_json(wrong)) as (world, _):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            answer = await ask(caller, "query")
            assert answer["code"] == "gateway.source.not_usable"
            for word in ("secret", "married", "安", BO, ANN):
                assert word not in json.dumps(answer, ensure_ascii=False)

        talk(world, conversation)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "not_usable"),
        (403, "not_usable"),
        (404, "not_usable"),
        (302, "not_usable"),
        (500, "unavailable"),
        (503, "unavailable"),
        (429, "unavailable"),
    ],
)
def test_a_refusal_of_the_service_is_told_as_one_of_ours(tmp_path: Path, status: int, code: str) -> None:
    with behind(tmp_path, lambda _: Answer(status, b"secret")) as (world, _):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            answer = await ask(caller, "query")
            assert answer["code"] == f"gateway.source.{code}"
            assert "secret" not in json.dumps(answer)

        talk(world, conversation)


def test_a_service_at_an_address_that_is_not_allowed_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "api.example.cn")
    with behind(tmp_path, by_query) as (world, server):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            assert (await ask(caller, "query"))["code"] == "gateway.source.not_usable"

        talk(world, conversation)
        assert server.asked == []


def test_a_service_that_keeps_failing_is_left_alone_and_tried_again(tmp_path: Path) -> None:
    broken = True

    def answer(asked: Asked) -> Answer:
        return Answer(500, b"") if broken else by_query(asked)

    with behind(tmp_path, answer) as (world, server):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            nonlocal broken
            codes = [(await ask(caller, "query"))["code"] for _ in range(FAILURES + 3)]
            assert codes == ["gateway.source.unavailable"] * FAILURES + ["gateway.source.resting"] * 3
            assert len(server.asked) == FAILURES
            assert gateway._desk is not None
            reader = gateway._desk.readers._readers[SERVICE]
            broken = False
            reader.source.circuit._opens_at = time.monotonic() - 1  # type: ignore[union-attr]
            assert (await ask(caller, "query"))["count"] == 1

        talk(world, conversation)


def test_a_caller_who_no_longer_waits_says_nothing_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    async def live() -> None:
        lookups = HttpLookups(Connection(engine=Engine.HTTP, database="http://127.0.0.1:1"), "")
        answered = threading.Event()
        monkeypatch.setattr(lookups, "_request", lambda *_: answered.wait(20) and {})
        for _ in range(FAILURES + 1):
            asking = asyncio.ensure_future(lookups.ask(None, None, {}))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        answered.set()
        assert lookups.circuit.is_closed
        assert await lookups.ask(None, None, {}) == {}  # type: ignore[arg-type]
        await lookups.close()

    asyncio.run(live())


def test_an_open_circuit_lets_one_call_through_after_its_rest() -> None:
    circuit = Circuit()
    for _ in range(FAILURES):
        circuit.enter(0.0)
        circuit.failed(0.0)
    with pytest.raises(SourceResting) as caught:
        circuit.enter(1.0)
    assert caught.value.details == {"retry_after": int(FIRST_REST_S) - 1}
    circuit.enter(FIRST_REST_S)
    with pytest.raises(SourceResting):
        circuit.enter(FIRST_REST_S)  # the probe is under way
    circuit.failed(FIRST_REST_S)
    with pytest.raises(SourceResting):
        circuit.enter(2 * FIRST_REST_S)  # the second rest is twice as long
    circuit.enter(3 * FIRST_REST_S)
    circuit.succeeded()
    assert circuit.is_closed


def test_a_slow_service_is_given_up_on_while_others_are_served(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(HttpLookups.__init__.__kwdefaults__, "timeout_s", 0.3)

    def answer(asked: Asked) -> Answer:
        time.sleep(1.5)
        return by_query(asked)

    with behind(tmp_path, answer) as (world, _):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            slow = asyncio.ensure_future(ask(caller, "query"))
            await asyncio.sleep(0.05)
            assert (await caller.client.get("/gateway/health/live")).status_code == 200
            assert (await slow)["code"] == "gateway.source.timeout"

        talk(world, conversation)
    assert records(world)[-1]["outcome"] == "gateway.source.timeout"


def test_a_case_column_holds_for_a_service_too(tmp_path: Path) -> None:
    given = options()
    given["tables"]["person"]["fields"] = {**FIELDS, "note": "text"}
    with behind(tmp_path, by_query, given, case_column="note") as (world, _):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            assert (await ask(caller, "query", case_number="绝密备注一"))["count"] == 1
            assert (await ask(caller, "query", case_number="绝密备注二"))["count"] == 0

        talk(world, conversation)
