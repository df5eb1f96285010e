"""What a run costs that finds little or nothing new, beside a full copy.

    python -m benchmarks.incremental [--rows 1000000] [--diff-rows 5000000] [--rounds 5] [--only watermark,diff,whole] [--report FILE]

watermark   PostgreSQL to PostgreSQL, 1 % of the rows changed; a run without any change. The watermark has an index.
diff        the stage alone: fingerprints of 5M rows looked up in the state of 5M rows that were delivered, 1 % of them different
            (0.4 % updated, 0.3 % deleted, 0.3 % inserted), in two threads as the engine reads. Rows come from a file; the time
            of reading that file alone is measured too and taken off. In a process of its own, for its peak memory.
whole       whole `jinqiao copy --mode diff` processes of that size: the first, one with 1 % different, one without a change.

Exits 1 where a run moved what it should not, 2 where a goal is missed.
"""

import argparse
import contextlib
import json
import queue
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.exchange import measuring, places, population, report
from benchmarks.exchange.measuring import Measured
from tests.servers import Server

WATERMARK = ("--mode", "watermark", "--watermark", "updated_at")
DIFF = ("--mode", "diff")
SHARE, DIFF_S, DIFF_MIB = 0.10, 10, 600
BATCH_ROWS, THREADS = 65_536, 2
Line = tuple[str, str, str, str, str]  # what, seconds, in the engine, against the goal, peak memory


class Wrong(RuntimeError):
    """A run moved other rows than those that changed."""


def expect(copied: Measured, **rows: int) -> None:
    told = places.told(copied)["rows"]
    if {name: told[name] for name in rows} != rows:
        raise Wrong(f"{told} instead of {rows}")


class Register:
    """A register in `city`, its watermark indexed, and copies of it in `target`, each with a spool that is kept."""

    def __init__(self, server: Server, rows: int, folder: Path) -> None:
        self.server, self.rows, self.folder = server, rows, folder
        self.source, self.target = (places.url(server, name) for name in (places.SOURCE, places.TARGET))
        server.execute(
            "DROP TABLE IF EXISTS population",
            population.create("population"),
            population.fill("population", rows),
            "CREATE INDEX ON population (updated_at)",
            "VACUUM ANALYZE population",
        )

    def copy(self, *options: str) -> Measured:
        """Between two runs of an exchange autovacuum, which is off while something is measured, does its work on both sides."""
        self.server.execute("VACUUM ANALYZE", database=places.TARGET)
        self.server.execute("VACUUM ANALYZE population", "CHECKPOINT")
        return places.copy(self.source, self.target, self.folder / "-".join(("spool", *options)), *options)

    def empty(self) -> None:
        found = self.server.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", places.TARGET)
        self.server.execute(*(f'DROP TABLE public."{name}"' for (name,) in found), database=places.TARGET)
        for spool in self.folder.glob("spool-*"):
            shutil.rmtree(spool)

    def change(self, round_: int, rounds: int) -> None:
        """One row in a hundred, other ones each round, an hour after those before: a run reads its own again, and no others."""
        self.server.execute(
            f"UPDATE population SET phone = '0935' || id, updated_at = localtimestamp - interval '{rounds - round_} hours'"
            f" WHERE id % 100 = {round_ % 100}",
        )


