"""What a call of the query gateway costs, beside other stacks that do a part of the job, and beside the limits.

    python -m benchmarks.gateway_speed [--rows 1000000] [--rounds 5] [--seconds 6] [--connections 32] [--only ours,limits,peers]
                                       [--keep FILE] [--report FILE]

Ours: RFC 9421 signature with nonce, policy, masks, commitments, and a durable record (fsync) before each answer; on SQLite and on
PostgreSQL, in the suite guomi, and as a replica that claims each nonce in a shared table first. The limits: a hello world on our own server, and pgbench asking for the same row. Peers:
FastAPI with SQLAlchemy (on uvicorn, as ours) and a plain Django view (on granian; both: token, purpose, masks, a row of audit), Datasette
(nothing of that). One server process each, wrk with one thread as the load, rounds in turns, medians by rate; every call asks for a person of its own.

Exits 1 where a call of ours was refused or lacks its record, 2 where a goal is missed.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.exchange import places, report
from benchmarks.exchange.peers import environment
from benchmarks.gateway import load as loads
from benchmarks.gateway import people
from benchmarks.gateway.load import Load
from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.gateway.settings import SETTINGS
from jinqiao.kernel.ports import free_port
from tests.dataplane.gateway.world import World
from tests.servers import Server

TIMES_FASTAPI, TIMES_DATASETTE, CPU_US, P99_MS = 12, 5, 120, 25
MOST_PER_SECOND = {"hello": 80_000, "gateway": 16_000, "peer": 5_000}
SCRIPTS = Path(__file__).with_name("gateway") / "peer_scripts"
OURS = ("jinqiao on SQLite", "jinqiao on PostgreSQL")


@dataclass(frozen=True, slots=True)
class Variant:
    """A server to start, and what it is asked. `world` is ours: its evidence must hold every answer."""

    name: str
    kind: str
    command: tuple[str, ...]
    env: dict[str, str]
    probe: str
    path: str = ""  # of a peer: {} is the person's number
    world: World | None = None


def variants(server: Server, folder: Path, rows: int, only: set[str], port: int) -> Iterator[Variant]:
    table = people.sqlite_table(folder / "person.db", rows)
    postgresql = people.postgresql_table(server, rows)
    if "limits" in only:
        command = (sys.executable, str(SCRIPTS / "hello.py"), str(port))
        yield Variant("limit: hello world", "hello", command, {"PYTHONPATH": str(SCRIPTS)}, "/hello", "/hello?{}")
    if "ours" in only:
        for name, connection, suite in (
            (OURS[0], table, "international"),
            (OURS[1], postgresql, "international"),
            ("jinqiao on PostgreSQL, suite guomi", postgresql, "guomi"),
            ("jinqiao on PostgreSQL, as one of several replicas", postgresql, "international"),
        ):
            home = folder / re.sub(r"\W+", "-", name)
            secret = {"options": {"password": server.password}} if connection is postgresql else {}
            world = people.make_world(home, _with(connection, secret), suite)
            if "replicas" in name:
                settings = world.home / SETTINGS
                settings.write_text(f'[replicas]\nclaims = "{places.url(server, places.TARGET)}"\n')
                settings.chmod(0o600)
            command = (places.JINQIAO, "gateway", "run", str(world.home), "--port", str(port))
            yield Variant(name, "gateway", command, {}, "/gateway/health/live", world=world)
    if "peers" in only:
        tools = environment("bench-gateway") / "bin"
        url = places.url(server, places.SOURCE, scheme="postgresql+asyncpg")
        place = {"HOST": server.host, "PORT": str(server.port), "USER": server.user, "PASSWORD": server.password, "NAME": places.SOURCE}  # fmt: skip
        uvicorn = ["--host", loads.HOST, "--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error"]  # fmt: skip
        yield Variant(
            "FastAPI + SQLAlchemy on PostgreSQL", "peer", (str(tools / "uvicorn"), *uvicorn, "fastapi_app:app"),
            {"DATABASE": url, "PYTHONPATH": str(SCRIPTS)}, "/docs", "/person?id_no={}",
        )  # fmt: skip
        granian = ["--host", loads.HOST, "--port", str(port), "--workers", "1", "--no-ws", "--log-level", "error"]
        yield Variant(
            "Django view on PostgreSQL", "peer",
            (str(tools / "granian"), "--interface", "wsgi", *granian, "--blocking-threads", "8", "django_app:app"),
            {f"DATABASE_{name}": value for name, value in place.items()} | {"PYTHONPATH": str(SCRIPTS)}, "/none", "/person?id_no={}",
        )  # fmt: skip
        yield Variant(
            "Datasette on SQLite", "peer",
            (str(tools / "datasette"), table.database, "-h", loads.HOST, "-p", str(port), "--setting", "suggest_facets", "off",
             "--setting", "default_cache_ttl", "0"),
            {}, "/-/versions.json", "/person/person/{}.json?_shape=objects",
        )  # fmt: skip


def _with(connection, changes):
    from dataclasses import replace

    return replace(connection, **changes)


def measure(
    variant: Variant, port: int, folder: Path, rows: int, seconds: float, connections: int, round_: int
) -> Load:
    count = int(seconds * MOST_PER_SECOND[variant.kind])
    if variant.world is not None:
        requests = people.signed_calls(variant.world, count, rows, seed=round_)
    else:
        requests = people.plain_calls(variant.path, count, rows, seed=round_)
    file = folder / "requests"
    loads.write_requests(file, requests)
    process = subprocess.Popen(variant.command, env={**os.environ, **variant.env}, stdout=subprocess.DEVNULL)
    try:
        loads.wait_for(port, variant.probe, process)
        measured = loads.drive(port, file, connections=connections, seconds=seconds, server=process.pid)
    finally:
        process.terminate()
        process.wait(30)
    return measured


def held_records(world: World) -> int:
    verdict = verify(world.home / "evidence.db")
    if not verdict.ok:
        raise RuntimeError(f"the evidence is broken: {verdict.damage[0]}")
    return verdict.records


def pgbench(server: Server, seconds: float, connections: int, folder: Path) -> float:
    """Look-ups of the same row by prepared statements, in transactions a second."""
    (binary,) = [shutil.which("pgbench") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/pgbench")), "")]
    script = folder / "lookup.sql"
    script.write_text(
        "\\set n random(0, 999)\nSELECT id_no, name, status, registered_on FROM person WHERE id_no = ('62030219' || lpad(:n::text, 10, '0'))::bpchar"
        " AND starts_with(area, '620302') LIMIT 101;\n"
    )
    command = [binary, "-h", server.host, "-p", str(server.port), "-U", server.user, "-n", "-M", "prepared", "-c", str(connections),
               "-j", "1", "-T", str(max(1, int(seconds))), "-f", str(script), places.SOURCE]  # fmt: skip
    told = subprocess.run(
        command, env={**os.environ, "PGPASSWORD": server.password}, capture_output=True, text=True, check=True
    )
    return float(re.search(r"tps = ([0-9.]+)", told.stdout)[1])  # type: ignore[index]


def rows_of(found: dict[str, list[Load]], limit: list[float]) -> tuple[list[tuple[str, ...]], bool]:
    middle = {name: loads.median(taken) for name, taken in found.items()}
    fastapi, datasette = (
        next((one.per_second for name, one in middle.items() if name.startswith(start)), None)
        for start in ("FastAPI", "Datasette")
    )
    held, lines = True, []
    for name, one in middle.items():
        times_fastapi = one.per_second / fastapi if fastapi else None
        times_datasette = one.per_second / datasette if datasette else None
        cpu, p99 = f"{one.cpu_us:.0f}", f"{one.p99_ms:.1f}"
        if name in OURS:
            held = held and one.cpu_us <= CPU_US and one.p99_ms <= P99_MS
            held = (
                held
                and (times_fastapi or TIMES_FASTAPI) >= TIMES_FASTAPI
                and (times_datasette or TIMES_DATASETTE) >= TIMES_DATASETTE
            )
            cpu, p99 = report.verdict(one.cpu_us, CPU_US, "{:.0f}"), report.verdict(one.p99_ms, P99_MS, "{:.1f}")
        lines.append(
            (name, f"{one.per_second:,.0f}", loads.spread(found[name]), f"{times_fastapi:.1f}" if times_fastapi else "",
             f"{times_datasette:.1f}" if times_datasette else "", f"{one.p50_ms:.1f}", p99, cpu, str(one.refused + one.broken))
        )  # fmt: skip
    if limit:
        lines.append(
            (
                "limit: pgbench, the same look-up",
                f"{sorted(limit)[(len(limit) - 1) // 2]:,.0f}",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
            )
        )
    return lines, held


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--only", default="ours,limits,peers")
    parser.add_argument("--keep", type=Path, help="file that each single measurement is written to, as a line of JSON")
    parser.add_argument("--report", type=Path, help="file for the table in Markdown; it is printed in any case")
    given = parser.parse_args(argv)
    places.stop_when_told()
    only = set(given.only.split(","))
    found: dict[str, list[Load]] = {}
    limit: list[float] = []
    unrecorded = 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jq-gateway-")))
        server = stack.enter_context(places.postgresql())
        about, port = report.machine(server), free_port()
        ready = list(variants(server, folder, given.rows, only, port))
        answered: dict[str, int] = {}
        for round_ in range(given.rounds):
            for variant in ready:
                one = measure(variant, port, folder, given.rows, given.seconds, given.connections, round_)
                found.setdefault(variant.name, []).append(one)
                if variant.world is not None:
                    answered[variant.name] = answered.get(variant.name, 0) + one.requests
                if given.keep:
                    with given.keep.open("a") as file:
                        file.write(
                            json.dumps(
                                {"revision": report.revision(), "round": round_, "name": variant.name, **asdict(one)}
                            )
                            + "\n"
                        )
                print(
                    f"  {round_ + 1}/{given.rounds} {variant.name}: {one.per_second:,.0f}/s, {one.cpu_us:.0f} µs",
                    file=sys.stderr,
                    flush=True,
                )
            if "limits" in only:
                limit.append(pgbench(server, given.seconds, given.connections, folder))
        for variant in ready:
            if variant.world is not None:
                unrecorded += max(0, answered[variant.name] - held_records(variant.world))
    lines, held = rows_of(found, limit)
    head = (
        "",
        "calls/s",
        "from-to",
        "× FastAPI",
        "× Datasette",
        "p50 ms",
        "p99 ms",
        "CPU µs per call",
        "refused or broken",
    )
    words = f"Medians of {given.rounds} rounds of {given.seconds:g} s; {given.rows:,} rows, {given.connections} connections; {about}; code {report.revision()}.\n\n{report.table(head, lines)}\n"
    print(words)
    if given.report:
        given.report.write_text(words, encoding="utf-8")
    wrong = unrecorded or any(
        one.refused or one.broken for name in found if name.startswith("jinqiao") for one in found[name]
    )
    if wrong:
        print(f"calls were refused, or {unrecorded} answers lack their record", file=sys.stderr)
        return 1
    return 0 if held else 2


if __name__ == "__main__":
    sys.exit(main())
