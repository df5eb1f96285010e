"""Kill gateways, their workers and the PostgreSQL that they ask, under load, again and again; then cut the power.

    python benchmarks/gateway_crashes.py [--kills 60] [--cuts 10] [--connections 16] [--seed N]

The client keeps the id of every call that it was answered. After each kill: every one of them is in the evidence, once; the evidence of all
lanes verifies; the last answered requests, played again byte by byte, are refused as replays. A killed process loses nothing that the
kernel has, so durability itself is tried by power cuts: a library preloaded into the gateway writes down what was synced
(power_cut.c, needs a C compiler), and after SIGKILL the files are cut back to that. The control is the same with `synchronous=OFF`,
and must lose answers. Exits 1 where the gateway lost one, or the control did not.
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.gateway_load import Seen, caller, play_again, start_gateway, wait_ready
from benchmarks.gateway_soak import people_of, recorded_ids
from jinqiao.dataplane.evidence.verify import verify
from jinqiao.kernel.contracts.tables import Connection
from jinqiao.kernel.ports import free_port
from tests.dataplane.gateway import world as worlds
from tests.servers import Server, postgresql

KINDS = ("gateway", "worker", "postgresql")


@dataclass
class Tally:
    """What rounds of one kind came to."""

    kills: int = 0
    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    lost: int = 0
    doubled: int = 0
    replays: int = 0
    replays_answered: int = 0
    chains_broken: list[str] = field(default_factory=list)


def make_world(folder: Path, server: Server | None) -> tuple[worlds.World, list[str]]:
    """A gateway whose source is PostgreSQL, or SQLite without a server."""
    world = worlds.make_world(folder)
    people = people_of(world, 1000)
    connection: Connection = world.services[0].connection
    if server is not None:
        connection = server.connection()
        server.execute(
            "DROP TABLE IF EXISTS person",
            "CREATE TABLE person (id_no TEXT PRIMARY KEY, name TEXT, phone TEXT, status TEXT, registered_on DATE,"
            " amount DECIMAL(10,2), number INTEGER, area TEXT, note TEXT)",
        )
        server.execute(
            *(
                f"INSERT INTO person VALUES ('{number}', '甲乙', '138', 'married', '2015-06-01', 1.00, 1, '620302', '-')"
                for number in people
            )
        )
        (world.folder / "source.secret").write_text(server.password)
    password = world.gateway.seal(server.password.encode()) if server is not None else ""
    connection = replace(connection, sealed_password=password)
    world.services = (replace(world.services[0], connection=connection, calls_per_minute=10**9),)
    world.publish()
    return world, people


async def under_load(port: int, people: list[str], connections: int, work: Callable[[], None], after_s: float) -> Seen:
    """Call, do `work` in a thread after a while, call on for a moment."""
    seen, stop = Seen(), asyncio.Event()
    callers = [asyncio.create_task(caller(port, seen, stop, people)) for _ in range(connections)]
    while not seen.answered:
        await asyncio.sleep(0.01)
    await asyncio.sleep(after_s)
    await asyncio.to_thread(work)
    await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*callers)
    return seen


def check(world: worlds.World, seen: Seen, tally: Tally, port: int) -> None:
    """After the gateway runs again."""
    path = world.home / "evidence.db"
    verdict = verify(path)
    if not verdict.ok:
        tally.chains_broken.append(f"{verdict.place}: {verdict.reason}")
    ids = recorded_ids(path)
    tally.lost += len(set(seen.answered) - ids)
    tally.doubled += verdict.records - len(ids)
    tally.answered += len(seen.answered)
    tally.refused.update(seen.refused)
    tally.broken += seen.broken
    codes = asyncio.run(play_again(port, seen.last))
    tally.replays += len(codes)
    tally.replays_answered += codes.count("answered")
    if any(code not in ("signature.replayed", "answered") for code in codes):
        raise SystemExit(f"a replay was refused for another reason: {codes}")


def campaign(folder: Path, server: Server, kills: int, connections: int, chance: random.Random) -> dict[str, Tally]:
    world, people = make_world(folder, server)
    tallies = {kind: Tally() for kind in KINDS}
    whole = max(1, kills // 5)  # a gateway that starts again costs the most time
    rounds = {"gateway": whole, "worker": (kills - whole + 1) // 2, "postgresql": (kills - whole) // 2}
    for kind in KINDS:
        tally, port = tallies[kind], free_port()
        options = ("--workers", "2") if kind == "worker" else ()
        process = start_gateway(world.home, port, *options)
        try:
            for _ in range(rounds[kind]):
                kill = killing(kind, process, server, chance)
                seen = asyncio.run(under_load(port, people, connections, kill, 0.1 + chance.random() * 0.5))
                if kind == "gateway":
                    process = start_gateway(world.home, port)
                wait_ready(process, port)
                check(world, seen, tally, port)
                tally.kills += 1
                print(
                    f"  {kind} {tally.kills}: {len(seen.answered)} answered, {len(seen.refused)} refused, {tally.lost} lost",
                    flush=True,
                )
        finally:
            process.terminate()
            process.wait(60)
    return tallies


def killing(kind: str, process: "subprocess.Popen[bytes]", server: Server, chance: random.Random) -> Callable[[], None]:
    def kill() -> None:
        if kind == "postgresql":
            kill_postgresql(server)
        elif kind == "gateway":
            process.kill()
            process.wait()
        else:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(chance.choice(children)), signal.SIGKILL)

    return kill


def kill_postgresql(server: Server) -> None:
    """SIGKILL the server and all of its processes, then start it again on the same files."""
    note = server.folder / "data" / "postmaster.pid"
    parent = int(note.read_text().splitlines()[0])
    processes = [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]
    for number in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    while any(is_alive(number) for number in processes):
        time.sleep(0.01)
    for lock in (note, *server.folder.glob(".s.PGSQL.*")):
        lock.unlink()  # where nobody collects the dead, their numbers seem to be in use
    server.restart()


def is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def cut_power(home: Path, log: Path) -> None:
    """Cut the files of a killed gateway back to what was synced; what never was is gone, and so is shared memory."""
    synced: dict[str, int] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        path, _, size = line.rpartition(" ")
        synced[path] = int(size)
    for file in home.glob("evidence.db*"):
        size = synced.get(str(file.resolve()))
        if size is None:
            file.unlink()
        elif size < file.stat().st_size:
            os.truncate(file, size)


def power_cuts(
    folder: Path, library: Path, cuts: int, connections: int, synchronous: str, chance: random.Random
) -> Tally:
    tally = Tally()
    for number in range(cuts):
        place = folder / f"{synchronous}-{number}"
        place.mkdir()
        world, people = make_world(place, None)
        log, port = place / "synced", free_port()
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "POWER_CUT_LOG": str(log),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        with (place / "gateway.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, __file__, "--serve", str(world.home), "--port", str(port), "--synchronous", synchronous],
                env=environment, stdout=output, stderr=output,
            )  # fmt: skip
        wait_ready(process, port)

        def kill(process: "subprocess.Popen[bytes]" = process) -> None:
            process.kill()
            process.wait()

        seen = asyncio.run(under_load(port, people, connections, kill, 0.2 + chance.random() * 0.5))
        cut_power(world.home, log)
        process = start_gateway(world.home, port)
        try:
            check(world, seen, tally, port)
        finally:
            process.terminate()
            process.wait(60)
        tally.kills += 1
        shutil.rmtree(place)
    return tally


def serve(home: Path, port: int, synchronous: str) -> int:
    """The gateway with another durability than it ever has in use: for the control alone."""
    from jinqiao.dataplane.evidence.log import EvidenceLog
    from jinqiao.dataplane.gateway.main import run

    opened = EvidenceLog._open_file

    def open_file(log: EvidenceLog) -> None:
        opened(log)
        assert log._db is not None
        log._db.execute(f"PRAGMA synchronous={synchronous}")

    EvidenceLog._open_file = open_file  # type: ignore[method-assign]
    return run(home, port=port)


def compiled(folder: Path) -> Path | None:
    """The library that writes down what is synced; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    made = folder / "power_cut.so"
    source = Path(__file__).with_name("power_cut.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"], check=True)
    return made


