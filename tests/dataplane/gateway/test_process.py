"""The gateway as a process on a real socket: what was answered is in the evidence, however it ends."""

import asyncio
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.main import main
from jinqiao.dataplane.verify import main as verify_command
from jinqiao.kernel.ports import free_port
from tests.dataplane.gateway.world import HOST, SERVICE, Caller, World, make_world, records

SERVE = Path(__file__).with_name("serve.py")


@contextmanager
def process(world: World, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (world.folder / "log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, str(SERVE), str(world.home), str(port)], env=environment, stderr=log, stdout=log
        )
    try:
        until = time.monotonic() + 20
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/gateway/health/live", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                if running.poll() is not None or time.monotonic() > until:
                    raise RuntimeError((world.folder / "log").read_text()) from None
                time.sleep(0.05)
        yield running
    finally:
        running.kill()
        running.wait()


class ToThePort(httpx.AsyncBaseTransport):
    """Sends what was signed for the gateway's name to the port that it listens on."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="127.0.0.1", port=self.port)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def call_until_it_dies(caller: Caller, answered: list[str]) -> None:
    """Call again and again; whatever was answered is noted by its id."""
    try:
        while True:
            answered.append((await caller.ask()).json()["call_id"])
    except httpx.HTTPError:
        return


@pytest.mark.kill
def test_what_was_answered_before_a_kill_is_in_the_evidence_and_the_chain_holds(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.publish()
    answered: list[str] = []
    chance = random.Random(5)

    async def under_load(port: int, victim: "subprocess.Popen[bytes]", after_s: float) -> None:
        async with httpx.AsyncClient(transport=ToThePort(port), timeout=10) as client:
            caller = Caller(client)
            loads = [asyncio.create_task(call_until_it_dies(caller, answered)) for _ in range(16)]
            while len(answered) == before:
                await asyncio.sleep(0.01)
            await asyncio.sleep(after_s)
            victim.send_signal(signal.SIGKILL)
            await asyncio.gather(*loads)

    for _ in range(3):
        port = free_port()
        before = len(answered)
        with process(world, port) as victim:
            asyncio.run(under_load(port, victim, 0.4 + chance.random() * 0.4))
        assert len(answered) > before
        verdict = verify(world.home / "evidence.db")
        assert verdict.ok, f"{verdict.place}: {verdict.reason}"
        written = [record["call_id"] for record in records(world)]
        assert set(answered) <= set(written)
        assert len(written) == len(set(written))


@pytest.mark.kill
def test_a_nonce_answered_before_a_kill_is_refused_after_it(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.publish()
    kept: list[httpx.Request] = []

    async def one(port: int, again: httpx.Request | None) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            if again is None:
                unsent: list[httpx.Request] = []

                async def keep(request: httpx.Request) -> httpx.Response:
                    unsent.append(request)
                    return httpx.Response(200)

                async with httpx.AsyncClient(transport=httpx.MockTransport(keep)) as pen:
                    await Caller(pen).ask()
                again = unsent[0]
                kept.append(again)
            headers = [
                (name, value) for name, value in again.headers.multi_items() if name not in ("host", "content-length")
            ]
            return await client.post(
                f"/gateway/v1/services/{SERVICE}/query", content=again.content, headers=[("host", HOST), *headers]
            )

    port = free_port()
    with process(world, port) as victim:
        assert asyncio.run(one(port, None)).status_code == 200
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    with process(world, port):
        assert asyncio.run(one(port, kept[0])).json()["code"] == "signature.replayed"


def test_the_process_ends_in_order_when_asked_to(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.publish()
    with process(world, free_port()) as running:
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
    assert "Traceback" not in (world.folder / "log").read_text()


def test_a_request_that_is_no_http_or_never_ends_does_not_hurt_others(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.publish()
    port = free_port()
    with process(world, port):
        held = []
        for start in (
            b"GARBAGE\r\n\r\n",
            b"POST /gateway/v1/services/x/query HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{",
            b"POST /",
        ):
            opened = socket.create_connection(("127.0.0.1", port))
            opened.sendall(start)
            held.append(opened)
        smuggled = socket.create_connection(("127.0.0.1", port))
        smuggled.sendall(
            b"POST /gateway/v1/services/x/query HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /gateway/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
        )
        smuggled.settimeout(5)
        assert smuggled.recv(65536).startswith(b"HTTP/1.1 4")
        answer = httpx.get(f"http://127.0.0.1:{port}/gateway/health/live", trust_env=False)
        assert answer.status_code == 200
        for opened in (*held, smuggled):
            opened.close()


def test_the_command_verifies_the_evidence_of_a_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path)
    world.publish()
    port = free_port()
    with process(world, port):
        httpx.post(f"http://127.0.0.1:{port}/gateway/v1/services/x/query", trust_env=False)
    for file in world.home.glob(f"{homes.ANCHORS}*"):  # its first round may have come before the kill, or after
        file.unlink()
    assert verify_command([str(world.home), "--language", "en"]) == 3  # whole, but not anchored
    assert capsys.readouterr().out.startswith("whole: 1 batches, 1 records, 0 anchors\n  [anchor.missing]")
    with sqlite3.connect(world.home / "evidence.db") as db:
        db.execute("UPDATE batch SET bodies = replace(bodies, ?, ?)", ('"rows":0', '"rows":1'))
    db.close()
    assert verify_command([str(world.home / "evidence.db"), "--language", "en"]) == 1
    assert "[record.altered] lane 1, batch 1, record 1: the text" in capsys.readouterr().out.replace("The", "the")
    assert verify_command([str(tmp_path / "nothing.db")]) == 2
    assert main(["run", str(tmp_path / "nowhere")]) == 1
    assert "gateway.home.not_prepared" in capsys.readouterr().err