def watermark(server: Server, rows: int, rounds: int, folder: Path) -> tuple[list[Line], bool]:
    """The lines of the table, and whether the goal is held."""
    register = Register(server, rows, folder)
    full: list[Measured] = []
    for _ in range(rounds):
        register.empty()
        full.append(register.copy("--mode", "full"))
    register.empty()
    first = register.copy(*WATERMARK)
    expect(first, read=rows, inserted=rows)
    some, none = [], []
    for number in range(1, rounds + 1):
        register.change(number, rounds)
        some.append(register.copy(*WATERMARK))
        expect(some[-1], inserted=0, updated=rows // 100)
        none.append(register.copy(*WATERMARK))
        expect(none[-1], sent=0, inserted=0, updated=0, deleted=0)
        print(f"  watermark {number}/{rounds}: {some[-1].seconds:.2f} s", file=sys.stderr, flush=True)
    whole = statistics.median(one.seconds for one in full)
    inside = _inside(full)
    lines = [
        _line("full copy", full, "1.00"),
        _line("watermark, first run: everything", [first], f"{first.seconds / whole:.2f}"),
    ]
    held = True
    for name, done in (("watermark, 1 % changed", some), ("watermark, nothing changed: 0 rows moved", none)):
        by_process, by_engine = statistics.median(one.seconds for one in done) / whole, _inside(done) / inside
        held = held and by_process <= SHARE
        lines.append(_line(name, done, f"{report.verdict(by_process, SHARE)}; engine alone {by_engine:.2f}"))
    return lines, held


def _inside(done: Sequence[Measured]) -> float:
    return statistics.median(places.told(one)["seconds"]["total"] for one in done)


def _line(name: str, done: Sequence[Measured], ratio: str) -> Line:
    seconds = statistics.median(one.seconds for one in done)
    peak = max(one.peak_mib for one in done)
    return (name, f"{seconds:.2f}", f"{_inside(done):.2f}", ratio, f"{peak:.0f}")


# -- the stage of a diff alone


def make_rows(path: Path, rows: int, *, later: bool) -> None:
    """The register as an Arrow file in the types of a target, `later` with 1 % of it different."""
    from jinqiao.dataplane.connectors.values import arrow_schema

    schema = arrow_schema(_columns())
    texts = {
        "id_number": "'620302' || strftime(birth, '%Y%m%d') || lpad((i % 10000)::varchar, 4, '0')",
        "name": "'王' || chr((20000 + i % 5000)::int) || chr((21000 + i % 700)::int)",
        "phone": "CASE WHEN later AND i % 250 = 1 THEN '0935' || i ELSE (13000000000 + i)::varchar END",
        "residence_type": "i % 5",
    }
    expressions = ", ".join(
        f"({texts.get(name, expression)}) AS {name}".replace("::text", "::varchar").replace("i / 3", "i // 3")
        for name, _, expression in population.COLUMNS
    )
    some = (
        f"SELECT i, {str(later).lower()} AS later FROM range(1, {rows + 1}) AS n(i)"
        + (" WHERE i % 1000 NOT IN (7, 8, 9)" if later else "")
        + (
            f" UNION ALL SELECT i + {2 * rows}, true FROM range(1, {rows + 1}) AS n(i) WHERE i % 1000 IN (17, 18, 19)"
            if later
            else ""
        )
    )
    with contextlib.closing(duckdb.connect()) as connection:
        found = connection.execute(
            f"SELECT {expressions} FROM (SELECT i, later, (date '1930-01-01' + (i % 34000)::int)::date AS birth FROM ({some}))"
        ).to_arrow_reader(BATCH_ROWS)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            for batch in found:
                writer.write_batch(batch.cast(schema))


def _columns() -> tuple[Any, ...]:
    from jinqiao.kernel.contracts.tables import Column, LogicalType

    kinds = {"bigint": LogicalType.INTEGER, "date": LogicalType.DATE, "boolean": LogicalType.BOOLEAN,
             "double precision": LogicalType.DOUBLE, "timestamp": LogicalType.DATETIME, "numeric(12, 2)": LogicalType.DECIMAL}  # fmt: skip
    return tuple(
        Column(
            name=name, type=kinds.get(type_, LogicalType.TEXT), nullable=name != "id", primary_key=name == "id",
            precision=12 if "numeric" in type_ else None, scale=2 if "numeric" in type_ else None,
        )
        for name, type_, _ in population.COLUMNS
    )  # fmt: skip


def stage_alone(folder: Path) -> dict[str, Any]:
    """One diff of the two files in `folder`, in this process: its seconds, what it found."""
    from jinqiao.dataplane.pipeline.modes.diff import DiffSession
    from jinqiao.dataplane.staging.state import StateStore
    from jinqiao.kernel.crypto.suites import suite

    key = (folder / "key").read_bytes() if (folder / "key").exists() else suite("international").new_key()
    (folder / "key").write_bytes(key)
    state = StateStore(folder / "state", key, "international").task("benchmark")
    delivered = (folder / "delivered").read_text() if (folder / "delivered").exists() else ""
    order = _order(delivered)
    rows = folder / ("later.arrow" if delivered else "first.arrow")
    reading = _timed(lambda: _through(rows, lambda batch: None))
    began = time.perf_counter()
    with DiffSession(state, order) as session:
        _through(rows, session.filter)
        deletes = sum(batch.num_rows for batch in session.deletes())
        counts = session.counts
        session.save("B-2" if delivered else "B-1")
    seconds = time.perf_counter() - began
    if not delivered:
        (folder / "delivered").write_text("B-1")
    return {
        "seconds": seconds - reading, "with_reading": seconds, "inserted": counts.inserted, "updated": counts.updated,
        "deleted": deletes, "unchanged": counts.unchanged,
    }  # fmt: skip


def _order(after: str) -> Any:
    from dataclasses import replace

    from jinqiao.kernel.contracts.exchange import CopyMode
    from jinqiao.kernel.contracts.grants import GrantedItem
    from tests.dataplane.exchanges import order

    items = tuple(
        GrantedItem(item=column.name, code=column.name, column=column.name, type=column.type, precision=column.precision,
                    scale=column.scale)
        for column in _columns()
    )  # fmt: skip
    return replace(order("B", items), mode=CopyMode.DIFF, after=after)


def _through(path: Path, do: Callable[[pa.RecordBatch], object]) -> None:
    """Every batch of a file, in THREADS threads."""
    waiting: queue.Queue[pa.RecordBatch | None] = queue.Queue(2 * THREADS)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            while (batch := waiting.get()) is not None:
                do(batch)
        except BaseException as problem:  # noqa: BLE001 -- raised again by the thread that waits for this one
            problems.append(problem)
            while waiting.get() is not None:
                pass

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as batches:
        for batch in batches:
            waiting.put(batch)
    for _ in threads:
        waiting.put(None)
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def _timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def diff(rows: int, rounds: int, folder: Path) -> tuple[list[Line], bool]:
    """The stage in processes of their own: the first run once, the second `rounds` times."""
    make_rows(folder / "first.arrow", rows, later=False)
    make_rows(folder / "later.arrow", rows, later=True)
    command = [sys.executable, "-m", "benchmarks.incremental", "--stage-alone", str(folder)]
    first = measuring.run(command)
    later = []
    for number in range(1, rounds + 1):
        later.append(measuring.run(command))
        found = json.loads(later[-1].output)
        wanted = {"inserted": 3 * rows // 1000, "updated": rows // 250, "deleted": 3 * rows // 1000}
        if {name: found[name] for name in wanted} != wanted:
            raise Wrong(f"{found} instead of {wanted}")
        print(f"  diff {number}/{rounds}: {found['seconds']:.2f} s", file=sys.stderr, flush=True)
    lines: list[Line] = []
    held = True
    for name, done in (
        (f"diff stage, {rows:,} rows, nothing known", [first]),
        (f"diff stage, {rows:,} against {rows:,}", later),
    ):
        alone = statistics.median(json.loads(one.output)["seconds"] for one in done)
        read = statistics.median(json.loads(one.output)["with_reading"] for one in done)
        peak = max(one.peak_mib for one in done)
        goals = (DIFF_S, DIFF_MIB) if done is later else (None, None)
        held = held and (done is first or (alone <= DIFF_S and peak <= DIFF_MIB))
        lines.append((name, f"{read:.2f}", f"{alone:.2f}", report.verdict(alone, goals[0], "{:.1f} s"), report.verdict(peak, goals[1], "{:.0f}")))  # fmt: skip
    return lines, held


def whole(server: Server, rows: int, folder: Path) -> list[Line]:
    register = Register(server, rows, folder)
    register.empty()
    full = register.copy("--mode", "full")
    register.empty()
    first = register.copy(*DIFF)
    expect(first, read=rows, inserted=rows)
    register.change(1, 1)
    some = register.copy(*DIFF)
    expect(some, read=rows, inserted=0, updated=rows // 100, deleted=0)
    none = register.copy(*DIFF)
    expect(none, read=rows, sent=0, inserted=0, updated=0, deleted=0)
    return [
        _line(name, [done], f"{done.seconds / full.seconds:.2f}")
        for name, done in (
            (f"full copy of {rows:,}", full),
            ("whole diff run, first", first),
            ("whole diff run, 1 % changed", some),
            ("whole diff run, nothing changed: 0 rows moved", none),
        )
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--diff-rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="watermark,diff,whole", help="watermark,diff,whole")
    parser.add_argument("--report", type=Path, help="file for the table in Markdown; it is printed in any case")
    parser.add_argument("--stage-alone", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    places.stop_when_told()
    if given.stage_alone:
        print(json.dumps(stage_alone(given.stage_alone)))
        return 0
    only, lines, held = set(given.only.split(",")), list[Line](), True
    about = report.machine()
    with _folder() as folder:
        try:
            if only & {"watermark", "whole"}:
                with places.postgresql() as server:
                    about = report.machine(server)
                    if "watermark" in only:
                        found, held = watermark(server, given.rows, given.rounds, folder)
                        lines += found
                    if "whole" in only:
                        lines += whole(server, given.diff_rows, folder)
            if "diff" in only:
                found, is_held = diff(given.diff_rows, given.rounds, folder)
                lines, held = lines + found, held and is_held
        except Wrong as wrong:
            print(f"moved what it should not: {wrong}", file=sys.stderr)
            return 1
    head = ("", "s", "in the engine s", "× the full copy, or the goal", "peak MiB")
    words = f"Medians of {given.rounds} rounds; {about}; code {report.revision()}.\n\n{report.table(head, lines)}\n"
    print(words)
    if given.report:
        given.report.write_text(words, encoding="utf-8")
    return 0 if held else 2


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="jq-incremental-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
