"""One gateway on two machines: homes of their own, one policy, and a call is answered by one of them only."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from jinqiao.dataplane.evidence.shared_claims import TABLE
from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import create_app
from jinqiao.dataplane.gateway.errors import HomeInUse, SettingsNotValid
from jinqiao.dataplane.gateway.main import main
from jinqiao.dataplane.gateway.replicas import replicate
from jinqiao.dataplane.gateway.settings import SETTINGS
from jinqiao.kernel.crypto.errors import KeyFileExposed
from tests import servers
from tests.dataplane.gateway.test_process import ToThePort, process
from tests.dataplane.gateway.world import Caller, World, make_world, records

PORT_OF_NOBODY = 9  # discard


def share(world: World, url: str) -> None:
    file = world.home / SETTINGS
    file.write_text(f'[serving]\ndrain_s = 0.1\n[replicas]\nclaims = "{url}"\n')
    file.chmod(0o600)


def second_home(world: World) -> World:
    """What an operator does: a home for the other machine, which gets the same policy from the platform."""
    folder = world.folder / "machine-b"
    assert main(["replica", str(world.home), str(folder / "gateway"), "--name", "b"]) == 0
    other = replace(world, folder=folder)
    other.publish()
    return other


@pytest.fixture
def pair(tmp_path: Path, postgresql_server: servers.Server) -> Iterator[tuple[World, World]]:
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}")
    world = make_world(tmp_path)
    world.services = (replace(world.services[0], calls_per_minute=1_000_000),)
    world.publish()
    share(world, postgresql_server.url)
    yield world, second_home(world)
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}")


@contextmanager
def both_running(pair: tuple[World, World]) -> Iterator[list[tuple["subprocess.Popen[bytes]", int]]]:
    with ExitStack() as stack:
        running = []
        for world in pair:
            port = servers.free_port()
            running.append((stack.enter_context(process(world, port)), port))
        yield running


def outcomes(world: World) -> list[str]:
    return [record["outcome"] for record in records(world)]


@pytest.mark.servers
@pytest.mark.parametrize("at_once", [True, False], ids=["at the same moment", "one after the other"])
def test_the_same_call_sent_to_both_is_answered_once(pair: tuple[World, World], at_once: bool) -> None:
    rounds = 150

    async def conversation(ports: list[int]) -> None:
        async with ExitStackOfClients(ports) as callers:
            for _ in range(rounds):
                nonce, created = os.urandom(16).hex(), int(time.time())
                asks = [caller.ask(nonce=nonce, created=created) for caller in callers for _ in range(2)]
                random.shuffle(asks)
                answers = await asyncio.gather(*asks) if at_once else [await ask for ask in asks]
                codes = sorted(answer.json().get("code", "ok") for answer in answers)
                assert codes == ["ok", "signature.replayed", "signature.replayed", "signature.replayed"]

    with both_running(pair) as running:
        asyncio.run(conversation([port for _, port in running]))
    kept = [outcomes(world) for world in pair]
    assert sum(of.count("ok") for of in kept) == rounds
    assert sum(of.count("signature.replayed") for of in kept) == 3 * rounds
    assert all(of.count("ok") for of in kept)  # either has answered some
    heads = [set(verify(world.home / "evidence.db").heads) for world in pair]
    assert heads == [{"1"}, {"b-1"}]


class ExitStackOfClients:
    """A caller for each port."""

    def __init__(self, ports: list[int]) -> None:
        self._clients = [httpx.AsyncClient(transport=ToThePort(port), timeout=20) for port in ports]

    async def __aenter__(self) -> list[Caller]:
        return [Caller(client) for client in self._clients]

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()


@pytest.mark.servers
@pytest.mark.kill
def test_when_one_is_killed_nothing_that_it_answered_is_lost_or_answered_again(pair: tuple[World, World]) -> None:
    sent: list[tuple[str, int, str]] = []  # of the calls that were answered: nonce, created, call id

    async def load(caller: Caller) -> None:
        while True:
            nonce, created = os.urandom(16).hex(), int(time.time())
            try:
                answer = await caller.ask(nonce=nonce, created=created)
            except httpx.HTTPError:
                return
            assert answer.status_code == 200
            sent.append((nonce, created, answer.json()["call_id"]))

    async def conversation(victim: "subprocess.Popen[bytes]", ports: list[int]) -> None:
        async with ExitStackOfClients(ports) as (caller, survivor):
            loads = [asyncio.create_task(load(caller)) for _ in range(8)]
            while len(sent) < 200:
                await asyncio.sleep(0.01)
            victim.send_signal(signal.SIGKILL)
            await asyncio.gather(*loads)
            for nonce, created, _ in sent:  # the caller, or who listened, sends each again: to the machine that is left
                again = await survivor.ask(nonce=nonce, created=created)
                assert again.json()["code"] == "signature.replayed"
            assert (await survivor.ask()).status_code == 200

    with both_running(pair) as running:
        asyncio.run(conversation(running[0][0], [port for _, port in running]))
    verdict = verify(pair[0].home / "evidence.db")
    assert verdict.ok, verdict.reason
    assert {call_id for _, _, call_id in sent} <= {record["call_id"] for record in records(pair[0])}
    assert outcomes(pair[1]).count("signature.replayed") == len(sent)


@pytest.mark.servers
def test_what_one_answered_before_the_two_shared_anything_the_other_refuses(
    tmp_path: Path, postgresql_server: servers.Server
) -> None:
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}")
    world = make_world(tmp_path)
    world.publish()
    created, nonce = int(time.time()), os.urandom(16).hex()
    assert asyncio.run(once(world, nonce, created)).status_code == 200
    share(world, postgresql_server.url)
    other = second_home(world)
    assert (
        asyncio.run(once(world, os.urandom(16).hex(), created)).status_code == 200
    )  # it is started again, and shares now
    assert asyncio.run(once(other, nonce, created)).json()["code"] == "signature.replayed"


async def once(world: World, nonce: str, created: int) -> httpx.Response:
    app = create_app(world.home)
    await app.start()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:  # type: ignore[arg-type]
            return await Caller(client).ask(nonce=nonce, created=created)
    finally:
        await app.stop()


def test_where_the_shared_table_is_away_calls_are_refused_by_its_code_and_recorded(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.publish()
    share(world, f"postgresql://gateway:geheim-7@127.0.0.1:{servers.free_port()}/claims")

    async def conversation() -> None:
        app = create_app(world.home)
        await app.start()
        try:
            report = await asyncio.to_thread(app.readiness)
            assert (report["ready"], report["claims_reached"], report["evidence_healthy"]) == (False, False, True)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:  # type: ignore[arg-type]
                for _ in range(3):
                    answer = await Caller(client).ask()
                    assert (answer.status_code, answer.json()["code"]) == (503, "evidence.claims.unavailable")
                    assert "geheim" not in answer.text
        finally:
            await app.stop()

    asyncio.run(conversation())
    assert outcomes(world) == ["evidence.claims.unavailable"] * 3
    assert "geheim" not in (world.home / "evidence.db").read_bytes().decode("latin-1")


@pytest.mark.servers
def test_a_database_that_comes_back_is_used_again(pair: tuple[World, World], postgresql_server: servers.Server) -> None:
    async def conversation() -> None:
        app = create_app(pair[0].home)
        await app.start()
        try:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:  # type: ignore[arg-type]
                caller = Caller(client)
                nonce, created = os.urandom(16).hex(), int(time.time())
                assert (await caller.ask(nonce=nonce, created=created)).status_code == 200
                await asyncio.to_thread(postgresql_server.restart)
                until = time.monotonic() + 30
                while (answer := await caller.ask()).status_code != 200:
                    assert answer.json()["code"] == "evidence.claims.unavailable"
                    assert time.monotonic() < until
                    await asyncio.sleep(0.05)
                assert (await asyncio.to_thread(app.readiness))["claims_reached"] is True
        finally:
            await app.stop()
        assert (await once(pair[1], nonce, created)).json()["code"] == "signature.replayed"

    asyncio.run(conversation())


def test_a_replica_that_shares_nothing_does_not_start(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with pytest.raises(SettingsNotValid):
        replicate(world.home, tmp_path / "b", "b")
    share(world, f"postgresql://gateway@127.0.0.1:{PORT_OF_NOBODY}/claims")
    for name in ("", "B", "b-1", "b" * 17):
        with pytest.raises(SettingsNotValid):
            replicate(world.home, tmp_path / "b", name)
    made = replicate(world.home, tmp_path / "b", "b")
    assert (made.gateway_id, made.identity.key_id, made.lane(1)) == (
        "gw-1",
        homes.load(world.home).identity.key_id,
        "b-1",
    )
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0
    with pytest.raises(HomeInUse):
        replicate(world.home, tmp_path / "b", "c")
    homes.prepare(tmp_path / "b", "http://127.0.0.1:9", "gw-1", world.platform.public)
    assert homes.load(tmp_path / "b").replica == "b"
    (tmp_path / "b" / SETTINGS).unlink()

    async def start() -> None:
        app = create_app(tmp_path / "b")
        try:
            await app.start()
        finally:
            await app.stop()

    with pytest.raises(SettingsNotValid):
        asyncio.run(start())


def test_settings_with_a_password_are_for_the_gateways_eyes_only(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    share(world, "postgresql://gateway:geheim@127.0.0.1/claims")
    (world.home / SETTINGS).chmod(0o640)
    with pytest.raises(KeyFileExposed):
        asyncio.run(once(world, "x", 0))
    share(world, "mysql://gateway:geheim@127.0.0.1/claims")
    with pytest.raises(SettingsNotValid) as refused:
        asyncio.run(once(world, "x", 0))
    assert "geheim" not in f"{refused.value}{refused.value!r}"


@pytest.mark.servers
def test_workers_of_a_replica_claim_in_the_shared_table_too(pair: tuple[World, World]) -> None:
    async def conversation() -> None:
        apps = [create_app(pair[1].home, shared=True) for _ in range(2)] + [create_app(pair[0].home)]
        for app in apps:
            await app.start()
        try:
            callers = [Caller(httpx.AsyncClient(transport=httpx.ASGITransport(app=app))) for app in apps]  # type: ignore[arg-type]
            for _ in range(10):
                nonce, created = os.urandom(16).hex(), int(time.time())
                answers = await asyncio.gather(*(caller.ask(nonce=nonce, created=created) for caller in callers))
                assert sorted(answer.status_code for answer in answers) == [200, 401, 401]
            for caller in callers:
                await caller.client.aclose()
        finally:
            for app in apps:
                await app.stop()

    asyncio.run(conversation())
    assert set(verify(pair[1].home / "evidence.db").heads) <= {"b-1", "b-2"}
