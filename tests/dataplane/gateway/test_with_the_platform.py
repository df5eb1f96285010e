"""Gateway and platform together, over HTTP: what the control plane decides is in force here, what happens here is known there."""

import asyncio
import contextlib
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.cache import cache
from django.db import connections

from jinqiao.dataplane.evidence.anchors import AnchorStore, LaneHead
from jinqiao.dataplane.evidence.log import EvidenceLog
from jinqiao.dataplane.evidence.shipper import Shipper
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.keeping import EvidenceKeeper
from jinqiao.dataplane.gateway.link import EVIDENCE_PATH
from jinqiao.dataplane.platform import PlatformRefused
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.models import Call, DataSource, EvidenceAnchor
from jinqiao.kernel import moments
from jinqiao.kernel.keystore import KeyStore
from jinqiao.sharing import actions as sharing_actions
from tests.dataplane.gateway.world import Caller, running_home
from tests.exchange.factories import Served, call_record, make_served

PERSON = "620302199001010015"


@pytest.fixture
def served(transactional_db: None, live_server: Any, settings: Any, tmp_path: Path) -> Served:
    """A query service of the control plane whose gateway lives in a home of this test, beside the provider's database."""
    cache.clear()
    settings.RELAY_ROOT = tmp_path / "relay"
    made = make_served()
    database = tmp_path / "civil-affairs.db"
    with sqlite3.connect(database) as db:
        db.execute(
            "CREATE TABLE marriage (id INTEGER PRIMARY KEY, name TEXT, id_card TEXT, reg_date DATE, amount DECIMAL(12,2),"
            " valid BOOLEAN, area TEXT, updated_at DATETIME, photo BLOB)"
        )
        db.execute("INSERT INTO marriage VALUES (1, '安小雅', ?, '2015-06-01', 1, 1, '620302', NULL, NULL)", (PERSON,))
    db.close()
    DataSource.objects.update(
        engine="sqlite", host="", database=str(database), user="", sealed_password="", gateway_sealed_password=""
    )
    home = tmp_path / "gateway"
    home.mkdir()
    KeyStore(home).put("identity", json.dumps(made.gateway.identity.to_json()).encode())
    public = homes.prepare(home, live_server.url, made.gateway.node.number, platform_identity().public)
    assert public == made.gateway.identity.public
    return made


def in_own_connection(work: Callable[[], Any]) -> Any:
    """For a thread of the test: its connection to the control database ends with it."""
    try:
        return work()
    finally:
        connections.close_all()


async def until(asked: Callable[[], Any], wanted: Callable[[Any], bool], within_s: float) -> Any:
    began = time.monotonic()
    while True:
        response = await asked()
        if wanted(response):
            return time.monotonic() - began
        assert time.monotonic() - began < within_s, response.text
        await asyncio.sleep(0.1)


def test_a_grant_of_the_control_plane_answers_calls_and_its_end_ends_them(served: Served, tmp_path: Path) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        caller.key_id, caller.secret = served.key.key_id, served.secret
        question = {
            "by": {"sfzh": PERSON},
            "items": ["xm", "djrq"],
            "purpose": "公租房资格审核",
            "case_number": "GZF-1",
        }

        async def ask() -> Any:
            return await caller.ask(question, service=served.service.number)

        await until(ask, lambda response: response.status_code == 200, 10)
        (row,) = (await ask()).json()["rows"]
        assert set(row) == {"xm", "djrq"}
        assert row["djrq"] == "2015-06-01"

        await asyncio.to_thread(in_own_connection, suspend)
        assert await until(ask, lambda response: response.status_code in (401, 403, 404), 10) <= 2.5
        began = time.monotonic()
        while not await asyncio.to_thread(in_own_connection, Call.objects.filter(outcome="ok").exists):
            assert time.monotonic() - began < 10
            await asyncio.sleep(0.1)

    def suspend() -> None:
        sharing_actions.suspend_grant(served.grant, by=served.world.parties.provider_head, reason="核查中")

    asyncio.run(talk_at(tmp_path / "gateway", conversation))
    call = Call.objects.filter(outcome="ok").first()
    assert call is not None
    assert (call.service, call.case_number, call.rows) == (served.service.number, "GZF-1", 1)
    assert PERSON not in json.dumps(call.record)


