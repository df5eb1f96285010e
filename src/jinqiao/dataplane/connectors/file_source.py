"""Data files as sources: what CSV, Excel, JSON lines and Parquet have in common.

    database    a folder whose files are tables (`residents.csv` is `residents`), or the path of one file
    options     types: {table: {column: "integer" | "decimal(12,2)" | "double" | "boolean" | "date" | "datetime" | "text"}},
                where the table may be "*". It says how a column of text is compared by row conditions and ordered; what is
                handed on stays the text of the file, which the order's item types (values.fit) then take or refuse.

A reading is consistent because the file is the same before and after it: otherwise SourceChanged. Rows come in the order of
the file, so that a second reading of an unchanged file (`state_token`) gives the same batches. A plan with `order_by` is
read whole, filtered and ordered in memory.
"""

import hashlib
import re
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.base import ReadPlan, Source, select_columns
from jinqiao.dataplane.connectors.file_snapshot import FileSnapshot
from jinqiao.dataplane.connectors.protection import Throttle
from jinqiao.dataplane.connectors.ranges import key_ranges
from jinqiao.dataplane.connectors.snapshots import WHOLE, SnapshotState
from jinqiao.dataplane.connectors.values import arrow_type, filter_value, fit
from jinqiao.dataplane.errors import (
    ConnectionOptionWrong,
    DatabaseMissing,
    FileNotReadable,
    FilterNotPossible,
    PermissionDenied,
    SourceChanged,
    TableMissing,
    ValueOfAnotherType,
)
from jinqiao.kernel.contracts.tables import Column, Connection, LogicalType, Operator, RowCondition, TableSchema

Mark = tuple[int, int, int, int]
Known = TypeVar("Known")
_TYPE = re.compile(r"(\w+)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?")
_HEAD_BYTES = 64 << 10
_BLOCK_BYTES = 4 << 20
_SETTLED_NS = 20_000_000


@dataclass(frozen=True, slots=True)
class FileTable:
    """Where a table is: its name, the file, and the part of the file (a sheet) where a file may hold several."""

    name: str
    path: Path
    part: str = ""


def mark_of(path: Path) -> Mark:
    """What tells one state of a file from another. Raises TableMissing, PermissionDenied."""
    try:
        state = path.stat()
    except FileNotFoundError:
        raise TableMissing(table=path.stem) from None
    except PermissionError:
        raise PermissionDenied(table=path.stem) from None
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def settled_mark(path: Path) -> Mark:
    """The mark of a file that was not written in this very moment: clocks of file systems tick too coarsely to tell two
    writes within one tick apart."""
    while True:
        mark = mark_of(path)
        if not 0 <= time.time_ns() - mark[3] < _SETTLED_NS:
            return mark
        time.sleep(_SETTLED_NS / 4e9)


def state_of(path: Path) -> str:
    """Text that changes when the content may have: name, size, time of change, inode, digest of the first 64 KiB."""
    inode, size, modified, changed = settled_mark(path)
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()
    return f"{path.name}|{size}|{modified}|{changed}|{inode}|{head}"


def lines_at_most(path: Path) -> int:
    """How many lines a text file has, at most: those inside of quotes are counted as well."""
    with path.open("rb") as file:
        return 1 + sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK_BYTES), b""))


def declared_type(text: str) -> Column:
    """A nameless column from `integer` or `decimal(12,2)`. Raises ConnectionOptionWrong."""
    found = _TYPE.fullmatch(text.strip().lower())
    try:
        kind = LogicalType(found.group(1) if found else "")
    except ValueError:
        raise ConnectionOptionWrong(option="types") from None
    if kind is not LogicalType.DECIMAL or found is None or found.group(2) is None:
        return Column(name="", type=kind)
    return Column(name="", type=kind, precision=int(found.group(2)), scale=int(found.group(3) or 0))


