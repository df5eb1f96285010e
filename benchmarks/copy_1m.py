"""How fast an exchange moves a table, against the limit: `psql COPY binary | psql COPY binary` in the same run.

    python benchmarks/copy_1m.py [--rows 1000000] [--rounds 3]

A population-like table of 23 columns goes from one PostgreSQL database to another: extract (one snapshot, checks, digests,
encryption, staging), hand over, deliver (verification, ledger, merge, counts). Rounds alternate with the limit; medians are
given, with the peak memory of each process. Nothing is tuned for the run: the server is the tests' own.
"""

import argparse
import itertools
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import CheckRule, CopyMode, ExchangeOrder
from jinqiao.kernel.contracts.grants import GrantedItem, GrantTerms, SharingMode
from jinqiao.kernel.contracts.tables import LogicalType
from jinqiao.kernel.crypto.identity import Identity
from tests import servers

T, N, D = LogicalType.TEXT, LogicalType.INTEGER, LogicalType.DATE
COLUMNS: tuple[tuple[str, LogicalType, int | None, str], ...] = (
    ("id", N, None, "i"),
    ("id_number", T, 18, "'62030219900101' || lpad((i % 10000)::text, 4, '0')"),
    ("name", T, 64, "'王' || chr(20000 + i % 5000) || chr(21000 + i % 700)"),
    ("sex", T, 1, "(i % 2 + 1)::text"),
    ("birth_date", D, None, "date '1930-01-01' + i % 34000"),
    ("ethnic_code", T, 2, "lpad((i % 56 + 1)::text, 2, '0')"),
    ("region_code", T, 6, "'62030' || (i % 5)::text"),
    ("address", T, 200, "'甘肃省金昌市金川区人民路' || i % 999 || '号幸福小区' || i % 30 || '幢' || i % 2999 || '室'"),
    ("phone", T, 20, "(13000000000 + i)::text"),
    ("marital_code", T, 2, "(10 + i % 20)::text"),
    ("edu_code", T, 2, "(10 + i % 80)::text"),
    ("occupation_code", T, 4, "lpad((i % 9999)::text, 4, '0')"),
    ("household_no", T, 20, "'620302' || lpad((i / 3)::text, 12, '0')"),
    ("household_rel", T, 2, "lpad((i % 99)::text, 2, '0')"),
    ("residence_type", N, None, "i % 5"),
    ("income", LogicalType.DECIMAL, None, "(i % 5000000)::numeric(12, 2) / 100"),
    ("is_resident", LogicalType.BOOLEAN, None, "i % 5 > 0"),
    ("lon", LogicalType.DOUBLE, None, "102 + random()"),
    ("lat", LogicalType.DOUBLE, None, "38 + random()"),
    ("employer", T, 100, "CASE WHEN i % 5 > 1 THEN '单位' || i % 50000 || '有限公司' END"),
    ("remark", T, 200, "CASE WHEN i % 7 = 0 THEN '迁入登记' END"),
    ("created_at", LogicalType.DATETIME, None, "timestamp '2015-01-01' + i % 300000000 * interval '1 second'"),
    ("updated_at", LogicalType.DATETIME, None, "timestamp '2026-01-01' + i % 20000000 * interval '1 second'"),
)
SQL = {N: "bigint", D: "date", LogicalType.DECIMAL: "numeric(12, 2)", LogicalType.BOOLEAN: "boolean",
       LogicalType.DOUBLE: "double precision", LogicalType.DATETIME: "timestamp"}  # fmt: skip


def table_sql(name: str) -> str:
    columns = ", ".join(
        f"{column} {f'varchar({length})' if length else SQL[kind]}" for column, kind, length, _ in COLUMNS
    )
    return f"CREATE TABLE {name} ({columns}, PRIMARY KEY (id))"


def items() -> tuple[GrantedItem, ...]:
    return tuple(
        GrantedItem(
            item=name, code=name, column=name, type=kind, length=length,
            precision=12 if kind is LogicalType.DECIMAL else None, scale=2 if kind is LogicalType.DECIMAL else None,
        )
        for name, kind, length, _ in COLUMNS
    )  # fmt: skip


