"""One gateway on two machines: homes of their own, one policy, and a call is answered by one of them only."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jinqiao.dataplane.evidence.shared_claims import TABLE
from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import Gateway, create_app
from jinqiao.dataplane.gateway.errors import HomeInUse, SettingsNotValid
from jinqiao.dataplane.gateway.main import main
from jinqiao.dataplane.gateway.replicas import replicate
from jinqiao.dataplane.gateway.settings import SETTINGS
from jinqiao.dataplane.gateway.shared_use import TABLE as USE_TABLE
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.crypto.errors import KeyFileExposed
from jinqiao.kernel.ports import free_port
from tests import servers
from tests.dataplane.gateway.test_process import ToThePort, process
from tests.dataplane.gateway.world import ANN, PURPOSE, SERVICE, Caller, World, make_world, records

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
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}, {USE_TABLE}")
    world = make_world(tmp_path)
    world.services = (replace(world.services[0], calls_per_minute=1_000_000),)
    world.publish()
    share(world, postgresql_server.url)
    yield world, second_home(world)
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}, {USE_TABLE}")


@contextmanager
def both_running(pair: tuple[World, World]) -> Iterator[list[tuple["subprocess.Popen[bytes]", int]]]:
    with ExitStack() as stack:
        running = []
        for world in pair:
            port = free_port()
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
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}, {USE_TABLE}")
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
    share(world, f"postgresql://gateway:geheim-7@127.0.0.1:{free_port()}/claims")

    async def conversation() -> None:
        app = create_app(world.home)
        await app.start()
        try:
            report = await asyncio.to_thread(app.readiness)
            assert (report["ready"], report["claims_reached"], report["evidence_healthy"]) == (False, False, True)
            assert report["use_shared"] is False
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


@pytest.mark.servers
def test_what_an_idle_replica_answered_is_not_answered_again_where_another_made_the_table_anew(
    pair: tuple[World, World], postgresql_server: servers.Server
) -> None:
    async def ready(app: Gateway) -> None:
        until = time.monotonic() + 30
        while not (await asyncio.to_thread(app.readiness))["claims_reached"]:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)

    async def conversation() -> httpx.Response:
        idle, busy = (create_app(world.home) for world in pair)
        await idle.start()
        try:
            nonce, created = os.urandom(16).hex(), int(time.time())
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=idle)) as client:  # type: ignore[arg-type]
                assert (await Caller(client).ask(nonce=nonce, created=created)).status_code == 200
            await busy.start()
            await ready(busy)
            await asyncio.to_thread(postgresql_server.execute, f"DROP TABLE {TABLE}")
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=busy)) as client:  # type: ignore[arg-type]
                await Caller(client).ask()
                await ready(busy)
                until = time.monotonic() + 60  # it notices by itself, within some seconds
                count = f"SELECT count(*) FROM {TABLE}"
                while (await asyncio.to_thread(postgresql_server.fetch, count))[0][0] < 1:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.1)
                return await Caller(client).ask(nonce=nonce, created=created)
        finally:
            await idle.stop()
            await busy.stop()

    assert asyncio.run(conversation()).json()["code"] == "signature.replayed"


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


def offer(pair: tuple[World, World], **changes: Any) -> None:
    for world in pair:
        world.services = (replace(world.services[0], operations=tuple(Operation), **changes),)
        world.publish()


@asynccontextmanager
async def both_here(pair: tuple[World, World]) -> AsyncIterator[list[tuple[Caller, Gateway]]]:
    """Both gateways in this process, and a caller for each."""
    apps = [create_app(world.home) for world in pair]
    clients = [httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) for app in apps]  # type: ignore[arg-type]
    try:
        for app in apps:
            await app.start()
        yield [(Caller(client), app) for client, app in zip(clients, apps, strict=True)]
    finally:
        for client, app in zip(clients, apps, strict=True):
            await client.aclose()
            await app.stop()


async def left(caller: Caller, more_than_the_limit: int) -> int:
    """How many calls of the day are left, as a refusal says, which uses none."""
    body = {"purpose": PURPOSE, "case_number": "1", "by": [{"sfzh": ANN}] * more_than_the_limit, "items": ["xm"]}
    refused = await caller.ask(body, path=f"/gateway/v1/services/{SERVICE}/batch")
    assert refused.json()["code"] == "gateway.quota.calls", refused.text
    return int(refused.json()["details"]["left"])


async def until_left(caller: Caller, more_than_the_limit: int, wanted: int) -> None:
    until = time.monotonic() + 30
    while await left(caller, more_than_the_limit) != wanted:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("limit", "refusal"),
    [
        ({"calls_per_day": 10}, "gateway.quota.calls"),
        ({"rows_per_day": 10}, "gateway.quota.rows"),
        ({"calls_per_minute": 10}, "gateway.rate.exceeded"),
    ],
    ids=str,
)
def test_what_an_application_may_use_it_may_use_at_both_together(
    pair: tuple[World, World], limit: dict[str, int], refusal: str
) -> None:
    """Calls in turns: each machine knows of the other's calls after one exchange, so nothing is overrun here."""
    offer(pair, **limit)

    def known(app: Gateway) -> int:
        desk = app._desk
        assert desk is not None
        if "calls_per_minute" in limit:
            return len(desk.meter._calls.get(SERVICE, ()))
        used = desk.quota._used.get(("production", SERVICE, "app-housing"))
        return 0 if used is None else used.rows if "rows_per_day" in limit else used.calls

    async def conversation() -> None:
        async with both_here(pair) as running:
            for number in range(10):
                assert (await running[number % 2][0].ask()).status_code == 200
                while {known(app) for _, app in running} != {number + 1}:
                    await asyncio.sleep(0.01)
            for caller, app in running:
                refused = await caller.ask()
                assert (refused.status_code, refused.json()["code"]) == (429, refusal)
                assert (await asyncio.to_thread(app.readiness))["use_shared"] is True

    asyncio.run(asyncio.wait_for(conversation(), 60))