class FileSource(Source):
    """A source of data files. Subclasses are the formats."""

    suffixes: ClassVar[tuple[str, ...]]
    title: ClassVar[str]
    snapshot = "file"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        self._place = Path(connection.database)
        self._options = connection.options
        self._types = _types_of(connection)
        self._known: dict[tuple[Path, str], tuple[Mark, Any]] = {}

    # --- what a format gives --------------------------------------------------------------------------------------

    @abstractmethod
    def columns(self, table: FileTable) -> tuple[Column, ...]:
        """Columns as the file declares them. Raises FileNotReadable."""

    @abstractmethod
    def batches(self, table: FileTable, columns: tuple[Column, ...], rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of these columns in the order of the file, in batches of about `rows`. Raises FileNotReadable."""

    def parts(self, name: str, path: Path) -> tuple[FileTable, ...]:
        """The tables of one file."""
        return (FileTable(name, path),)

    def row_estimate(self, table: FileTable) -> int | None:
        """Number of rows, where the format says it without reading them."""
        return None

    def rows_at_most(self, table: FileTable) -> int | None:
        """No row stands behind this place; None where that is not worth finding out."""
        return self.row_estimate(table)

    # --- what is common -------------------------------------------------------------------------------------------

    def test(self) -> str:
        self._files()
        return self.title

    def tables(self) -> tuple[TableSchema, ...]:
        found: list[TableSchema] = []
        for name, path in self._files().items():
            with _permitted(name):
                found.extend(self._schema(table) for table in self.parts(name, path))
        return tuple(found)

    def schema(self, table: str) -> TableSchema:
        with _permitted(table):
            return self._schema(self.find(table))

    def state_token(self, table: str) -> str:
        """Text that changes when the content of the table may have changed."""
        found = self.find(table)
        with _permitted(table):
            return f"{state_of(found.path)}|{found.part}"

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        table = self.find(plan.table)
        before = settled_mark(table.path)
        try:
            with _permitted(plan.table):
                schema = self._schema(table)
                yield from self._rows(table, schema, plan)
        except FileNotReadable:
            if mark_of(table.path) != before:  # half of one state and half of another need not make sense
                raise SourceChanged(table=plan.table) from None
            raise
        if mark_of(table.path) != before:
            raise SourceChanged(table=plan.table)

    def read_from(self, plan: ReadPlan, place: int) -> Iterator[pa.RecordBatch]:
        """As `read`, without the rows before a place."""
        for batch in self.read(plan):
            rest = batch.slice(min(place, batch.num_rows))
            place -= batch.num_rows - rest.num_rows
            if rest.num_rows:
                yield rest

    def splits(self, plan: ReadPlan, chunk_rows: int) -> tuple[str, ...]:
        """Ranges of rows; an ordered reading is one."""
        with _permitted(plan.table):
            most = None if plan.order_by else self.rows_at_most(self.find(plan.table))
        return (WHOLE,) if not most else key_ranges(0, most - 1, most, chunk_rows)

    def open_snapshot(
        self, plan: ReadPlan, *, parallel: int = 1, resume: SnapshotState | None = None, chunk_rows: int = 100_000
    ) -> FileSnapshot:
        return FileSnapshot(self, plan, resume=resume, chunk_rows=chunk_rows)

    def find(self, table: str) -> FileTable:
        """Where a table is. Raises TableMissing."""
        for name, path in self._files().items():
            if table == name or table.startswith(f"{name}#"):
                for candidate in self.parts(name, path):
                    if table in (candidate.name, f"{name}#{candidate.part}"):
                        return candidate
        raise TableMissing(table=table)

    def known(self, path: Path, what: str, find: Callable[[], Known]) -> Known:
        """Something that was found in a file, found once as long as the file stays the same."""
        mark = mark_of(path)
        entry = self._known.get((path, what))
        if entry is None or entry[0] != mark:
            entry = self._known[path, what] = (mark, find())
        found: Known = entry[1]
        return found

    def declared(self, table: FileTable) -> dict[str, Column]:
        """Types that the connection's options give to columns of this table, by name."""
        return self._types.get("*", {}) | self._types.get(table.name, {})

    def _files(self) -> dict[str, Path]:
        """Files that are tables, by name; two files with the same stem keep their suffix. Raises DatabaseMissing."""
        try:
            if self._place.is_file():
                return {self._place.stem: self._place}
            if not self._place.is_dir():
                raise DatabaseMissing(database=self._place.name)
            paths = sorted(
                path
                for path in self._place.iterdir()
                if path.suffix.lower() in self.suffixes and not path.name.startswith((".", "~$")) and path.is_file()
            )
        except PermissionError:
            raise PermissionDenied(table=self._place.name) from None
        stems = [path.stem for path in paths]
        return {path.stem if stems.count(path.stem) == 1 else path.name: path for path in paths}

    def _schema(self, table: FileTable) -> TableSchema:
        declared = self.declared(table)
        columns = []
        for column in self.columns(table):
            type_ = declared.get(column.name)
            if type_ is not None:
                column = replace(column, type=type_.type, precision=type_.precision, scale=type_.scale, length=None)
            columns.append(column)
        return TableSchema(name=table.name, columns=tuple(columns), row_estimate=self.row_estimate(table))

    def _rows(self, table: FileTable, schema: TableSchema, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        select_columns(schema, plan.columns)
        conditions = with_columns(plan.row_filter, schema)
        order = select_columns(schema, plan.order_by)
        compared = [condition.column for condition in plan.row_filter] + list(plan.order_by)
        chosen = select_columns(schema, tuple(dict.fromkeys([*plan.columns, *compared])))
        throttle = Throttle(plan)
        read = self.batches(table, chosen, throttle.batch_rows)
        rows = (kept(batch, conditions, plan.table) for batch in read)
        for batch in ordered(rows, order, plan) if order else rows:
            wanted = batch.select(list(plan.columns))
            for start in range(0, wanted.num_rows, throttle.batch_rows):
                piece = wanted.slice(start, throttle.batch_rows)
                yield piece
                throttle.took(piece)


@contextmanager
def _permitted(table: str) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise PermissionDenied(table=table) from None
    except FileNotFoundError:
        raise SourceChanged(table=table) from None


def _types_of(connection: Connection) -> dict[str, dict[str, Column]]:
    given = connection.options.get("types", {})
    try:
        return {
            str(table): {str(name): declared_type(str(text)) for name, text in columns.items()}
            for table, columns in given.items()
        }
    except AttributeError:
        raise ConnectionOptionWrong(option="types") from None


def typed(values: pa.Array, column: Column, table: str) -> pa.Array:
    """A column to compare by: nothing can be said of a value that is none of its type. Raises ValueOfAnotherType."""
    fitted = fit(values, arrow_type(column))
    if fitted.bad is not None:
        raise ValueOfAnotherType(table=table, column=column.name, type=column.type.value, rows=int(fitted.bad.sum()))
    return fitted.values


def with_columns(conditions: tuple[RowCondition, ...], schema: TableSchema) -> list[tuple[RowCondition, Column]]:
    """Each condition with its column. Raises ColumnMissing."""
    return [(condition, select_columns(schema, (condition.column,))[0]) for condition in conditions]


def kept(batch: pa.RecordBatch, conditions: list[tuple[RowCondition, Column]], table: str) -> pa.RecordBatch:
    """The rows that all conditions let through."""
    for condition, column in conditions:
        values = typed(batch.column(column.name), column, table)
        batch = batch.filter(_met(values, condition, column).fill_null(False))
    return batch


def _met(values: pa.Array, condition: RowCondition, column: Column) -> Any:
    if condition.operator is Operator.STARTS_WITH:
        return pc.starts_with(fit(values, pa.string()).values, condition.values[0])
    try:
        # a decimal keeps its own scale, so that one with more digits than the column compares as it is
        type_ = None if column.type is LogicalType.DECIMAL else values.type
        given = [pa.scalar(filter_value(text, column), type_) for text in condition.values]
    except (pa.ArrowInvalid, OverflowError):
        raise FilterNotPossible(column=column.name, type=column.type.value) from None
    match condition.operator:
        case Operator.AT_LEAST:
            return pc.greater_equal(values, given[0])
        case Operator.AT_MOST:
            return pc.less_equal(values, given[0])
        case _:
            if pa.types.is_string(values.type):
                return pc.is_in(values, pa.array([value.as_py() for value in given], pa.string()))
            met = pc.equal(values, given[0])
            for value in given[1:]:
                met = pc.or_kleene(met, pc.equal(values, value))
            return met


def ordered(rows: Iterator[pa.RecordBatch], order: tuple[Column, ...], plan: ReadPlan) -> Iterator[pa.RecordBatch]:
    """All rows by the columns of `order`, ascending, NULL last, ties in the order of the file."""
    batches = [batch for batch in rows if batch.num_rows]
    if not batches:
        return
    whole = pa.Table.from_batches(batches)
    keys = {
        f"k{at}": pa.chunked_array([typed(chunk, column, plan.table) for chunk in whole.column(column.name).chunks])
        for at, column in enumerate(order)
    }
    places = pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in keys])
    for start in range(0, len(places), plan.batch_rows):
        yield from whole.take(places.slice(start, plan.batch_rows)).combine_chunks().to_batches()