async def talk_at(home: Path, conversation: Callable[[Caller, Gateway], Any]) -> Any:
    async with running_home(home) as (caller, gateway):
        return await conversation(caller, gateway)


class Relay:
    """Stands between gateway and platform, byte by byte; `cut` is what the gateway sees of a platform that is stopped."""

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._target = (str(address.hostname), int(address.port or 80))
        self._open: list[socket.socket] = []
        self._port = 0
        self.mend()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def mend(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()


def test_while_the_platform_is_stopped_calls_go_on_and_afterwards_its_ledger_misses_none(
    served: Served, live_server: Any, tmp_path: Path
) -> None:
    relay = Relay(live_server.url)
    homes.prepare(tmp_path / "gateway", relay.url, served.gateway.node.number, platform_identity().public)

    async def conversation(caller: Caller, gateway: Gateway) -> list[str]:
        caller.key_id, caller.secret = served.key.key_id, served.secret
        question = {"by": {"sfzh": PERSON}, "items": ["xm"], "purpose": "公租房资格审核", "case_number": "GZF-1"}

        async def ask() -> Any:
            return await caller.ask(question, service=served.service.number)

        await until(ask, lambda response: response.status_code == 200, 10)
        relay.cut()
        began = time.monotonic()
        while not gateway.readiness()["platform_problem"]:
            assert time.monotonic() - began < 30
            await asyncio.sleep(0.1)
        answered = []
        for _ in range(30):
            response = await ask()
            assert response.status_code == 200
            answered.append(response.json()["call_id"])
        assert gateway.readiness()["evidence_waiting_batches"] > 0
        relay.mend()
        began = time.monotonic()
        while await asyncio.to_thread(in_own_connection, lambda: missing(answered)):
            assert time.monotonic() - began < 60
            await asyncio.sleep(0.2)
        return answered

    def missing(answered: list[str]) -> set[str]:
        return set(answered) - set(Call.objects.filter(outcome="ok").values_list("call_id", flat=True))

    answered = asyncio.run(talk_at(tmp_path / "gateway", conversation))
    relay.cut()
    assert len(set(answered)) == 30
    assert Call.objects.filter(call_id__in=answered).count() == 30


def test_an_anchor_that_the_platform_refuses_holds_up_no_other_lane(served: Served, tmp_path: Path) -> None:
    home = homes.load(tmp_path / "gateway")

    told = {lane: call_record(served, number) for number, lane in enumerate(("1", "2"), 1)}

    async def record() -> None:
        for lane, call in told.items():
            log = EvidenceLog(home.evidence_file, lane=lane, suite_name=home.suite)
            log.start()
            await log.append(call)
            await log.stop()

    def waiting() -> list[str]:
        with contextlib.closing(AnchorStore(home.anchors_file)) as store:
            return list(store.unshipped({"1": 1, "2": 1}))

    asyncio.run(record())
    keeper = EvidenceKeeper(home, leads=lambda: True, keep_days=lambda: None, record=lambda word: None)
    with home.client() as platform:
        shipper = Shipper(home.evidence_file, home.shipped_file, lambda batch: platform.post(EVIDENCE_PATH, batch))
        assert shipper.ship_once() == 2
        with contextlib.closing(AnchorStore(home.anchors_file)) as store:
            wrong = LaneHead("1", 1, 1, "00" * 32)
            store.anchor(wrong, gateway=home.gateway_id, identity=home.identity, at=moments.now())
        assert keeper.anchor() == 1
        assert waiting() == ["1", "2"]
        with pytest.raises(PlatformRefused) as refusal:
            keeper.offer(platform)
    assert refusal.value.problem.code == "exchange.evidence.broken"
    assert waiting() == ["1"]
    assert list(EvidenceAnchor.objects.values_list("lane", flat=True)) == ["2"]
