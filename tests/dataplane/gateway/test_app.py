"""A call that is in order gets exactly what the grant gives; whatever else happens is said in Problem Details and recorded."""

import asyncio
import hashlib
import hmac
import json
import os
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jinqiao.dataplane.evidence.errors import EvidenceUnavailable
from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import Gateway, create_app
from jinqiao.dataplane.gateway.errors import HomeInUse, HomeNotPrepared
from tests.dataplane.gateway.world import (
    ANN,
    BO,
    CAI,
    CONSUMER,
    PROVIDER,
    PURPOSE,
    SERVICE,
    Caller,
    World,
    make_world,
    records,
    running,
    talk,
)


def test_a_granted_question_gets_the_granted_items_masked(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(items=["sfzh", "xm", "hyzk", "djrq", "bt", "xh"])

        assert response.status_code == 200
        answer = response.json()
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
        assert (answer["count"], answer["truncated"]) == (1, False)
        assert answer["items"] == ["sfzh", "xm", "hyzk", "djrq", "bt", "xh"]

    talk(world, conversation)


def test_null_is_null_and_nobody_is_an_empty_list(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask(by={"sfzh": BO}, items=["djrq"])).json()["rows"] == [{"djrq": None}]
        assert (await caller.ask(by={"sfzh": "620302199912310018"})).json()["rows"] == []

    talk(world, conversation)


def test_a_row_outside_the_row_filter_is_not_there(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        answer = (await caller.ask(by={"sfzh": CAI})).json()
        assert (answer["rows"], answer["count"]) == ([], 0)

    talk(world, conversation)


def test_the_row_cap_holds_and_says_so(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    grant = replace(world.services[0].grant, row_filter=())
    world.services = (replace(world.services[0], key_items=("hyzk",), row_cap=1, grant=grant),)
    world.publish()
    with sqlite3.connect(tmp_path / "civil-affairs.db") as db:
        db.execute("UPDATE person SET status = 'married'")
    db.close()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        answer = (await caller.ask(by={"hyzk": "married"})).json()
        assert (answer["count"], answer["truncated"]) == (1, True)

    talk(world, conversation)


def test_every_call_answered_or_refused_stands_in_the_evidence(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        answered = await caller.ask(end_user="李经办")
        refused = await caller.ask(items=["xm", "phone"])
        strange = await caller.client.post(f"/gateway/v1/services/{SERVICE}/query", json={})
        ids = [answered.json()["call_id"], refused.json()["call_id"], strange.json()["call_id"]]

        written = records(world)
        assert [record["call_id"] for record in written] == ids
        assert [record["outcome"] for record in written] == ["ok", "gateway.items.not_granted", "signature.missing"]
        assert (
            written[0]
            | {
                "service": SERVICE,
                "application": "app-housing",
                "key_id": "key-housing",
                "consumer": CONSUMER,
                "provider": PROVIDER,
                "purpose": PURPOSE,
                "case_number": "GZF-2026-17",
                "end_user": "李经办",
                "items": ["xm", "hyzk"],
                "rows": 1,
            }
            == written[0]
        )
        assert (written[2]["application"], written[2]["key_id"]) == ("", "")

    talk(world, conversation)
    assert verify(world.home / "evidence.db").ok


def test_the_evidence_holds_no_value_that_was_looked_up_or_found(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        await caller.ask(items=["sfzh", "xm", "hyzk"])
        await caller.ask(purpose=f"查{ANN}")
        await caller.ask(items=["安小雅", "xm"])
        await caller.ask(service=ANN)

    talk(world, conversation)
    written = json.dumps(records(world), ensure_ascii=False)
    assert len(records(world)) == 4
    for value in (ANN, "安小雅", "安**", "married", "620302********0015"):
        assert value not in written


def test_the_same_person_is_recognised_by_the_commitment_and_another_is_not(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for number in (ANN, ANN, BO):
            await caller.ask(by={"sfzh": number})

    talk(world, conversation)
    first, second, third = (record["key_commitment"] for record in records(world))
    assert first == second != third
    assert hashlib.sha256(f"sfzh={ANN}".encode()).hexdigest() != first


def test_the_caller_can_prove_its_answer_by_the_salt(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask()
        salt = bytes.fromhex(response.headers["jinqiao-answer-salt"])
        proof = hmac.digest(salt, response.content, "sha256").hex()
        assert records(world)[0]["answer_commitment"] == proof

    talk(world, conversation)


@pytest.mark.parametrize(
    ("wanted", "language", "word"),
    [
        ("", "zh", "超出授权"),
        ("zh-CN,en;q=0.8", "zh", "超出授权"),
        ("en-GB", "en", "than were granted"),
        ("en;q=0.2, zh;q=0.9", "zh", "超出授权"),
        ("fr, en;q=0.1", "en", "than were granted"),
        ("x" * 5000, "zh", "超出授权"),
    ],
)
def test_a_refusal_speaks_the_callers_language(world: World, wanted: str, language: str, word: str) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(items=["phone"], headers={"Accept-Language": wanted})
        problem = response.json()
        assert response.headers["content-type"].startswith("application/problem+json")
        assert response.headers["content-language"] == language
        assert (problem["status"], problem["code"]) == (403, "gateway.items.not_granted")
        assert word in problem["title"]
        assert "sfzh" in problem["detail"]

    talk(world, conversation)


def test_without_a_policy_the_gateway_answers_nothing_and_says_it_is_not_ready(tmp_path: Path) -> None:
    world = make_world(tmp_path)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask()
        assert (response.status_code, response.json()["code"]) == (503, "gateway.policy.missing")
        assert response.headers["retry-after"] == "2"
        ready = await caller.client.get("/gateway/health/ready")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert (await caller.client.get("/gateway/health/live")).status_code == 200

    talk(world, conversation)
    assert [record["outcome"] for record in records(world)] == ["gateway.policy.missing"]


def test_a_policy_that_ran_out_is_in_force_no_more(world: World) -> None:
    world.lifetime = timedelta(seconds=-1)
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).json()["code"] == "gateway.policy.expired"
        assert (await caller.client.get("/gateway/health/ready")).status_code == 503

    talk(world, conversation)


def test_readiness_tells_the_age_of_the_policy(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        await caller.ask()
        report = (await caller.client.get("/gateway/health/ready")).json()
        assert report["ready"] is True
        assert (report["policy_version"], report["services"]) == (1, 1)
        assert 0 <= report["policy_age_s"] < 60
        assert 86_000 < report["policy_expires_in_s"] <= 86_400
        assert report["evidence_waiting_batches"] == 1

    talk(world, conversation)


def test_if_the_record_cannot_be_written_nothing_is_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).status_code == 200
        log = gateway._log
        assert log is not None

        # another process holds the write lock for longer than the log waits
        blocker = sqlite3.connect(log.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        assert log._db is not None
        log._db.execute("PRAGMA busy_timeout=50")
        response = await caller.ask()
        assert (response.status_code, response.json()["code"]) == (503, "evidence.log.unavailable")
        assert "rows" not in response.json()
        assert (await caller.client.get("/gateway/health/ready")).status_code == 503

        blocker.execute("ROLLBACK")
        blocker.close()
        assert (await caller.ask()).status_code == 200
        assert (await caller.client.get("/gateway/health/ready")).status_code == 200

    talk(world, conversation)
    assert verify(world.home / "evidence.db").ok
    assert [record["outcome"] for record in records(world)] == ["ok", "ok"]


def test_a_commit_that_hangs_does_not_hang_its_callers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jinqiao.dataplane.evidence.log.COMMIT_WITHIN_S", 0.3)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        log = gateway._log
        assert log is not None
        assert log._db is not None
        log._db.execute("PRAGMA busy_timeout=1500")
        blocker = sqlite3.connect(log.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        response = await caller.ask()
        assert response.json()["code"] == EvidenceUnavailable.code
        blocker.execute("ROLLBACK")
        blocker.close()

    talk(world, conversation)


def test_only_one_process_works_in_a_home(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jinqiao.dataplane.gateway.app.LOCK_WITHIN_S", 0.3)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        with pytest.raises(HomeInUse):
            async with running(world):
                pass
        assert (await caller.ask()).status_code == 200

    talk(world, conversation)


def test_a_successor_waits_for_the_one_before_it_to_end(world: World) -> None:
    held = homes.load(world.home).lock()

    async def conversation() -> None:
        asyncio.get_running_loop().call_later(0.3, os.close, held)
        async with running(world) as (caller, _):
            assert (await caller.ask()).status_code == 200

    asyncio.run(conversation())


def test_a_folder_that_is_no_home_is_named(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    (world.home / "gateway.toml").unlink()

    with pytest.raises(HomeNotPrepared):
        talk(world, lambda caller, gateway: caller.ask())


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/gateway/", 404, "gateway.request.path_unknown"),
        ("POST", "/gateway/v2/services/x/query", 404, "gateway.request.path_unknown"),
        ("POST", "/gateway/health/ready", 405, "gateway.request.method"),
        ("GET", f"/gateway/v1/services/{SERVICE}/query", 405, "gateway.request.method"),
        ("DELETE", f"/gateway/v1/services/{SERVICE}/query", 405, "gateway.request.method"),
    ],
)
def test_other_addresses_and_methods_are_refused(world: World, method: str, path: str, status: int, code: str) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.client.request(method, path)
        assert (response.status_code, response.json()["code"]) == (status, code)
        if status == 405:
            assert response.headers["allow"] in ("GET", "POST")

    talk(world, conversation)


def test_the_guomi_suite_serves_the_same(tmp_path: Path) -> None:
    world = make_world(tmp_path, suite="guomi")
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).json()["rows"] == [{"xm": "安**", "hyzk": "married"}]
        wrong = replace(caller, algorithm="hmac-sha256")
        assert (await wrong.ask()).json()["code"] == "signature.unknown_key"

    talk(world, conversation)
    assert verify(world.home / "evidence.db").ok


def test_asgi_lifespan_starts_and_stops_the_gateway(world: World) -> None:
    async def life() -> list[str]:
        said: list[str] = []
        heard = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> dict[str, str]:
            return next(heard)

        async def send(message: dict[str, str]) -> None:
            said.append(message["type"])

        await create_app(world.home)({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]
        return said

    assert asyncio.run(life()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
