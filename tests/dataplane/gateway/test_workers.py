"""Several processes are one gateway: nonces, quotas and evidence hold for all of them together, and calls go on while they change."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import create_app
from jinqiao.dataplane.gateway.errors import HomeInUse
from jinqiao.dataplane.gateway.settings import SETTINGS
from jinqiao.dataplane.gateway.workers import Workers
from jinqiao.kernel.ports import free_port
from tests.dataplane.gateway.platform_stand_in import platform
from tests.dataplane.gateway.test_process import ToThePort
from tests.dataplane.gateway.world import Caller, World, make_world, records


@dataclass
class Running:
    process: "subprocess.Popen[bytes]"
    port: int

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False)

    def workers(self) -> set[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(number) for number in found.split()}


@contextmanager
def started(world: World, *options: str) -> Iterator[Running]:
    """`jinqiao gateway run` as it is typed."""
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "jinqiao.cli", "gateway", "run", str(world.home), "--port", str(port), *options]
    with (world.folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stderr=log, stdout=log)
    running = Running(process, port)
    try:
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if running.get("/gateway/health/live").status_code == 200:
                    break
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError((world.folder / "log").read_text())
            time.sleep(0.05)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    made.services = (replace(made.services[0], calls_per_minute=1_000_000),)
    made.publish()
    (made.home / SETTINGS).write_text("[serving]\ndrain_s = 0.3\n")
    return made


def test_a_nonce_is_answered_by_one_of_two_processes_only(world: World) -> None:
    """Two whole gateways in one home, each on an own port, as two replicas behind a proxy."""

    async def conversation() -> None:
        first, second = create_app(world.home, shared=True), create_app(world.home, shared=True)
        await first.start()
        await second.start()
        try:
            callers = [
                Caller(httpx.AsyncClient(transport=httpx.ASGITransport(app=app)))  # type: ignore[arg-type]
                for app in (first, second)
            ]
            for _ in range(5):
                nonce, created = os.urandom(16).hex(), int(time.time())
                answers = await asyncio.gather(
                    *(caller.ask(nonce=nonce, created=created) for caller in callers for _ in range(2))
                )
                codes = sorted(answer.json().get("code", "ok") for answer in answers)
                assert codes == ["ok", "signature.replayed", "signature.replayed", "signature.replayed"]
            for caller in callers:
                await caller.client.aclose()
        finally:
            await first.stop()
            await second.stop()

    asyncio.run(conversation())
    verdict = verify(world.home / "evidence.db")
    assert verdict.ok, verdict.reason
    assert set(verdict.heads) == {"1", "2"}
    kept = [record["outcome"] for record in records(world)]
    assert (kept.count("ok"), kept.count("signature.replayed")) == (5, 15)


def test_what_one_process_alone_has_answered_its_workers_refuse(world: World) -> None:
    async def once(shared: bool) -> httpx.Response:
        app = create_app(world.home, shared=shared)
        await app.start()
        try:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:  # type: ignore[arg-type]
                return await Caller(client).ask(nonce=nonce, created=created)
        finally:
            await app.stop()

    created, nonce = int(time.time()), os.urandom(16).hex()
    assert asyncio.run(once(shared=False)).status_code == 200
    assert asyncio.run(once(shared=True)).json()["code"] == "signature.replayed"
    assert asyncio.run(once(shared=False)).json()["code"] == "signature.replayed"


def test_a_worker_begins_to_answer_when_it_has_its_first_policy(world: World) -> None:
    """The callers of a socket that several share cannot choose: none may meet one that knows nothing yet."""

    async def first_policy() -> bool:
        app = create_app(world.home, shared=True)
        await app.start()
        try:
            return bool(app.readiness()["ready"])
        finally:
            await app.stop()

    with platform(world.gateway) as stand_in:
        stand_in.waits = True
        homes.prepare(world.home, stand_in.url, "gw-1", world.platform.public)
        (world.home / homes.POLICY).unlink(missing_ok=True)
        timer = threading.Timer(0.5, stand_in.put_in_force, (world.signed(), world.version))
        timer.start()
        try:
            assert asyncio.run(first_policy())
        finally:
            timer.join()


def test_a_home_has_one_process_or_workers_but_never_both(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jinqiao.dataplane.gateway.app.LOCK_WITHIN_S", 0.1)

    async def both(first_shared: bool, second_shared: bool) -> None:
        first, second = create_app(world.home, shared=first_shared), create_app(world.home, shared=second_shared)
        await first.start()
        try:
            await second.start()
            await second.stop()
        finally:
            await first.stop()

    asyncio.run(both(True, True))
    for kinds in ((True, False), (False, True), (False, False)):
        with pytest.raises(HomeInUse):
            asyncio.run(both(*kinds))


def test_a_rate_holds_for_all_processes_within_what_they_tell_each_other(world: World) -> None:
    """Sequential calls in turns: each process knows of the other's calls after one telling, so nothing is overrun here."""
    world.services = (replace(world.services[0], calls_per_minute=10),)
    world.publish()

    async def conversation() -> int:
        apps = [create_app(world.home, shared=True) for _ in range(2)]
        for app in apps:
            await app.start()
        try:
            answered = 0
            async with contextlib.AsyncExitStack() as stack:
                callers = [
                    Caller(await stack.enter_async_context(httpx.AsyncClient(transport=httpx.ASGITransport(app=app))))  # type: ignore[arg-type]
                    for app in apps
                ]
                for number in range(20):
                    response = await callers[number % 2].ask()
                    answered += response.status_code == 200
                    assert response.status_code in (200, 429)
                    other = apps[(number + 1) % 2]._desk
                    assert other is not None
                    while (
                        response.status_code == 200
                        and len(other.meter._calls.get(world.services[0].service, ())) < answered
                    ):
                        await asyncio.sleep(0.01)
            return answered
        finally:
            for app in apps:
                await app.stop()

    assert asyncio.run(conversation()) == 10


