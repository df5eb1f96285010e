"""Builders for exchanges: orders over a small typed table, the way of a batch from one connection to another."""

import sqlite3
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import DeliveryPlan, ReadPlan, Source, Target, open_source, open_target
from jinqiao.dataplane.connectors.values import arrow_schema, arrow_type, fit
from jinqiao.dataplane.pipeline import Spool
from jinqiao.dataplane.staging.state import StateStore
from jinqiao.kernel.contracts.exchange import BatchManifest, ChunkManifest, CopyMode, DeliveryCounts, ExchangeOrder
from jinqiao.kernel.contracts.grants import GrantedItem, GrantTerms, SharingMode
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.digests import canonical_text

PROVIDER, CONSUMER = Identity.generate(), Identity.generate()
STATE_KEY = suite(PROVIDER.suite).new_key()
PEOPLE = (
    GrantedItem(item="编号", code="id", column="id", type=LogicalType.INTEGER),
    GrantedItem(item="姓名", code="name", column="name", type=LogicalType.TEXT, length=60),
    GrantedItem(item="出生日期", code="born", column="born", type=LogicalType.DATE),
    GrantedItem(item="更新时间", code="updated", column="updated", type=LogicalType.DATETIME),
)
PEOPLE_TABLE = "CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(60), born DATE, updated DATETIME)"


def order(run_id: str = "RUN-1", items: Sequence[GrantedItem] = PEOPLE, **changes: Any) -> ExchangeOrder:
    """A full run of `people` keyed by `id`; `row_filter` goes into the grant."""
    terms = GrantTerms(
        grant_id="SQ-2026-0001/1",
        entry_code="307011040300001/000001",
        provider="11620300013975401U",
        provider_name="民政局",
        consumer="11620300013975402N",
        consumer_name="教育局",
        mode=SharingMode.BATCH,
        items=tuple(items),
        row_filter=changes.pop("row_filter", ()),
        valid_from=date(2026, 1, 1),
        valid_until=date(2026, 12, 31),
    )
    given: dict[str, Any] = {
        "run_id": run_id,
        "task_id": "T-1",
        "grant": terms,
        "mode": CopyMode.FULL,
        "provider_node": "minzheng",
        "consumer_node": "jiaoyu",
        "consumer_identity": CONSUMER.public.to_json(),
        "provider_identity": PROVIDER.public.to_json(),
        "source_table": "people",
        "key_columns": ("id",),
        "target_table": "residents",
    }
    return ExchangeOrder(**(given | changes))


def states_of(spool: Spool) -> StateStore:
    """What a node with this spool remembers of what was delivered."""
    return StateStore(spool.root / "state", STATE_KEY, PROVIDER.suite)


def hand_over(spool: Spool, run_id: str, manifest: BatchManifest) -> None:
    """What the relay does: the provider's chunks become the consumer's."""
    for chunk in manifest.chunks:
        spool.incoming(run_id).write_chunk(chunk.number, spool.outgoing(run_id).read_chunk(chunk.number))


def exchange(
    order: ExchangeOrder, source: Connection, target: Connection, spool: Spool, passwords: tuple[str, str] = ("", "")
) -> tuple[BatchManifest, DeliveryCounts]:
    """A whole run, between any two connections."""
    with open_source(source, passwords[0]) as opened:
        manifest = pipeline.extract(order, opened, spool=spool, identity=PROVIDER, states=states_of(spool))
    hand_over(spool, order.run_id, manifest)
    with open_target(target, passwords[1]) as taken:
        counts = pipeline.deliver(order, manifest, taken, spool=spool, identity=CONSUMER)
    return manifest, counts


def sqlite_at(path: Path) -> Connection:
    return Connection(engine=Engine.SQLITE, database=str(path))


def csv_at(folder: Path) -> Connection:
    folder.mkdir(exist_ok=True)
    return Connection(engine=Engine.CSV, database=str(folder))


def people(path: Path, rows: Sequence[tuple[Any, ...]]) -> Connection:
    """A SQLite file with the table `people`."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("DROP TABLE IF EXISTS people")
        connection.execute(PEOPLE_TABLE)
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return sqlite_at(path)


def some_people(count: int, first: int = 1) -> list[tuple[Any, ...]]:
    return [(number, f"王小明{number}", "1890-02-28", "2026-03-01 08:00:00") for number in range(first, first + count)]


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def rows_of(path: Path, table: str, order_by: str = "1") -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT * FROM {table} ORDER BY {order_by}").fetchall()
    finally:
        connection.close()


def write_table(
    target: Target, table: str, columns: Sequence[Column], keys: Sequence[str], rows: pa.Table, **changes: Any
) -> DeliveryCounts:
    """Rows into a table through the target itself, as one batch; `changes` go into its plan."""
    given: dict[str, Any] = {
        "batch_id": f"{table}.1", "run_id": table, "table": table, "columns": tuple(columns), "keys": tuple(keys),
        "mode": CopyMode.FULL, "rows": rows.num_rows, "chunks": 1,
    }  # fmt: skip
    plan = DeliveryPlan(**(given | changes))
    target.prepare(plan)
    target.load(
        plan, ChunkManifest(number=1, rows=rows.num_rows, size_bytes=0, digest="0" * 64, content_digest="0" * 64), rows
    )
    counts = target.merge(plan)
    target.clean(plan)
    return counts


def read_table(source: Source, table: str, columns: Sequence[Column], **plan: Any) -> pa.Table:
    """The rows of a table, each value exactly in the type wanted."""
    schema = arrow_schema(tuple(columns))
    batches = []
    for batch in source.read(ReadPlan(table=table, columns=tuple(column.name for column in columns), **plan)):
        fitted = [fit(values, arrow_type(column)) for values, column in zip(batch.columns, columns, strict=True)]
        assert all(column.bad is None for column in fitted)
        batches.append(pa.RecordBatch.from_arrays([column.values for column in fitted], schema=schema))
    return pa.Table.from_batches(batches, schema)


def canonical(rows: pa.Table, columns: Sequence[Column]) -> list[tuple[str | None, ...]]:
    """Rows as canonical texts, sorted: the same for the same content in whatever order and type."""
    shown = [
        [canonical_text(value, column.type) for value in rows.column(column.name).to_pylist()] for column in columns
    ]
    return sorted(zip(*shown, strict=True), key=repr)
