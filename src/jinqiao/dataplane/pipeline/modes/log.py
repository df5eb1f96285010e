"""Log: what was committed since the last delivery, in exactly one instant of the source (PostgreSQL, logical decoding).

The first run makes the slot, reads the whole table in the snapshot of exactly the slot's beginning, and starts from there: no
change is lost between both, none comes twice. Later runs bring the last state of every key that changed, and the keys that are
gone: deleted, renamed by a change of the key, or no longer let through by the grant's row filter. A row that a check sets aside
is gone, too, as in a full run. TRUNCATE makes the batch complete: what came after it is all that there is.

A large value that did not change does not stand in the log (TOAST). It is taken from an earlier change in the same batch, from
the row before where the table has REPLICA IDENTITY FULL, and otherwise read from the table as it is now; a row that is gone by
then counts as deleted. Columns that the log does not hold (generated ones) are read the same way.
"""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, Source, select_columns
from jinqiao.dataplane.connectors.file_source import kept, with_columns
from jinqiao.dataplane.connectors.pgoutput import UNCHANGED, Key, Values
from jinqiao.dataplane.connectors.postgresql import Place, PostgresqlSource
from jinqiao.dataplane.connectors.postgresql_log import MOST_KEYS, ChangeLog, reread
from jinqiao.dataplane.connectors.postgresql_slots import slot_of
from jinqiao.dataplane.connectors.postgresql_snapshot import PostgresqlSnapshot
from jinqiao.dataplane.connectors.snapshots import WHOLE, Reader, Snapshot, SnapshotState
from jinqiao.dataplane.connectors.values import arrow_schema, arrow_type, fit
from jinqiao.dataplane.errors import FilterNotPossible, LogNotPossible
from jinqiao.dataplane.pipeline.orders import target_columns, target_keys, value_column
from jinqiao.dataplane.pipeline.session import Session
from jinqiao.dataplane.staging.fingerprints import FingerprintIndex, Fingerprints, key_fingerprints, none_of
from jinqiao.kernel.contracts.exchange import ExchangeOrder
from jinqiao.kernel.contracts.tables import Column, Engine, LogicalType, Mask, Operator, TableSchema
from jinqiao.kernel.crypto.suites import suite

KIND = "change log"
_ZONE = re.compile(rb"[+-]\d\d(:\d\d){0,2}$")


class LogSession(Session):
    """One log run, together with the LogSource that it makes of the order's source."""

    can_resume = False  # the last states are in this process only

    def __init__(self, order: ExchangeOrder) -> None:
        self.complete = not order.after
        self._order = order
        self._algorithms = suite("international")
        schema, keys = arrow_schema(target_columns(order)), target_keys(order)
        self._schema = pa.schema([field for field in schema if field.name in keys])
        # source column of each key column of the target
        plain = {item.column: item for item in reversed(order.grant.items) if item.mask is Mask.NONE}
        self._items = [plain[column] for column in order.key_columns]
        self._names = keys
        self._passed: list[Fingerprints] = []
        self._told: list[pa.RecordBatch] = []
        self._gone: list[pa.RecordBatch] = []
        self.cursor = ""

    def tell(self, keys: list[pa.Array], *, gone: bool) -> None:
        """Keys of rows that are on their way, or are gone; arrays of the source's key columns, in the order of the order."""
        fitted = {
            name: fit(values, arrow_type(value_column(item))).values
            for name, values, item in zip(self._names, keys, self._items, strict=True)
        }
        batch = pa.RecordBatch.from_arrays([fitted[name] for name in self._schema.names], schema=self._schema)
        whole = np.ones(batch.num_rows, np.bool_)
        for values in batch.columns:
            whole &= values.is_valid().to_numpy(zero_copy_only=False)
        # a key that does not fit was never delivered
        (self._gone if gone else self._told).append(batch.filter(pa.array(whole)))

    def filter(self, batch: pa.RecordBatch, marks: pa.Array | None = None) -> pa.RecordBatch:
        if not self.complete and batch.num_rows:
            self._passed.append(key_fingerprints(batch.select(self._schema.names), self._algorithms))
        return batch

    def deletes(self) -> Iterator[pa.RecordBatch]:
        """Keys that are gone, and those of rows that were set aside."""
        if self.complete:
            return
        yield from self._gone
        passed = FingerprintIndex(np.concatenate(self._passed) if self._passed else none_of())
        for batch in self._told:
            aside = passed.find(key_fingerprints(batch, self._algorithms)) < 0
            if aside.any():
                yield batch.filter(pa.array(aside))

    def save(self, batch_id: str) -> str:
        return self.cursor