def order(run_id: str, provider: Identity, consumer: Identity) -> ExchangeOrder:
    grant = GrantTerms(
        grant_id="SQ-2026-0001/1", entry_code="benchmark", provider="A", provider_name="A", consumer="B", consumer_name="B",
        mode=SharingMode.BATCH, items=items(), valid_from=date(2026, 1, 1), valid_until=date(2026, 12, 31),
    )  # fmt: skip
    return ExchangeOrder(
        run_id=run_id, task_id="T", grant=grant, mode=CopyMode.FULL, provider_node="a", consumer_node="b",
        consumer_identity=consumer.public.to_json(), provider_identity=provider.public.to_json(),
        source_table="population", key_columns=("id",), target_table="population",
        checks=(CheckRule(check="required", item="name"),),
    )  # fmt: skip


def limit(server: servers.Server) -> float:
    """Seconds of the bare pipe into a table with the same key."""
    server.execute("DROP TABLE IF EXISTS population", table_sql("population"), database="target")
    address = f"-h {server.host} -p {server.port} -U {server.user} -qX"
    command = (
        f"set -o pipefail; psql {address} -d city -c 'COPY population TO STDOUT (FORMAT binary)'"
        f" | psql {address} -d target -c 'COPY population FROM STDIN (FORMAT binary)'"
    )
    began = time.perf_counter()
    subprocess.run(["bash", "-c", command], check=True, env={**os.environ, "PGPASSWORD": server.password})
    return time.perf_counter() - began


def exchange(server: servers.Server, folder: Path, *, again: bool) -> dict[str, float]:
    """Seconds of each part of one run, in this process; `again` delivers into the table that is already there."""
    if not again:
        server.execute("DROP TABLE IF EXISTS population", "DROP TABLE IF EXISTS jinqiao_ledger", database="target")
    provider, consumer = Identity.generate(), Identity.generate()
    asked = order(f"RUN-{random.getrandbits(32):08x}", provider, consumer)
    spool = Spool(folder)
    marks = [time.perf_counter()]

    def mark() -> None:
        marks.append(time.perf_counter())

    with open_source(server.connection(), server.password) as source:
        manifest = pipeline.extract(asked, source, spool=spool)
    mark()
    for chunk in manifest.chunks:
        path = spool.outgoing(asked.run_id).chunk_path(chunk.number)
        landed = spool.incoming(asked.run_id).chunk_path(chunk.number)
        landed.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, landed)
    mark()
    with open_target(server.connection(database="target"), server.password) as target:
        counts = pipeline.deliver(asked, manifest, target, spool=spool, identity=consumer)
    mark()
    assert counts.target_rows == manifest.rows
    spool.purge(asked.run_id)
    parts = dict(
        zip(
            ("extract", "hand over", "deliver"),
            (after - before for before, after in itertools.pairwise(marks)),
            strict=True,
        )
    )
    return {**parts, "whole": marks[-1] - marks[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="jq-copy-"))
    with servers.postgresql() as server:
        expressions = ", ".join(expression for *_, expression in COLUMNS)
        server.execute(
            table_sql("population"),
            f"INSERT INTO population SELECT {expressions} FROM generate_series(1, {given.rows}) AS i",
            "ANALYZE population",
            "CREATE DATABASE target",
        )
        bare: list[float] = []
        runs: dict[str, list[dict[str, float]]] = {"new table": [], "same rows again": []}
        steps: tuple[tuple[str, Callable[[], dict[str, float]]], ...] = (
            ("new table", lambda: exchange(server, folder, again=False)),
            ("same rows again", lambda: exchange(server, folder, again=True)),
        )
        for _ in range(given.rounds):
            bare.append(limit(server))
            for name, step in steps:
                runs[name].append(step())
    shutil.rmtree(folder)
    base = statistics.median(bare)
    print(f"{given.rows:,} rows × {len(COLUMNS)} columns, {given.rounds} rounds, median seconds (× the limit)")
    print(f"limit: psql COPY | psql COPY      {base:6.2f} (1.00)")
    for name, parts in runs.items():
        for part in parts[0]:
            seconds = statistics.median(run[part] for run in parts)
            print(f"{name:16} {part:10}      {seconds:6.2f} ({seconds / base:.2f})")
    print(f"peak memory of the exchange: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
