"""Callers for the long runs of the gateway: each on a connection of its own, signing as it goes, keeping what was answered."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from jinqiao.kernel.httpsig import HmacSigner, sign_request  # noqa: E402
from tests.dataplane.gateway import world as worlds  # noqa: E402

HOST = "127.0.0.1"
PATH = f"/gateway/v1/services/{worlds.SERVICE}/query"


@dataclass
class Seen:
    """What callers saw. `answered`: ids of calls that were answered with data; `refused`: codes or statuses; `broken`: connections."""

    answered: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    broken: int = 0
    latencies: list[float] = field(default_factory=list)
    last: list[bytes] = field(default_factory=list)  # the last answered requests, byte by byte, to play again


def signed(person: str) -> bytes:
    """One request with a nonce of its own."""
    body = json.dumps(worlds.question(by={"sfzh": person})).encode()
    headers = {"Content-Type": "application/json"}
    signer = HmacSigner("hmac-sha256", worlds.SECRET.encode())
    url = f"http://{worlds.HOST}{PATH}"
    headers |= sign_request("POST", url, body, key_id="key-housing", signer=signer, headers=headers)
    lines = [f"POST {PATH} HTTP/1.1", f"host: {worlds.HOST}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    """Status and body. Raises OSError or EOFError where the connection breaks before the answer is whole."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    if b"connection: close" in head:
        writer.close()
    return int(head[9:12]), body


async def caller(port: int, seen: Seen, stop: asyncio.Event, people: list[str], pause_s: float = 0.0) -> None:
    """Call until told to stop; after a broken connection make it again."""
    chance = random.Random(os.urandom(8))
    await asyncio.sleep(chance.random() * pause_s)
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            seen.broken += 1
            await asyncio.sleep(0.05)
            continue
        try:
            while not stop.is_set() and not writer.is_closing():
                request, began = signed(chance.choice(people)), time.perf_counter()
                status, body = await exchange(reader, writer, request)
                seen.latencies.append(time.perf_counter() - began)
                said = json.loads(body)
                if status == 200:
                    seen.answered.append(said["call_id"])
                    seen.last = [*seen.last[-19:], request]
                else:
                    seen.refused.append(said.get("code", str(status)))
                if pause_s:
                    await asyncio.sleep(max(0.0, pause_s * (0.5 + chance.random()) - (time.perf_counter() - began)))
        except (OSError, EOFError):
            seen.broken += 1
        finally:
            writer.close()


async def play_again(port: int, requests: list[bytes]) -> list[str]:
    """Codes that the gateway answers to requests that it has answered before."""
    codes = []
    for request in requests:
        reader, writer = await asyncio.open_connection(HOST, port)
        status, body = await exchange(reader, writer, request)
        codes.append("answered" if status == 200 else str(json.loads(body).get("code", status)))
        writer.close()
    return codes


def start_gateway(
    home: Path, port: int, *options: str, environment: dict[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """`jinqiao gateway run`, ready to be called."""
    command = [sys.executable, "-m", "jinqiao.cli", "gateway", "run", str(home), "--port", str(port), *options]
    with (home.parent / "gateway.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stderr=log,
            stdout=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
        )
    try:
        wait_ready(process, port)
    except SystemExit:
        print((home.parent / "gateway.log").read_text()[-3000:], file=sys.stderr)
        raise
    return process


def wait_ready(process: "subprocess.Popen[bytes]", port: int, within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"the gateway ended with {process.returncode}")
        try:
            with urlopen(f"http://{HOST}:{port}/gateway/health/ready", timeout=2):
                return
        except (OSError, HTTPError):
            time.sleep(0.05)
    raise SystemExit("the gateway is not ready")


def figures(port: int) -> dict[str, float]:
    """The metrics by name with labels."""
    with urlopen(f"http://{HOST}:{port}/gateway/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[:1] != "#"}


def rss_mib(pid: int) -> float:
    """Memory of a process and its children, shared pages counted in each."""
    own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(rss_mib(int(child)) for child in children)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")
