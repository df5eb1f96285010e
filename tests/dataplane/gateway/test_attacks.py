"""What an attacker with or without a key tries, against a running gateway."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.gateway.app import Gateway
from tests.dataplane.gateway.world import (
    ANN,
    HOST,
    PURPOSE,
    SERVICE,
    STRANGER_SECRET,
    Caller,
    World,
    day,
    make_world,
    question,
    records,
    service,
    talk,
)

INJECTIONS = [
    "' OR '1'='1",
    "'; DROP TABLE person; --",
    '" OR ""="',
    "\\' OR 1=1 -- ",
    "x' UNION SELECT note FROM person --",
    "%",
    "_" * 18,
    "$1",
    ":1",
    "?",
    "%s",
    "%(x)s",
    "${jndi:ldap://x}",
    "{{7*7}}",
    ANN + "' --",
    ANN + " ",
    ANN.translate(str.maketrans("0123456789", "０１２３４５６７８９")),
]


def test_no_text_in_any_field_is_ever_run(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for text in INJECTIONS:
            answer = (await caller.ask(by={"sfzh": text})).json()
            assert (text, answer.get("rows")) == (text, [])
            assert (await caller.ask(by={text: ANN})).status_code == 400
            assert (await caller.ask(items=["xm", text])).json()["code"] == "gateway.items.not_granted"
            assert (await caller.ask(purpose=text)).json()["code"] == "gateway.purpose.not_granted"
            case = await caller.ask(case_number=text, end_user=text)
            assert case.status_code in (200, 400)
        assert (await caller.ask()).json()["count"] == 1  # the table is still there

    talk(world, conversation)
    assert verify(world.home / "evidence.db").ok


@pytest.mark.parametrize(
    "name",
    [
        "%27%20OR%201=1",
        "..%2f..%2fetc",
        "hunyin-dengji-001%00",
        "HUNYIN-DENGJI-001",
        "hunyin-dengji-001%20",
        "hunyin%2Ddengji%2D001",
        "hunyin‑dengji‑001",
        "%E5%A9%9A%E5%A7%BB",
        "x" * 200,
        "x" * 201,
    ],
)
def test_a_service_is_found_by_its_exact_name_only(world: World, name: str) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(path=f"/gateway/v1/services/{quote(name, safe='%/.')}/query")
        assert response.status_code == 404
        assert response.json()["code"] == "gateway.service.unknown"

    talk(world, conversation)


@pytest.mark.parametrize(
    "below", ["a/b/query", "hunyin-dengji-001/drop", "hunyin-dengji-001/QUERY", "hunyin-dengji-001", "/query"]
)
def test_a_path_of_another_form_is_no_address(world: World, below: str) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(path=f"/gateway/v1/services/{below}")
        assert response.status_code == 404
        assert response.json()["code"] == "gateway.request.path_unknown"

    talk(world, conversation)


def test_a_service_that_is_not_yours_looks_like_one_that_is_not_there(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        stranger = replace(caller, key_id="key-stranger", secret=STRANGER_SECRET)
        for body in (question(), {}, {"by": 1}):
            there = await stranger.ask(body)
            nowhere = await stranger.ask(body, service="no-such-service")
            first, second = there.json(), nowhere.json()
            assert first.pop("call_id") != second.pop("call_id")
            assert first == second
            assert there.status_code == nowhere.status_code == 404
            assert set(there.headers) == set(nowhere.headers)

    talk(world, conversation)
    # whoever reads the evidence sees the difference in neither: no provider, no grant is named to a stranger's call
    assert {(record["grant_id"], record["provider"]) for record in records(world)} == {("", "")}


@pytest.mark.parametrize(
    ("changes", "grant", "code"),
    [
        ({"suspended": True}, {}, "gateway.service.suspended"),
        ({}, {"valid_until": day(-1)}, "gateway.grant.not_live"),
        ({}, {"valid_from": day(1)}, "gateway.grant.not_live"),
        ({"applications": ()}, {}, "gateway.service.unknown"),
        ({}, {"items": ()}, "gateway.items.not_granted"),
    ],
)
def test_without_a_live_grant_nothing_is_given(
    tmp_path: Path, changes: dict[str, Any], grant: dict[str, Any], code: str
) -> None:
    world = make_world(tmp_path)
    world.services = (service(world.services[0].connection, grant=grant, **changes),)
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask()
        assert response.json()["code"] == code
        assert "安" not in response.text

    talk(world, conversation)


def test_purpose_and_case_number_are_demanded(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for changes, code in (
            ({"purpose": ""}, "gateway.purpose.missing"),
            ({"purpose": "查着玩"}, "gateway.purpose.not_granted"),
            ({"purpose": PURPOSE + "\u200b"}, "gateway.purpose.not_granted"),
            ({"case_number": ""}, "gateway.case_number.missing"),
            ({"case_number": "   "}, "gateway.request.field"),
        ):
            response = await caller.ask(**changes)
            assert response.json()["code"] == code

    talk(world, conversation)


def test_the_rate_is_held_and_the_answer_says_when_to_come_back(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.services = (replace(world.services[0], calls_per_minute=5),)
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        codes = [(await caller.ask()).status_code for _ in range(7)]
        assert codes == [200] * 5 + [429] * 2
        response = await caller.ask()
        assert response.json()["code"] == "gateway.rate.exceeded"
        assert 50 <= int(response.headers["retry-after"]) <= 60

    talk(world, conversation)


@pytest.mark.parametrize(
    "body",
    [
        b'{"by":{"sfzh":"1"},"items":["xm"],"items":["note"],"purpose":"x"}',
        b'{"by":{"sfzh":"1","sfzh":"2"},"items":["xm"]}',
        b'{"by":{"sfzh":NaN},"items":["xm"]}',
        b"[" * 60_000,
        b"\xff" * 100,
        b"by=1&items=xm",
    ],
)
def test_a_malformed_body_is_refused_even_when_it_is_signed(world: World, body: bytes) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(body)
        assert (response.status_code, response.json()["code"]) == (400, "gateway.request.not_json")

    talk(world, conversation)


def test_a_body_too_large_is_refused_whether_it_says_so_or_not(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        body = json.dumps(question(end_user="x" * 70_000)).encode()
        response = await caller.ask(body)
        assert (response.status_code, response.json()["code"]) == (413, "gateway.request.too_large")

        async def pieces() -> Any:
            for _ in range(100):
                yield b"x" * 1024

        path = f"http://{HOST}/gateway/v1/services/{SERVICE}/query"
        response = await caller.client.post(path, content=pieces(), headers={"content-type": "application/json"})
        assert response.status_code == 413

    talk(world, conversation)


@pytest.mark.parametrize(
    "name",
    ["Host", "Content-Type", "Content-Length", "Content-Digest", "Signature", "Signature-Input", "Content-Encoding"],
)
def test_a_header_that_authentication_depends_on_may_not_come_twice(world: World, name: str) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        signed = (await caller.ask()).request
        value = signed.headers.get(name, "identity")
        headers = [*signed.headers.multi_items(), (name, value)]
        if name == "Content-Encoding":
            headers.append((name, value))
        response = await caller.client.post(str(signed.url), content=signed.content, headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, "gateway.request.header_repeated")

    talk(world, conversation)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('Application/JSON;charset="UTF-8"', 200),
        ("application/json; charset=gb18030", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json+x", 415),
        (None, 415),
    ],
)
def test_only_json_in_utf8_is_taken(world: World, content_type: str | None, status: int) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask(content_type=content_type)).status_code == status

    talk(world, conversation)


def test_a_compressed_body_is_not_unpacked(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(headers={"Content-Encoding": "gzip"})
        assert (response.status_code, response.json()["code"]) == (415, "gateway.request.content_type")

    talk(world, conversation)


def test_parameters_in_the_address_are_refused(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(path=f"/gateway/v1/services/{SERVICE}/query?items=note")
        assert (response.status_code, response.json()["code"]) == (400, "gateway.request.query_string")

    talk(world, conversation)


def test_a_failure_inside_says_nothing_of_itself_and_is_recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("绝密备注一")

    monkeypatch.setattr("jinqiao.dataplane.gateway.calls.permit", fail)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask()
        assert (response.status_code, response.json()["code"]) == (500, "internal.unexpected")
        assert "绝密" not in response.text
        assert "Division" not in response.text

    talk(world, conversation)
    assert [record["outcome"] for record in records(world)] == ["internal.unexpected"]


def test_refusals_carry_no_value_of_the_question(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        marker = "MARKER620302199001010015"
        for changes in (
            {"by": {"sfzh": marker, "xm": marker}},
            {"by": {"sfzh": "x\u0000" + marker}},
            {"items": ["xm", marker]},
            {"purpose": marker},
            {"case_number": marker + "\n"},
            {"end_user": marker * 10},
            {marker: 1},
        ):
            response = await caller.ask(**changes)
            assert response.status_code in (400, 403)
            assert marker not in response.text

    talk(world, conversation)