async def keep_calling(port: int, answered: list[str], failed: list[str], stop: asyncio.Event) -> None:
    """As a proxy does: a connection that was closed without a word is made again, for nothing was answered on it."""
    async with httpx.AsyncClient(transport=ToThePort(port), timeout=20) as client:
        caller = Caller(client)
        while not stop.is_set():
            for attempt in range(3):
                try:
                    response = await caller.ask()
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ConnectError) as problem:
                    if attempt == 2:
                        failed.append(type(problem).__name__)
                    continue
                if response.status_code == 200:
                    answered.append(response.json()["call_id"])
                else:
                    failed.append(response.text)
                break


def under_load(running: Running, work: Any) -> tuple[list[str], list[str]]:
    """Call with eight connections while `work` is done in a thread."""
    answered: list[str] = []
    failed: list[str] = []

    async def all_of_it() -> None:
        stop = asyncio.Event()
        callers = [asyncio.create_task(keep_calling(running.port, answered, failed, stop)) for _ in range(8)]
        while len(answered) < 50:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(work)
        enough = len(answered) + 50
        while len(answered) < enough and not failed:
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*callers)

    asyncio.run(all_of_it())
    return answered, failed


def test_no_call_fails_while_all_workers_are_replaced(world: World) -> None:
    with started(world, "--workers", "2") as running:
        before = running.workers()
        assert len(before) == 2

        def replace_all() -> None:
            running.process.send_signal(signal.SIGHUP)
            until = time.monotonic() + 60
            while running.workers() & before or len(running.workers()) != 2:
                assert time.monotonic() < until
                time.sleep(0.05)

        answered, failed = under_load(running, replace_all)
        assert failed == []
    assert running.process.returncode == 0
    verdict = verify(world.home / "evidence.db")
    assert verdict.ok, verdict.reason
    assert len(verdict.heads) >= 2
    assert set(answered) <= {record["call_id"] for record in records(world)}


@pytest.mark.kill
def test_a_killed_worker_is_started_again_and_what_it_answered_is_recorded(world: World) -> None:
    with started(world, "--workers", "2") as running:
        before = running.workers()

        def kill_one() -> None:
            victim = min(before)
            os.kill(victim, signal.SIGKILL)
            until = time.monotonic() + 60
            while victim in running.workers() or len(running.workers()) != 2:
                assert time.monotonic() < until
                time.sleep(0.05)

        answered, _ = under_load(running, kill_one)
    verdict = verify(world.home / "evidence.db")
    assert verdict.ok, verdict.reason
    assert set(answered) <= {record["call_id"] for record in records(world)}


