"""Many connections for a long time: no error, no growing memory; at the end, how soon a revocation is in force.

    python benchmarks/gateway_soak.py [--minutes 10] [--connections 200] [--rate 300] [--workers 1]

`--rate` is calls a second of all connections together (0: as fast as they go). A gateway remembers the nonces of the last 605 s, so its
memory grows by them until then and no longer: the table tells both, a line a minute. Exits 1 where a call was not answered, where
memory grew by more than nonces and caches explain, or grew at all once as many nonces are forgotten as come (a longer run than
12 minutes tells), or where the evidence does not hold every answer.
"""

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.gateway_load import Seen, caller, figures, quantile, rss_mib, start_gateway
from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.gateway import home as homes
from jinqiao.kernel.ports import free_port
from tests.dataplane.gateway import world as worlds
from tests.dataplane.gateway.platform_stand_in import PlatformStandIn, platform

ROWS = 10_000
SPARE_MIB = 48.0  # caches of SQLite, buffers of 200 connections, what the allocator keeps
BYTES_PER_NONCE = 160
LEVEL_AFTER_S = 720.0  # then as many nonces are forgotten, by the minute, as come
LEVEL_MIB = 8.0
WARM_UP_S = 5.0


def people_of(world: worlds.World, rows: int = ROWS) -> list[str]:
    numbers = [f"62030219{number:010d}" for number in range(rows)]
    with sqlite3.connect(world.folder / "civil-affairs.db") as db:
        db.executemany(
            "INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (number, "甲乙", "13800000000", "married", "2015-06-01", "1.00", at, "620302", "-")
                for at, number in enumerate(numbers)
            ),
        )
    db.close()
    return numbers


async def soak(
    options: argparse.Namespace, port: int, pid: int, people: list[str], world: worlds.World, stand_in: PlatformStandIn
) -> tuple[Seen, list[tuple[float, float, float, int]], list[float]]:
    seen, stop = Seen(), asyncio.Event()
    pause_s = options.connections / options.rate if options.rate else 0.0
    callers = [asyncio.create_task(caller(port, seen, stop, people, pause_s)) for _ in range(options.connections)]
    await asyncio.sleep(min(WARM_UP_S, options.minutes * 12))
    began, rows = time.monotonic(), []
    steps = max(2, round(options.minutes))
    for step in range(steps + 1):
        if step:
            await asyncio.sleep(options.minutes * 60 / steps)
        nonces = (await asyncio.to_thread(figures, port)).get("jinqiao_gateway_nonces", 0)
        rows.append((time.monotonic() - began, rss_mib(pid), nonces, len(seen.answered)))
        print(
            f"  {rows[-1][0]:6.0f} s  {rows[-1][1]:7.1f} MiB  {nonces:9.0f} nonces  {rows[-1][3]:9} answered",
            flush=True,
        )
    revoked = [await revocation(world, stand_in, seen) for _ in range(3)]
    stop.set()
    await asyncio.gather(*callers)
    return seen, rows, revoked


async def revocation(world: worlds.World, stand_in: PlatformStandIn, seen: Seen) -> float:
    """Seconds from the platform's decision to the last call that was still answered, under load; then it is taken back."""
    suspended = replace(world.services[0], suspended=True)
    open_again, refused = world.services, len(seen.refused)
    world.services = (suspended,)
    stand_in.put_in_force(world.signed(), world.version)
    began, answered, last = time.monotonic(), len(seen.answered), time.monotonic()
    while time.monotonic() - began < 3 or len(seen.refused) == refused:
        await asyncio.sleep(0.005)
        if len(seen.answered) != answered:
            answered, last = len(seen.answered), time.monotonic()
    world.services = open_again
    stand_in.put_in_force(world.signed(), world.version)
    while len(seen.answered) == answered:
        await asyncio.sleep(0.005)
    return last - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gateway-soak-") as name:
        world = worlds.make_world(Path(name))
        people = people_of(world)
        world.services = (replace(world.services[0], calls_per_minute=10**9),)
        with platform(world.gateway) as stand_in:
            stand_in.waits = True
            homes.prepare(world.home, stand_in.url, "gw-1", world.platform.public)
            stand_in.put_in_force(world.signed(), world.version)
            port = free_port()
            process = start_gateway(world.home, port, "--workers", str(options.workers))
            try:
                seen, rows, revoked = asyncio.run(soak(options, port, process.pid, people, world, stand_in))
            finally:
                process.terminate()
                process.wait(60)
        verdict = verify(world.home / "evidence.db")
        recorded = recorded_ids(world.home / "evidence.db")
    wrong = [code for code in seen.refused if code != "gateway.service.suspended"]
    grown = rows[-1][1] - rows[0][1]
    allowed = SPARE_MIB * options.workers + (rows[-1][2] - rows[0][2]) * BYTES_PER_NONCE / 2**20
    middle = rows[len(rows) // 2]
    print(f"{len(seen.answered)} answered on {options.connections} connections in {rows[-1][0]:.0f} s, {len(seen.answered) / rows[-1][0]:.0f}/s;"
          f" p50 {quantile(seen.latencies, 0.5) * 1e3:.1f} ms, p99 {quantile(seen.latencies, 0.99) * 1e3:.1f} ms")  # fmt: skip
    print(
        f"refused otherwise than by the revocations: {len(wrong)} {sorted(set(wrong))}; connections broken: {seen.broken}"
    )
    print(f"memory: start {rows[0][1]:.1f}, middle {middle[1]:.1f}, end {rows[-1][1]:.1f} MiB; grown {grown:.1f} of {allowed:.1f} MiB that"
          f" {rows[-1][2] - rows[0][2]:.0f} more nonces and caches explain")  # fmt: skip
    level = [row for row in rows if row[0] >= LEVEL_AFTER_S]
    since = level[-1][1] - level[0][1] if len(level) > 1 else 0.0
    if len(level) > 1:
        print(
            f"memory from {level[0][0]:.0f} s on: {since:+.1f} MiB (≤ {LEVEL_MIB:.0f}) in {level[-1][0] - level[0][0]:.0f} s"
        )
    print("last answer after a revocation, s: " + ", ".join(f"{seconds:.3f}" for seconds in revoked) + " (≤ 2)")
    lost = len(set(seen.answered) - recorded)
    print(
        f"evidence: {verdict.records} records in {verdict.batches} batches, {'whole' if verdict.ok else 'BROKEN'}; answers without a record: {lost}"
    )
    held = grown <= allowed and since <= LEVEL_MIB * options.workers
    good = not wrong and not seen.broken and held and max(revoked) <= 2 and verdict.ok and not lost
    return 0 if good else 1


def recorded_ids(path: Path) -> set[str]:
    """The ids of all calls in a log."""
    import json

    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        bodies = [body for (body,) in db.execute("SELECT bodies FROM batch")]
    db.close()
    return {json.loads(line)["call_id"] for body in bodies for line in body.split("\n")}


if __name__ == "__main__":
    sys.exit(main())