class LogSource(Source):
    """A PostgreSQL table as its changes: read like any source, it gives the rows that changed. Made for one order."""

    engine: ClassVar[Engine] = Engine.POSTGRESQL
    snapshot = KIND

    def __init__(self, source: Source, order: ExchangeOrder, session: LogSession, most_keys: int = MOST_KEYS) -> None:
        """Raises LogNotPossible for another engine, FilterNotPossible where the log cannot be filtered as the table is."""
        if not isinstance(source, PostgresqlSource):
            raise LogNotPossible(engine=source.engine.value)
        self._source, self._order, self._session, self._most_keys = source, order, session, most_keys
        self._place: Place = source._place
        self._log = ChangeLog(self._place, order.source_table, order.key_columns, slot_of(order))
        for condition, column in with_columns(order.grant.row_filter, source.schema(order.source_table)):
            # the order of texts is the database's own
            if column.type is LogicalType.TEXT and condition.operator in (Operator.AT_LEAST, Operator.AT_MOST):
                raise FilterNotPossible(column=column.name, type=column.type.value)

    def test(self) -> str:
        return self._source.test()

    def tables(self) -> tuple[TableSchema, ...]:
        return self._source.tables()

    def schema(self, table: str) -> TableSchema:
        return self._source.schema(table)

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        """The rows that changed since the order's cursor; tells the session what is gone and how far the log was read."""
        schema = self.schema(plan.table)
        conditions = with_columns(plan.row_filter, schema)
        names = tuple(dict.fromkeys((*plan.columns, *self._order.key_columns, *(one.column for one, _ in conditions))))
        columns = select_columns(schema, names)
        changes = self._log.read(self._order.after, stop=plan.stop, most_keys=self._most_keys)
        states, session = changes.states, self._session
        session.cursor = changes.cursor
        session.complete = session.complete or states.truncated
        present, gone = self._whole(list(states.present()), states.columns, columns, schema)
        by_name = {column.name: column for column in schema.columns}
        keys = [by_name[name] for name in self._order.key_columns]
        gone.extend(states.gone())
        session.tell([_array([key[at] for key in gone], column) for at, column in enumerate(keys)], gone=True)
        for start in range(0, len(present), plan.batch_rows):
            part = present[start : start + plan.batch_rows]
            arrays = [_array([row[at] for _, row in part], column) for at, column in enumerate(columns)]
            batch = pa.RecordBatch.from_arrays(arrays, names=list(names))
            passing = kept(_numbered(batch), conditions, plan.table)
            is_in = np.zeros(len(part), np.bool_)
            is_in[passing.column(_NUMBER).to_numpy()] = True
            session.tell([batch.column(key.name).filter(pa.array(~is_in)) for key in keys], gone=True)
            session.tell([batch.column(key.name).filter(pa.array(is_in)) for key in keys], gone=False)
            yield passing.select(list(plan.columns))

    def _whole(
        self, rows: list[tuple[Key, Values]], given: tuple[str, ...], columns: tuple[Column, ...], schema: TableSchema
    ) -> tuple[list[tuple[Key, Values]], list[Key]]:
        """Rows with exactly these columns, what the log does not hold read from the table; keys of those that are gone."""
        places = [given.index(column.name) if column.name in given else None for column in columns]
        cut = [
            (key, [UNCHANGED if place is None else values[place] for place in places]) for key, values in rows
        ]
        lacking = [key for key, values in cut if UNCHANGED in values]
        if not lacking:
            return cut, []
        names = sorted({columns[at].name for _, values in cut for at, value in enumerate(values) if value is UNCHANGED})
        types = {column.name: column.native_type for column in schema.columns}
        found = reread(self._place, self._order.source_table, self._order.key_columns, types, lacking, names)
        at_of = {name: at for at, name in enumerate(names)}
        present: list[tuple[Key, Values]] = []
        gone: list[Key] = []
        for key, values in cut:
            if UNCHANGED in values:
                now = found.get(key)
                if now is None:
                    gone.append(key)
                    continue
                values = [
                    now[at_of[column.name]] if value is UNCHANGED else value
                    for value, column in zip(values, columns, strict=True)
                ]
            present.append((key, values))
        return present, gone

    def open_snapshot(
        self, plan: ReadPlan, *, parallel: int = 1, resume: SnapshotState | None = None, chunk_rows: int = 100_000
    ) -> Snapshot:
        if self._order.after:
            return _LogSnapshot(self, plan)
        timeout_s, stop = plan.statement_timeout_s, plan.stop
        with self._log.begin(timeout_s=timeout_s, stop=stop) as beginning:
            self._session.cursor = beginning.cursor
            return PostgresqlSnapshot(
                self._source.query(plan), parallel=parallel, resume=None, chunk_rows=chunk_rows, of=beginning.snapshot
            )


class _LogSnapshot(Snapshot):
    """The log up to the present: one reading."""

    def __init__(self, source: LogSource, plan: ReadPlan) -> None:
        self._source, self._plan = source, plan
        self.state = SnapshotState(KIND, "", (WHOLE,))

    def reader(self) -> Reader:
        return _LogReader(self._source, self._plan)


class _LogReader(Reader):
    def __init__(self, source: LogSource, plan: ReadPlan) -> None:
        self._source, self._plan = source, plan

    def read(self, split: str) -> Iterator[pa.RecordBatch]:
        return self._source.read(self._plan)


_NUMBER = "#number"


def _numbered(batch: pa.RecordBatch) -> pa.RecordBatch:
    numbers = pa.array(np.arange(batch.num_rows))
    return pa.RecordBatch.from_arrays([*batch.columns, numbers], names=[*batch.schema.names, _NUMBER])


def _array(values: list[Any], column: Column) -> pa.Array:
    """Texts of the log in the form in which a reading of the table gives them; what cannot be parsed stays text for `values.fit`."""
    match column.type:
        case LogicalType.BOOLEAN:
            return pa.array([None if value is None else value == b"t" for value in values], pa.bool_())
        case LogicalType.BINARY:
            return pa.array([None if value is None else bytes.fromhex(value[2:].decode()) for value in values], pa.binary())
        case LogicalType.DOUBLE:
            single = column.native_type == "real"
            return pa.array([None if value is None else _double(value, single) for value in values], pa.float64())
        case LogicalType.DATETIME if "with time zone" in column.native_type:
            values = [None if value is None else _ZONE.sub(b"", value) for value in values]
        case LogicalType.TEXT if column.native_type.startswith("character("):
            values = [None if value is None else value.rstrip(b" ") for value in values]
    texts = pa.array(values, pa.binary()).cast(pa.string())
    return fit(texts, pa.int64()).values if column.type is LogicalType.INTEGER else texts


def _double(text: bytes, single: bool) -> float:
    value = float(text)
    return float(np.float32(value)) if single else value