def test_a_policy_that_one_worker_pulled_is_in_force_in_all_and_one_of_them_ships(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with platform(world.gateway) as stand_in:
        stand_in.waits = True
        homes.prepare(world.home, stand_in.url, "gw-1", world.platform.public)

        async def conversation() -> None:
            apps = [create_app(world.home, shared=True) for _ in range(3)]
            stand_in.put_in_force(
                world.signed(), world.version
            )  # without one, each would wait for it before it has started
            for app in apps:
                await app.start()
            try:
                for suspended in (False, True):
                    world.services = (replace(world.services[0], suspended=suspended),)
                    stand_in.put_in_force(world.signed(), world.version)
                    for app in apps:
                        while app.readiness()["policy_version"] != world.version:
                            await asyncio.sleep(0.02)
                leads = [app._link._leads.is_set() for app in apps if app._link is not None]
                assert leads.count(True) == 1
                await apps[leads.index(True)].stop()
                world.services = ()
                stand_in.put_in_force(world.signed(), world.version)
                for app in (app for app, led in zip(apps, leads, strict=True) if not led):
                    while app.readiness()["policy_version"] != world.version:
                        await asyncio.sleep(0.02)
            finally:
                for app in apps:
                    await app.stop()

        asyncio.run(asyncio.wait_for(conversation(), 60))


def test_whichever_worker_is_asked_tells_the_figures_of_all(world: World) -> None:
    async def conversation() -> None:
        apps = [create_app(world.home, shared=True) for _ in range(2)]
        for app in apps:
            await app.start()
        try:
            async with contextlib.AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(
                        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway.test")  # type: ignore[arg-type]
                    )
                    for app in apps
                ]
                for client, calls in zip(clients, (2, 3), strict=True):
                    for _ in range(calls):
                        assert (await Caller(client).ask()).status_code == 200
                until = time.monotonic() + 30
                while True:
                    page = (await clients[0].get("/gateway/metrics")).text
                    counts = [line.rpartition(" ")[2] for line in page.splitlines() if 'outcome="ok"' in line]
                    if counts == ["2", "3"]:
                        break
                    assert time.monotonic() < until, page
                    await asyncio.sleep(0.1)
                assert page.count("# TYPE jinqiao_gateway_calls_total counter") == 1
        finally:
            for app in apps:
                await app.stop()

    asyncio.run(conversation())
    assert not list(world.home.glob("lane-*.figures"))


def test_a_gateway_told_to_end_is_unready_first_answers_what_comes_and_ends_in_bounded_time(world: World) -> None:
    (world.home / SETTINGS).write_text("[serving]\ndrain_s = 2\n")
    with started(world) as running:
        assert running.get("/gateway/health/ready").status_code == 200
        running.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 10
        while (ready := running.get("/gateway/health/ready")).status_code != 503:
            assert time.monotonic() < until
        assert ready.json()["draining"] is True
        assert running.get("/gateway/health/live").status_code == 200

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=ToThePort(running.port)) as client:
                return await Caller(client).ask()

        answer = asyncio.run(ask())
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        assert running.process.wait(15) == 0


def test_settings_are_read_anew_at_a_hangup_and_wrong_ones_change_nothing(world: World) -> None:
    with started(world) as running:

        def replace_twice() -> None:
            for text, wanted in (("[metrics]\nnetworks = []\n", 404), ("[metrics]\nnetworks = 3\n", 404), ("", 200)):
                (world.home / SETTINGS).write_text(text)
                running.process.send_signal(signal.SIGHUP)
                until = time.monotonic() + 15
                while running.get("/gateway/metrics").status_code != wanted:
                    assert time.monotonic() < until
                    time.sleep(0.05)

        _, failed = under_load(running, replace_twice)
        assert failed == []
    assert "nothing was read anew: gateway.settings.not_valid" in (world.folder / "log").read_text()


def test_settings_that_are_wrong_at_a_hangup_change_no_worker_and_good_ones_are_read_at_the_next(world: World) -> None:
    log = world.folder / "log"
    with started(world, "--workers", "2") as running:
        until = time.monotonic() + 60
        while (
            len(list(world.home.glob("lane-*.sock"))) < 2
        ):  # one that is still to read its settings would be ended by wrong ones
            assert time.monotonic() < until
            time.sleep(0.05)
        before = running.workers()
        (world.home / SETTINGS).write_text("[limits]\nat_dor = 5\n")
        running.process.send_signal(signal.SIGHUP)
        while "the old ones stay" not in log.read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        while running.workers() != before:  # the new one, which has not started, is gone
            assert time.monotonic() < until
            time.sleep(0.05)
        assert running.get("/gateway/health/ready").status_code == 200

        (world.home / SETTINGS).write_text("[metrics]\nnetworks = []\n")
        running.process.send_signal(signal.SIGHUP)
        while "all workers were replaced" not in log.read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        assert not running.workers() & before
        assert running.get("/gateway/metrics").status_code == 404
    assert running.process.returncode == 0


def test_a_worker_that_cannot_be_started_leaves_the_others_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    workers = Workers(world.home, "127.0.0.1", 0, 2)
    try:
        workers._look_after()
        (first,) = workers._workers
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no descriptor is free
        try:
            workers._look_after()
            workers._replace_all()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert caplog.messages == [
            "a worker cannot be started for now: OSError",
            "a new worker cannot be started: the old ones stay (OSError)",
        ]
        assert workers._workers == [first]
        workers._next_start = 0.0
        workers._look_after()
        assert len(workers._workers) == 2
        assert all(worker.is_ready(30) for worker in workers._workers)
    finally:
        workers._stop(workers._workers)
        workers._socket.close()
