"""What a call of the query gateway costs: signature, policy, masks, look-up in SQLite, durable record before the answer.

    python benchmarks/gateway_calls.py [--seconds 5] [--connections 32] [--rows 100000] [--suite international] [--json FILE]

Server and load generator are two processes. Every request is signed beforehand with its own nonce and asks for a person of its
own; the limit measured beside it is a hello world on the same server with the same load. Ratios mean something, absolute
figures only on a machine that does nothing else.
"""

import argparse
import asyncio
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from jinqiao.dataplane.evidence.verify import verify  # noqa: E402
from jinqiao.kernel.httpsig import HmacSigner, sign_request  # noqa: E402
from tests.dataplane.gateway import world as worlds  # noqa: E402

HOST = "127.0.0.1"
HELLO = b"GET /hello HTTP/1.1\r\nhost: hello\r\n\r\n"


@dataclass
class Load:
    """What the generator saw. Latencies in milliseconds."""

    name: str
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    server_us: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends the next request as soon as an answer is whole."""

    def __init__(self, requests: list[bytes], latencies: list[float], until: float) -> None:
        self.requests, self.latencies, self.until = requests, latencies, until
        self.refused = 0
        self.buffer = b""
        self.sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.next()

    def next(self) -> None:
        self.sent_at = time.perf_counter()
        if self.sent_at >= self.until or not self.requests:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.transport.write(self.requests.pop())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.latencies.append(time.perf_counter() - self.sent_at)
        if not head.startswith(b"HTTP/1.1 200"):
            self.refused += 1
        self.buffer = b""
        self.next()

    def connection_lost(self, problem: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def drive(name: str, port: int, pid: int, requests: list[bytes], connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    cpu, began = cpu_seconds(pid), time.perf_counter()
    share = [requests[at::connections] for at in range(connections)]
    opened = [
        await loop.create_connection(lambda part=part: Connection(part, latencies, began + seconds), HOST, port)
        for part in share
    ]
    await asyncio.gather(*(connection.done for _, connection in opened))
    elapsed, spent = time.perf_counter() - began, cpu_seconds(pid) - cpu
    if any(not part for part in share):
        raise SystemExit("the requests ran out: fewer seconds, please")
    latencies.sort()
    count = len(latencies)
    return Load(
        name,
        count,
        elapsed,
        statistics.median(latencies) * 1e3,
        latencies[int(count * 0.99)] * 1e3,
        sum(connection.refused for _, connection in opened),
        spent / count * 1e6,
    )


def identity(number: int) -> str:
    return f"62030219{number:010d}"


def make_world(folder: Path, rows: int, suite: str) -> worlds.World:
    world = worlds.make_world(folder, suite=suite)
    with sqlite3.connect(folder / "civil-affairs.db") as db:
        db.executemany(
            "INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (identity(n), f"甲乙{n}", "13800000000", "married", "2015-06-01", "1.00", n, "620302", "not granted")
                for n in range(rows)
            ),
        )
    world.services = tuple(replace(service, calls_per_minute=10**9) for service in world.services)
    world.publish()
    return world


def signed_requests(world: worlds.World, count: int, rows: int) -> list[bytes]:
    signer = HmacSigner(world.algorithm, worlds.SECRET.encode())
    path = f"/gateway/v1/services/{worlds.SERVICE}/query"
    chance = random.Random(20260318)
    made = []
    for _ in range(count):
        question = worlds.question(by={"sfzh": identity(chance.randrange(rows))}, items=["sfzh", "xm", "hyzk", "djrq"])
        body = json.dumps(question).encode()
        headers = {"Content-Type": "application/json"}
        headers |= sign_request(
            "POST", f"http://{worlds.HOST}{path}", body, key_id="key-housing", signer=signer, headers=headers
        )
        lines = [f"POST {path} HTTP/1.1", f"host: {worlds.HOST}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        made.append("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return made


def start(what: str, argument: str, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, __file__, "--serve", what, "--home", argument, "--port", str(port)])
    for _ in range(100):
        try:
            with urlopen(f"http://{HOST}:{port}/gateway/health/live", timeout=1):
                return process
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit(f"{what} did not start")


def serve(what: str, home: Path, port: int) -> None:
    if what == "gateway":
        from jinqiao.dataplane.gateway.main import run

        run(home, HOST, port)
        return
    from granian.constants import Interfaces
    from granian.log import LogLevels
    from granian.server.embed import Server

    async def hello(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"17")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"hello":"world"}'})

    server = Server(
        hello, address=HOST, port=port, interface=Interfaces.ASGINL, websockets=False, log_level=LogLevels.error
    )
    asyncio.run(server.serve())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--suite", default="international", choices=("international", "guomi"))
    parser.add_argument("--port", type=int, default=58110)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", choices=("gateway", "hello"), help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.home, options.port)
        return
    loads: list[Load] = []
    with tempfile.TemporaryDirectory(prefix="gateway-calls-") as name:
        world = make_world(Path(name), options.rows, options.suite)
        requests = signed_requests(world, int(options.seconds * 12_000), options.rows)
        for what, sent in (("hello", [HELLO] * int(options.seconds * 60_000)), ("gateway", requests)):
            process = start(what, str(world.home), options.port)
            try:
                loads.append(
                    asyncio.run(drive(what, options.port, process.pid, sent, options.connections, options.seconds))
                )
            finally:
                process.terminate()
                process.wait(30)
        verdict = verify(world.home / "evidence.db")
    print(f"{'':10}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU us/req':>12}{'refused':>9}")
    for load in loads:
        print(
            f"{load.name:10}{load.per_second:9.0f}{load.p50_ms:9.2f}{load.p99_ms:9.2f}{load.server_us:12.1f}{load.refused:9}"
        )
    print(f"evidence: {verdict.records} records in {verdict.batches} batches, {'whole' if verdict.ok else 'BROKEN'}")
    if loads[1].refused or not verdict.ok or verdict.records < loads[1].requests:
        raise SystemExit("a call was refused, or the evidence does not hold every answer")
    if options.json:
        report = [{**vars(load), "per_second": load.per_second} for load in loads]
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
