"""The national calling convention: the published values of its signature, and what its weakness may not cost."""

import base64
import hmac
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jinqiao.dataplane.gateway import national
from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.keyed import PreparedVerifier
from jinqiao.kernel.errors import JinqiaoError
from tests.dataplane.gateway.world import HOST, PURPOSE, SECRET, Caller, World, make_world, question, records, talk

RID, SID = "rid-620300-17", "sid-hunyin"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    made.application_changes["app-housing"] = {"national_id": RID}
    made.services = tuple(_with_id(service) for service in made.services)
    made.publish()
    return made


def _with_id(service: Any) -> Any:
    return replace(service, national_id=SID)


def sign(sid: str, rid: str, at: str, secret: str) -> str:
    """As a caller of the convention computes it."""
    return base64.b64encode(hmac.digest(secret.encode(), f"{sid}{rid}{at}".encode(), "sha256")).decode()


def headers(
    *, rid: str = RID, sid: str = SID, secret: str = SECRET, ms: int | None = None, **changes: str
) -> dict[str, str]:
    at = str(ms if ms is not None else int(time.time() * 1000))
    return {
        national.REQUESTER: rid, national.SERVICE: sid, national.TIME: at,
        national.SIGN: sign(sid, rid, at, secret), "content-type": "application/json", **changes,
    }  # fmt: skip


async def ask(caller: Caller, sent: dict[str, str], path: str = national.PATH, **changes: Any) -> httpx.Response:
    return await caller.client.post(
        f"http://{HOST}{path}", content=json.dumps(question(**changes)).encode(), headers=sent
    )


def test_the_signature_is_that_of_the_synthetic_vector() -> None:
    vector = "j9fUkGlx7DrtU4rzXGCYH1r/qzgdba3Kg8usSb0NgpY="
    call = national.read_headers(
        {
            national.REQUESTER: "rid_demo",
            national.SERVICE: "s_demo",
            national.TIME: "1700000000000",
            national.SIGN: vector,
        }
    )
    assert PreparedVerifier("hmac-sha256", b"appsecret-demo").is_right(national.to_sign(call), call.sign)
    assert sign("s_demo", "rid_demo", "1700000000000", "appsecret-demo") == vector


def test_a_call_of_the_convention_is_answered_in_its_envelope_under_the_same_policy(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await ask(caller, headers())
        assert response.status_code == 200
        answer = response.json()
        assert (answer["code"], answer["data"]["count"]) == (200, 1)
        refusal = await ask(caller, headers(), items=["note"])
        assert (refusal.status_code, refusal.json()["code"]) == (403, 300)
        assert refusal.json()["data"]["code"] == "gateway.items.not_granted"
        counted = await caller.client.post(
            f"http://{HOST}{national.PATH}/count",
            json={"purpose": PURPOSE, "case_number": "GZF-1"},
            headers=headers(),
        )
        assert counted.json()["data"]["code"] == "gateway.service.operation"

    talk(world, conversation)
    assert [record["outcome"] for record in records(world)][:2] == ["ok", "gateway.items.not_granted"]
    assert records(world)[0]["application"] == "app-housing"


def test_what_was_overheard_is_worth_nothing_even_with_another_body(world: World) -> None:
    sent = headers()

    async def once(caller: Caller, gateway: Gateway) -> None:
        assert (await ask(caller, sent)).status_code == 200
        again = await ask(caller, sent, items=["xm"])
        assert again.json()["data"]["code"] == "signature.replayed"

    async def after_a_restart(caller: Caller, gateway: Gateway) -> None:
        assert (await ask(caller, sent)).json()["data"]["code"] == "signature.replayed"

    talk(world, once)
    talk(world, after_a_restart)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"secret": "another"}, "signature.wrong"),
        ({"rid": "rid-unknown"}, "signature.unknown_key"),
        ({"sid": "sid-unknown"}, "gateway.service.unknown"),
        ({"ms": 1_700_000_000_000}, "signature.outside_window"),
        ({national.SIGN: ""}, "signature.missing"),
        ({national.SIGN: "no base64"}, "signature.malformed"),
        ({national.TIME: "12"}, "signature.malformed"),
        ({national.TIME: "１７００００００００００００"}, "signature.malformed"),
        ({national.REQUESTER: "r" * 65}, "signature.malformed"),
    ],
)
def test_what_is_not_right_is_refused_with_its_code(world: World, sent: dict[str, Any], code: str) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        given = headers(**sent)
        raw = {name.encode(): value.encode() for name, value in given.items()}
        response = await caller.client.post(
            f"http://{HOST}{national.PATH}", content=json.dumps(question()).encode(), headers=raw
        )
        assert (response.json()["code"], response.json()["data"]["code"]) == (300, code)

    talk(world, conversation)


def test_the_order_of_what_is_signed_matters() -> None:
    call = national.NationalCall("rid", "sid", "1700000000000", b"")
    assert national.to_sign(call) == b"sidrid1700000000000"


def test_without_national_identifiers_nobody_comes_in_this_way(tmp_path: Path) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for rid in ("", "app-housing", "key-housing"):
            response = await ask(caller, headers(rid=rid or "x"))
            assert response.json()["data"]["code"] == "signature.unknown_key"

    world = make_world(tmp_path)
    world.publish()
    talk(world, conversation)


def test_a_problem_is_told_without_what_was_asked() -> None:
    body = json.loads(national.problem_body(JinqiaoError(), language="en", call_id="c1"))
    assert body["code"] == 300
    assert body["data"] == {"code": "internal.unexpected", "mend": body["data"]["mend"], "call_id": "c1"}