@pytest.mark.servers
@pytest.mark.kill
def test_a_replica_that_is_killed_and_started_again_neither_loses_nor_doubles_what_was_used_today(
    pair: tuple[World, World],
) -> None:
    offer(pair, calls_per_day=20)

    async def before(victim: "subprocess.Popen[bytes]", ports: list[int]) -> None:
        async with ExitStackOfClients(ports) as (first, second):
            for _ in range(3):
                assert (await second.ask()).status_code == 200
            await until_left(first, 21, 17)
            answers = await asyncio.gather(*(first.ask() for _ in range(5)))
            victim.send_signal(signal.SIGKILL)  # most likely before it told
            assert [answer.status_code for answer in answers] == [200] * 5

    async def after(ports: list[int]) -> None:
        async with ExitStackOfClients(ports) as (first, second):
            assert await left(first, 21) == 12  # at once: from its evidence and from the table
            await until_left(second, 21, 12)
            assert (await second.ask()).status_code == 200
            await until_left(first, 21, 11)
            assert await left(second, 21) == 11

    with ExitStack() as stack:
        ports = [free_port() for _ in pair]
        victim, _ = (stack.enter_context(process(world, port)) for world, port in zip(pair, ports, strict=True))
        asyncio.run(before(victim, ports))
        stack.enter_context(process(pair[0], ports[0]))
        asyncio.run(after(ports))


@pytest.mark.servers
def test_calls_that_got_no_answer_because_nothing_could_be_claimed_cost_no_quota(
    pair: tuple[World, World], postgresql_server: servers.Server
) -> None:
    offer(pair, calls_per_day=5)

    async def conversation() -> None:
        async with both_here(pair) as running:
            (first, _), (second, _) = running
            assert (await first.ask()).status_code == 200
            await until_left(second, 6, 4)
            postgresql_server.execute(f"DROP TABLE {TABLE}")
            refused = await first.ask()
            assert (refused.status_code, refused.json()["code"]) == (503, "evidence.claims.unavailable")
            until = time.monotonic() + 30
            while (await first.ask()).status_code != 200:
                assert time.monotonic() < until
                await asyncio.sleep(0.05)
            for caller in (first, second):
                await until_left(caller, 6, 3)

    asyncio.run(conversation())


@pytest.mark.servers
def test_a_role_that_may_not_make_the_table_of_use_is_seen_by_the_operator_and_calls_go_on(
    pair: tuple[World, World], postgresql_server: servers.Server
) -> None:
    asyncio.run(once(pair[0], os.urandom(16).hex(), int(time.time())))
    postgresql_server.execute(
        f"DROP TABLE {USE_TABLE}",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "CREATE ROLE gateway_without_create LOGIN PASSWORD 'geheim'",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO gateway_without_create",
    )
    try:
        server = postgresql_server
        url = f"postgresql://gateway_without_create:geheim@{server.host}:{server.port}/{server.database}"
        share(pair[0], url)

        async def conversation() -> None:
            app = create_app(pair[0].home)
            await app.start()
            try:
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:  # type: ignore[arg-type]
                    assert (await Caller(client).ask()).status_code == 200
                    report = await asyncio.to_thread(app.readiness)
                    assert (report["ready"], report["claims_reached"], report["use_shared"]) == (True, True, False)
                    assert b"jinqiao_gateway_use_shared 0\n" in (await client.get("http://x/gateway/metrics")).content
            finally:
                await app.stop()

        asyncio.run(conversation())
    finally:
        postgresql_server.execute("DROP OWNED BY gateway_without_create; DROP ROLE gateway_without_create")
