"""Metrics count what happened, say nothing about persons, and are for the operator alone."""

import hashlib
import json
import logging
import re

import httpx
import pytest

from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.logs import JsonLines, RefusalLog, exception_places
from jinqiao.dataplane.gateway.metrics import CallFigures, Sample, may_read, render
from jinqiao.dataplane.gateway.settings import SETTINGS, MetricsAccess
from jinqiao.dataplane.gateway.state import source_name
from jinqiao.kernel.contracts.tables import Connection, Engine
from tests.dataplane.gateway.world import ANN, BO, CAI, SECRET, SERVICE, Caller, World, talk

LINE = re.compile(r'[a-z_]+(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? -?[0-9.]+(e[+-]?[0-9]+)?')


def figures(page: str) -> dict[str, float]:
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in page.splitlines() if line[0] != "#"}


def test_calls_are_counted_by_service_operation_outcome_and_owner(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> str:
        for _ in range(3):
            await caller.ask()
        await caller.ask(items=["nothing"])
        await caller.ask(service="made-up-by-the-caller")
        response = await caller.client.get("/gateway/metrics")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        return response.text

    page = talk(world, conversation)
    assert all(LINE.fullmatch(line) for line in page.splitlines() if not line.startswith("# TYPE "))
    found = figures(page)

    def calls(service: str, outcome: str, owner: str) -> float:
        labels = f'service="{service}",operation="query",outcome="{outcome}",owner="{owner}"'
        return found[f"jinqiao_gateway_calls_total{{{labels}}}"]

    assert calls(SERVICE, "ok", "") == 3
    assert calls(SERVICE, "gateway.items.not_granted", "consumer") == 1
    assert calls("", "gateway.service.unknown", "consumer") == 1
    assert "made-up" not in page
    assert found[f'jinqiao_gateway_call_seconds_count{{service="{SERVICE}",operation="query"}}'] == 4
    assert found["jinqiao_gateway_policy_version"] == 1
    assert found["jinqiao_gateway_nonces"] == 5
    assert found["jinqiao_gateway_evidence_healthy"] == 1
    assert found['jinqiao_gateway_source_calls_running{source="sqlite:civil-affairs.db"}'] == 0


def test_buckets_of_the_histogram_add_up() -> None:
    taken = CallFigures()
    for seconds in (0.0005, 0.001, 0.003, 99):
        taken.note("s", "query", "ok", seconds)
    buckets = [sample for sample in taken.samples() if sample.name == "call_seconds_bucket"]
    by_bound = {dict(sample.labels)["le"]: sample.value for sample in buckets}
    assert (by_bound["0.001"], by_bound["0.002"], by_bound["0.005"], by_bound["10"], by_bound["+Inf"]) == (
        2,
        2,
        3,
        3,
        4,
    )


def test_labels_cannot_break_out_of_their_quotes() -> None:
    page = render([Sample("x_total", 1, (("source", 'a"b\\c\nd'),))]).decode()
    assert page == '# TYPE jinqiao_gateway_x_total counter\njinqiao_gateway_x_total{source="a\\"b\\\\c\\nd"} 1\n'


def test_a_source_is_named_without_user_and_path() -> None:
    hidden = {"user": "reader", "database": "city"}
    assert source_name(Connection(engine=Engine.POSTGRESQL, host="10.1.1.1", port=5432, **hidden)) == (
        "postgresql:10.1.1.1:5432/city"
    )
    assert source_name(Connection(engine=Engine.SQLITE, database="/srv/people/civil.db")) == "sqlite:civil.db"
    named = source_name(Connection(engine=Engine.HTTP, database="https://u:geheim@api.test:8443/q?token=secret"))
    assert named == "http:api.test:8443"
    assert source_name(None) == "sandbox"


@pytest.mark.parametrize(
    ("address", "headers", "allowed"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("10.1.2.3", {}, False),
        ("", {}, False),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}, False),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}, False),
        ("10.1.2.3", {"authorization": "Bearer right"}, True),
        ("10.1.2.3", {"authorization": "Bearer right", "x-forwarded-for": "1.2.3.4"}, True),
        ("127.0.0.1", {"authorization": "Bearer wrong"}, False),
        ("10.1.2.3", {"authorization": "Basic right"}, False),
    ],
)
def test_metrics_are_for_allowed_networks_and_for_the_token(
    address: str, headers: dict[str, str], allowed: bool
) -> None:
    access = MetricsAccess(token_sha256=hashlib.sha256(b"right").hexdigest())
    assert may_read(access, address, headers) is allowed


