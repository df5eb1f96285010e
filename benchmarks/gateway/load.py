"""Load by wrk: one thread, keep-alive connections, requests from a file, none twice. And what the server spends meanwhile."""

import os
import re
import shutil
import statistics
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

HOST = "127.0.0.1"
SCRIPT = Path(__file__).with_name("requests.lua")
_RESULT = re.compile(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)")


@dataclass(frozen=True, slots=True)
class Load:
    """What one run showed. `cpu_us` is what the server's processes spent for each answer, `refused` answers other than 2xx,
    `broken` calls without an answer."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int
    cpu_us: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def median(loads: Sequence[Load]) -> Load:
    """The run whose rate is the median."""
    return sorted(loads, key=lambda load: load.per_second)[(len(loads) - 1) // 2]


def cpu_seconds(pids: Sequence[int]) -> float:
    spent = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def write_requests(path: Path, requests: Sequence[bytes]) -> None:
    with path.open("wb") as file:
        for request in requests:
            file.write(struct.pack("<I", len(request)) + request)


def drive(port: int, requests: Path, *, connections: int, seconds: float, server: int) -> Load:
    """Raises RuntimeError where wrk is missing, or says nothing."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("the load generator wrk is missing: install the Debian package wrk")
    pids = family(server)
    before = cpu_seconds(pids)
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(SCRIPT), f"http://{HOST}:{port}", "--", str(requests)]  # fmt: skip
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = cpu_seconds(pids) - before
    found = _RESULT.search(told)
    if found is None:
        raise RuntimeError(told)
    count, took_us, p50_us, p99_us, refused, broken, left = (int(number) for number in found.groups())
    if left == 0:
        raise RuntimeError("the requests ran out: fewer seconds, or more of them")
    return Load(count, took_us / 1e6, p50_us / 1e3, p99_us / 1e3, refused, broken, spent / max(1, count) * 1e6)


def wait_for(port: int, path: str, process: subprocess.Popen[bytes], within_s: float = 60) -> None:
    """Until the server answers anything at all. Raises RuntimeError."""
    until = time.monotonic() + within_s
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(f"http://{HOST}:{port}{path}", timeout=2):
                return
        except OSError as problem:
            if getattr(problem, "code", 0):
                return
            time.sleep(0.1)
    process.kill()
    raise RuntimeError(f"the server on port {port} did not start")


def spread(loads: Sequence[Load]) -> str:
    rates = [load.per_second for load in loads]
    return f"{min(rates):,.0f}-{max(rates):,.0f}" if len(rates) > 1 else f"{statistics.mean(rates):,.0f}"
