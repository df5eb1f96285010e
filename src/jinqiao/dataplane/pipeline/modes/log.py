"""Log: what was committed since the last delivery, in exactly one instant of the source (PostgreSQL, logical decoding).

The first run makes the slot, reads the whole table in the snapshot of exactly the slot's beginning, and starts from there: no
change is lost between both, none comes twice. Later runs bring the last state of every key that changed, and the keys that are
gone: deleted, renamed by a change of the key, or no longer let through by the grant's row filter. A row that a check sets aside
is gone, too, as in a full run. TRUNCATE makes the batch complete: what came after it is all that there is.

Killed, a run goes on. The first one finds its snapshot again, and the slot that began with it. A later one keeps what it reads of
the log, in pieces (`connectors.log_pieces`), and the keys that are gone of every split of rows that is staged; the positions from
and to which it reads stay as they were. A log is acknowledged only after its delivery, so that nothing is lost with a piece.

A large value that did not change does not stand in the log (TOAST). It is taken from an earlier change in the same batch, from
the row before where the table has REPLICA IDENTITY FULL, and otherwise read from the table as it is now; a row that is gone by
then counts as deleted. Columns that the log does not hold (generated ones) are read the same way.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, Source, select_columns
from jinqiao.dataplane.connectors.file_source import kept, with_columns
from jinqiao.dataplane.connectors.log_pieces import Nowhere, Piece, Pieces
from jinqiao.dataplane.connectors.pgoutput import UNCHANGED, Key, LastStates, Values
from jinqiao.dataplane.connectors.postgresql import PostgresqlSource
from jinqiao.dataplane.connectors.postgresql_log import MOST_KEYS, ChangeLog, reread
from jinqiao.dataplane.connectors.postgresql_slots import slot_of
from jinqiao.dataplane.connectors.postgresql_snapshot import PostgresqlSnapshot
from jinqiao.dataplane.connectors.protection import Throttle
from jinqiao.dataplane.connectors.ranges import bounds_of, key_ranges
from jinqiao.dataplane.connectors.snapshots import WHOLE, Reader, Snapshot, SnapshotState
from jinqiao.dataplane.connectors.values import arrow_schema, arrow_type, fit
from jinqiao.dataplane.errors import FilterNotPossible, LogNotPossible
from jinqiao.dataplane.pipeline.orders import join_cursor, split_cursor, target_columns, target_keys, value_column
from jinqiao.dataplane.pipeline.session import Notes, Session
from jinqiao.dataplane.staging.fingerprints import FingerprintIndex, Fingerprints, key_fingerprints, none_of
from jinqiao.dataplane.staging.memory import Memory
from jinqiao.dataplane.staging.spool import RunSpool
from jinqiao.kernel.contracts.exchange import ExchangeOrder
from jinqiao.kernel.contracts.tables import Column, LogicalType, Mask, Operator, TableSchema
from jinqiao.kernel.crypto.suites import suite

KIND = "change log"
_ZONE = re.compile(rb"[+-]\d\d(:\d\d){0,2}$")


class LogSession(Session):
    """One log run. The source is asked for its log where other modes read its table."""

    def __init__(self, order: ExchangeOrder, source: Source, schema: TableSchema, most_keys: int = MOST_KEYS) -> None:
        """Raises LogNotPossible for another engine, FilterNotPossible where the log cannot be filtered as the table is."""
        if not isinstance(source, PostgresqlSource):
            raise LogNotPossible(engine=source.engine.value)
        self._order, self._source, self._schema, self._most_keys = order, source, schema, most_keys
        self._log = ChangeLog(source.place, order.source_table, order.key_columns, slot_of(order))
        self._conditions = with_columns(order.grant.row_filter, schema)
        for condition, column in self._conditions:
            # the order of texts is the database's own
            if column.type is LogicalType.TEXT and condition.operator in (Operator.AT_LEAST, Operator.AT_MOST):
                raise FilterNotPossible(column=column.name, type=column.type.value)
        self._keys = _KeyForm(order)
        self._after, _ = split_cursor(order.after)
        self.complete = not self._after
        self.remembers = self.fetches = bool(self._after)
        self._begun: dict[str, Any] = {}
        self._end = self._cursor = ""
        self._states: LastStates | None = None
        self._present: list[tuple[Key, Values]] = []
        self._deleted: list[pa.RecordBatch] = []  # keys, split by split
        self._passed: list[Fingerprints] = []
        self._told: list[pa.RecordBatch] = []
        self._gone: list[pa.RecordBatch] = []

    def open_snapshot(
        self, source: Source, plan: ReadPlan, *, parallel: int, resume: SnapshotState | None, chunk_rows: int
    ) -> Snapshot:
        """The whole table as it is where the slot begins; after the first run, the log up to the present."""
        if self._after:
            self._end = self._begun["end"] if resume is not None else self._log.end(self._after)
            return _LogSnapshot(self, plan, chunk_rows, is_resumed=resume is not None)
        query = self._source.query(plan)
        if resume is not None and self._log.holds(self._begun["cursor"]):
            snapshot = PostgresqlSnapshot(query, parallel=parallel, resume=resume, chunk_rows=chunk_rows)
            if snapshot.resumed:
                self._cursor = self._begun["cursor"]
                return snapshot
            snapshot.close()
        with self._log.begin(timeout_s=plan.statement_timeout_s, stop=plan.stop) as beginning:
            self._cursor = beginning.cursor
            return PostgresqlSnapshot(
                query, parallel=parallel, resume=None, chunk_rows=chunk_rows, of=beginning.snapshot
            )

    def begun(self) -> dict[str, Any]:
        return {"cursor": self._cursor, "end": self._end}

    def may_go_on(self, begun: dict[str, Any]) -> bool:
        self._begun = begun
        return True

    def has_fetched(self, out: RunSpool) -> bool:
        return self.fetches and out.memory(_piece_name(1)) is not None

    def fetch(self, snapshot: Snapshot, memory: Memory) -> None:
        """The log, up to the position that was noted when the run began."""
        if isinstance(snapshot, _LogSnapshot):
            self.follow(snapshot.plan, _Kept(memory))
            snapshot.found(len(self._present))

    def follow(self, plan: ReadPlan, pieces: Pieces | None = None) -> None:
        """Read the log: the last states of all keys."""
        changes = self._log.read(
            self._after, stop=plan.stop, most_keys=self._most_keys, end=self._end, pieces=pieces or Nowhere()
        )
        self._states, self._cursor = changes.states, changes.cursor
        self._present = list(changes.states.present())
        self.complete = changes.states.truncated

    def filter(
        self, batch: pa.RecordBatch, marks: pa.Array | None = None, notes: Notes | None = None
    ) -> pa.RecordBatch:
        if self._after and batch.num_rows:
            self._passed.append(self._keys.prints(batch))
        return batch

    def end_split(self, notes: Notes) -> None:
        """Keys that are gone, and those of rows that were set aside: they are durable with the split."""
        passed = FingerprintIndex(np.concatenate(self._passed) if self._passed else none_of())
        asides = (batch.filter(pa.array(passed.find(self._keys.prints(batch)) < 0)) for batch in self._told)
        gone = [batch for batch in (*self._gone, *asides) if batch.num_rows]
        self._deleted += gone
        notes += gone
        self._passed, self._told, self._gone = [], [], []

    def recall(self, notes: Notes, rows: Iterator[pa.RecordBatch]) -> None:
        self._deleted += notes

    def deletes(self) -> Iterator[pa.RecordBatch]:
        if self.complete or self._states is None:
            return
        yield self._fitted(list(self._states.gone()))
        yield from self._deleted

    def _fitted(self, keys: list[Key]) -> pa.RecordBatch:
        columns = select_columns(self._schema, self._order.key_columns)
        return self._keys.fitted([_array([key[at] for key in keys], column) for at, column in enumerate(columns)])

    def save(self, batch_id: str) -> str:
        return join_cursor(self._cursor, batch_id)

    def changes(self, plan: ReadPlan, split: str = WHOLE) -> Iterator[pa.RecordBatch]:
        """Of the keys that changed since the order's cursor those of one range: the rows that the grant lets through, as a reading
        of the table gives them. After `follow`."""
        order = self._order
        names = tuple(dict.fromkeys((*plan.columns, *order.key_columns, *(one.column for one, _ in self._conditions))))
        columns = select_columns(self._schema, names)
        since, until = bounds_of(split)
        given = self._states.columns if self._states is not None else ()
        present, gone = self._whole(self._present[since or 0 : until], given, columns)
        keys = select_columns(self._schema, order.key_columns)
        self._gone.append(self._fitted(gone))
        throttle = Throttle(plan)
        start = 0
        while start < len(present):
            part = present[start : start + throttle.batch_rows]
            start += len(part)
            arrays = [_array([row[at] for _, row in part], column) for at, column in enumerate(columns)]
            batch = pa.RecordBatch.from_arrays([*arrays, pa.array(np.arange(len(part)))], names=[*names, _NUMBER])
            passing = kept(batch, self._conditions, plan.table)
            is_in = np.zeros(len(part), np.bool_)
            is_in[passing.column(_NUMBER).to_numpy()] = True
            told = [batch.column(column.name) for column in keys]
            self._gone.append(self._keys.fitted([values.filter(pa.array(~is_in)) for values in told]))
            self._told.append(self._keys.fitted([values.filter(pa.array(is_in)) for values in told]))
            rows = passing.select(list(plan.columns))
            yield rows
            throttle.took(rows)

    def _whole(
        self, rows: list[tuple[Key, Values]], given: tuple[str, ...], columns: tuple[Column, ...]
    ) -> tuple[list[tuple[Key, Values]], list[Key]]:
        """Rows with exactly these columns, what the log does not hold read from the table; keys of those that are gone."""
        places = [given.index(column.name) if column.name in given else None for column in columns]
        cut = [(key, [UNCHANGED if place is None else values[place] for place in places]) for key, values in rows]
        lacking = [key for key, values in cut if UNCHANGED in values]
        if not lacking:
            return cut, []
        names = sorted({columns[at].name for _, values in cut for at, value in enumerate(values) if value is UNCHANGED})
        types = {column.name: column.native_type for column in self._schema.columns}
        found = reread(self._source.place, self._order.source_table, self._order.key_columns, types, lacking, names)
        at_of = {name: at for at, name in enumerate(names)}
        present: list[tuple[Key, Values]] = []
        gone: list[Key] = []
        for key, values in cut:
            now = found.get(key)
            if UNCHANGED not in values:
                present.append((key, values))
            elif now is None:
                gone.append(key)
            else:
                pairs = zip(values, columns, strict=True)
                present.append((key, [now[at_of[one.name]] if value is UNCHANGED else value for value, one in pairs]))
        return present, gone


class _KeyForm:
    """Keys as the target has them: its names, types and order of columns."""

    def __init__(self, order: ExchangeOrder) -> None:
        schema, self._names = arrow_schema(target_columns(order)), target_keys(order)
        self.schema = pa.schema([field for field in schema if field.name in self._names])
        items = {item.column: item for item in reversed(order.grant.items) if item.mask is Mask.NONE}
        self._types = [arrow_type(value_column(items[column])) for column in order.key_columns]
        self._algorithms = suite("international")

    def fitted(self, keys: list[pa.Array]) -> pa.RecordBatch:
        """From the key columns of the source, in the order of the order. A key that does not fit was never delivered."""
        columns = {
            name: fit(values, wanted).values
            for name, values, wanted in zip(self._names, keys, self._types, strict=True)
        }
        batch = pa.RecordBatch.from_arrays([columns[name] for name in self.schema.names], schema=self.schema)
        whole = np.ones(batch.num_rows, np.bool_)
        for values in batch.columns:
            whole &= values.is_valid().to_numpy(zero_copy_only=False)
        return batch.filter(pa.array(whole))

    def prints(self, batch: pa.RecordBatch) -> Fingerprints:
        return key_fingerprints(batch.select(self.schema.names), self._algorithms)


class _LogSnapshot(Snapshot):
    """The log up to a position, in ranges of the keys that changed; which these are is known when it was read (`found`)."""

    def __init__(self, session: LogSession, plan: ReadPlan, chunk_rows: int, *, is_resumed: bool) -> None:
        self._session, self.plan, self._chunk_rows, self.resumed = session, plan, chunk_rows, is_resumed
        self.state = SnapshotState(KIND, "", (WHOLE,))

    def found(self, keys: int) -> None:
        self.state = replace(self.state, splits=key_ranges(0, keys - 1, keys, self._chunk_rows))

    def reader(self) -> Reader:
        return _LogReader(self._session, self.plan)


class _LogReader(Reader):
    def __init__(self, session: LogSession, plan: ReadPlan) -> None:
        self._session, self._plan = session, plan

    def read(self, split: str) -> Iterator[pa.RecordBatch]:
        return self._session.changes(self._plan, split)


def _piece_name(number: int) -> str:
    return f"log-{number:05d}"


class _Kept(Pieces):
    """Pieces of the log in the memory of the batch."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._last = memory, 0

    def given(self, start: int) -> Iterator[Piece]:
        while (data := self._memory.recall(_piece_name(self._last + 1))) is not None:
            piece = Piece.from_bytes(data)
            if piece.since != start:
                return  # of a reading before the one that made up for a lost piece
            self._last, start = self._last + 1, piece.reached
            yield piece

    def keep(self, piece: Piece) -> None:
        self._last += 1
        self._memory.keep(_piece_name(self._last), piece.to_bytes())


_NUMBER = "#number"


def _array(values: list[Any], column: Column) -> pa.Array:
    """Texts of the log in the form in which a reading of the table gives them; what cannot be parsed stays text for `values.fit`."""
    match column.type:
        case LogicalType.BOOLEAN:
            return pa.array([None if value is None else value == b"t" for value in values], pa.bool_())
        case LogicalType.BINARY:
            return pa.array(
                [None if value is None else bytes.fromhex(value[2:].decode()) for value in values], pa.binary()
            )
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