def test_to_others_there_are_no_metrics_at_all(world: World) -> None:
    (world.home / SETTINGS).write_text("[metrics]\nnetworks = []\n")

    async def conversation(caller: Caller, gateway: Gateway) -> tuple[httpx.Response, httpx.Response]:
        return await caller.client.get("/gateway/metrics"), await caller.client.get("/gateway/nothing")

    metrics, nothing = talk(world, conversation)
    assert metrics.status_code == nothing.status_code == 404
    assert metrics.json() == nothing.json()


def test_no_number_of_a_person_is_in_logs_or_metrics_wherever_it_was_put(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "asyncio", "httpcore"):
        caplog.set_level(logging.WARNING, name)
    everywhere = [ANN, BO, CAI]

    async def conversation(caller: Caller, gateway: Gateway) -> str:
        for number in everywhere:
            await caller.ask(by={"sfzh": number})
            await caller.ask(by={number: number})
            await caller.ask(items=[number], purpose=number, case_number=number, end_user=number)
            await caller.ask(service=number)
            await caller.ask(path=f"/gateway/v1/services/{SERVICE}/{number}")
            await caller.ask(path=f"/gateway/v1/services/{SERVICE}/query?sfzh={number}")
            await caller.ask(f'{{"by": {{"sfzh": "{number}"'.encode())
            await caller.ask(nonce=number)
            await caller.ask(headers={"X-Person": number, "User-Agent": number, "Accept-Language": number})
            await caller.ask(change=lambda sent, number=number: sent.update({"Signature": f"sig1=:{number}:"}))  # type: ignore[misc]
            caller.key_id = number
            await caller.ask()
            caller.key_id = "key-housing"
            await caller.client.get(f"/gateway/{number}")
        (world.folder / "civil-affairs.db").unlink()
        (world.folder / "civil-affairs.db").write_text(f"no database, but {ANN}")
        await gateway.reload()
        await caller.ask(by={"sfzh": ANN})
        return (await caller.client.get("/gateway/metrics")).text

    page = talk(world, conversation)
    lines = [JsonLines("1").format(record) for record in caplog.records]
    assert lines
    for text in (page, *lines):
        for number in (*everywhere, SECRET):
            assert number not in text
    assert all(json.loads(line)["what"] for line in lines)


def test_a_log_line_tells_kinds_and_places_of_exceptions_and_none_of_their_words() -> None:
    def ask() -> None:
        raise ValueError(f"duplicate key {ANN}")

    try:
        try:
            ask()
        except ValueError as problem:
            raise RuntimeError(ANN) from problem
    except RuntimeError as problem:
        said = exception_places(problem)
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "it failed", (), (type(problem), problem, None))
    assert re.fullmatch(r"RuntimeError in \w+:\d+ from ValueError in ask:\d+", said)
    line = JsonLines().format(record)
    assert ANN not in line
    assert json.loads(line)["exception"].startswith("RuntimeError")


def test_refusals_of_one_code_are_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    refusals = RefusalLog()
    for _ in range(50):
        refusals.note("gateway.rate.exceeded")
    refusals.note("gateway.purpose.missing")
    assert [record.getMessage() for record in caplog.records] == [
        "calls refused: gateway.rate.exceeded (1)",
        "calls refused: gateway.purpose.missing (1)",
    ]