def line(name: str, tally: Tally) -> str:
    chains = "whole" if not tally.chains_broken else f"BROKEN: {tally.chains_broken[0]}"
    return (
        f"| {name} | {tally.kills} | {tally.answered} | {tally.lost} | {tally.doubled} | {chains}"
        f" | {tally.replays_answered} of {tally.replays} | {sum(tally.refused.values())} | {tally.broken} |"
    )


def is_good(tally: Tally) -> bool:
    return not (tally.lost or tally.doubled or tally.chains_broken or tally.replays_answered)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--synchronous", default="FULL", choices=("FULL", "OFF"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.port, options.synchronous)
    chance, began = random.Random(options.seed), time.monotonic()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="gateway-crashes-") as name:
        folder = Path(name)
        (folder / "campaign").mkdir()
        with postgresql(settings=("fsync=on", "max_connections=60", "log_min_messages=fatal")) as server:
            tallies = campaign(folder / "campaign", server, options.kills, options.connections, chance)
        library = compiled(folder)
        cuts: dict[str, Tally] = {}
        if library is None:
            print("no C compiler: the power cuts are left out")
        elif options.cuts:
            for synchronous in ("FULL", "OFF"):
                cuts[synchronous] = power_cuts(folder, library, options.cuts, options.connections, synchronous, chance)
    print(f"\n{sum(tally.kills for tally in tallies.values())} kills, {time.monotonic() - began:.0f} s")
    print(
        "| what | times | answered | of them without a record | doubled | chains | replays answered | refused | connections broken |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind, tally in tallies.items():
        print(line(f"SIGKILL of {kind}", tally))
    if cuts:
        print(line("power cut", cuts["FULL"]))
        print(line("power cut, control: synchronous=OFF", cuts["OFF"]))
    for kind, tally in tallies.items():
        print(f"refused while {kind} was killed: {dict(tally.refused)}")
    lost_by_control = not cuts or cuts["OFF"].lost > 0
    good = all(is_good(tally) for tally in tallies.values()) and (not cuts or is_good(cuts["FULL"])) and lost_by_control
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
