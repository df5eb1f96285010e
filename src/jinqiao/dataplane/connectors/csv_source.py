"""A folder of CSV files as a source: each `name.csv` is a table, its first row the columns, every value text.

UTF-8 (with or without a mark) or GB18030, decided by which of them the whole file is. An empty field is NULL, a quoted
empty field (`""`) is an empty text. One open file is the snapshot: a file that was touched while it was read is refused.
Row conditions are applied to the text as it stands, so "at least" and "at most" compare character by character.
"""

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from jinqiao.dataplane.connectors.base import ReadPlan, Source, select_columns
from jinqiao.dataplane.connectors.protection import Throttle
from jinqiao.dataplane.errors import DatabaseMissing, FileNotReadable, PermissionDenied, SourceChanged, TableMissing
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, Operator, RowCondition, TableSchema

ENCODINGS = ("utf-8", "gb18030")
_BLOCK_BYTES = 4 << 20


def encoding_of(path: Path) -> str:
    """The first of ENCODINGS that the whole file is in. Raises FileNotReadable."""
    for name in ENCODINGS:
        decoder = codecs.getincrementaldecoder(name)()
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    decoder.decode(block)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return name
    raise FileNotReadable(state="encoding", table=path.stem)


def header_of(path: Path, encoding: str) -> tuple[str, ...]:
    """Names of the columns. Raises FileNotReadable where there are none, or two are the same."""
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
        try:
            names = next(csv.reader(file), [])
        except csv.Error:
            names = []
    if not names or len(set(names)) != len(names) or not all(names):
        raise FileNotReadable(state="header", table=path.stem)
    return tuple(names)


def open_reader(path: Path, names: tuple[str, ...], chosen: tuple[str, ...], encoding: str) -> Any:
    """A streaming reader of text columns."""
    return pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(encoding=encoding, block_size=_BLOCK_BYTES, column_names=names, skip_rows=1),
        # with one column an empty line is a row that holds NULL
        parse_options=pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(names) > 1),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=chosen,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


class CsvSource(Source):
    engine: ClassVar[Engine] = Engine.CSV
    snapshot = "file"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        self._folder = Path(connection.database)

    def test(self) -> str:
        self._check()
        return "CSV"

    def tables(self) -> tuple[TableSchema, ...]:
        self._check()
        files = sorted(path for path in self._folder.iterdir() if path.suffix.lower() == ".csv" and path.is_file())
        return tuple(self._schema(path) for path in files if not path.name.startswith("."))

    def schema(self, table: str) -> TableSchema:
        return self._schema(self._path(table))

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        path = self._path(plan.table)
        before = _mark(path)
        encoding = encoding_of(path)
        names = header_of(path, encoding)
        schema = _schema_of(path, names)
        select_columns(schema, plan.columns)
        filters = [(condition, select_columns(schema, (condition.column,))) for condition in plan.row_filter]
        chosen = tuple(dict.fromkeys([*plan.columns, *(condition.column for condition, _ in filters)]))
        throttle = Throttle(plan)
        try:
            reader = open_reader(path, names, chosen, encoding)
            for batch in reader:
                kept = _filtered(batch, plan.row_filter).select(plan.columns)
                for start in range(0, kept.num_rows, throttle.batch_rows):
                    piece = kept.slice(start, throttle.batch_rows)
                    yield piece
                    throttle.took(piece)
        except pa.ArrowInvalid as problem:
            if "Empty CSV file" in str(problem):  # a header alone is an empty table
                return
            raise FileNotReadable(state="row", table=plan.table) from None
        if _mark(path) != before:
            raise SourceChanged(table=plan.table)

    def _check(self) -> None:
        try:
            if not self._folder.is_dir():
                raise DatabaseMissing(database=self._folder.name)
            next(self._folder.iterdir(), None)
        except PermissionError:
            raise PermissionDenied(table=self._folder.name) from None

    def _path(self, table: str) -> Path:
        self._check()
        for suffix in (".csv", ".CSV"):
            path = self._folder / f"{table}{suffix}"
            if path.is_file() and path.parent == self._folder:
                return path
        raise TableMissing(table=table)

    @staticmethod
    def _schema(path: Path) -> TableSchema:
        return _schema_of(path, header_of(path, encoding_of(path)))


def _schema_of(path: Path, names: tuple[str, ...]) -> TableSchema:
    columns = tuple(Column(name=name, type=LogicalType.TEXT, native_type="csv") for name in names)
    return TableSchema(name=path.stem, columns=columns)


def _mark(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _filtered(batch: pa.RecordBatch, conditions: tuple[RowCondition, ...]) -> pa.RecordBatch:
    for condition in conditions:
        values = batch.column(condition.column)
        match condition.operator:
            case Operator.EQUAL | Operator.ONE_OF:
                keep = pc.is_in(values, pa.array(condition.values, pa.string()))
            case Operator.AT_LEAST:
                keep = pc.greater_equal(values, condition.values[0])
            case Operator.AT_MOST:
                keep = pc.less_equal(values, condition.values[0])
            case Operator.STARTS_WITH:
                keep = pc.starts_with(values, condition.values[0])
        batch = batch.filter(keep.fill_null(False))
    return batch
