"""Excel workbooks as a target (file_target): one sheet, one row of names, cells that a person can go on working with.

    numbers     as numbers as long as 15 digits hold them exactly and they are below 10^15, otherwise as text, so that no
                digit of an identity number or a large amount is lost
    dates       as dates from 1900-03-01 on, before it as text; times with a part of a second as text
    texts       always as text: `=1+1` is no formula, 0123 keeps its zero
    NULL        an empty cell; an empty text is written `""`, and a text of quotation marks gets two more: a property of
                the workbook says so, the source takes them away again

A workbook holds 1,048,575 rows below the names and 32,767 characters a cell; more is refused, and so are U+FFFE and U+FFFF
and a row that has no value at all.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import xlsxwriter

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.excel_source import (
    EXACT_BELOW,
    FIRST_DAY,
    MARK,
    SheetReader,
    opened,
    sheets_of,
    text_batches,
)
from jinqiao.dataplane.connectors.file_target import FileTarget
from jinqiao.dataplane.errors import FileNotReadable, TargetRefused, TargetSchemaMismatch
from jinqiao.kernel.contracts.tables import Column, Engine, LogicalType

MAX_ROWS = 1_048_575
MAX_COLUMNS = 16_384
MAX_CELL = 32_767  # UTF-16 units
EXACT_DIGITS = 15
_READ_ROWS = 20_000
_NOT_IN_A_NAME = re.compile(r"[\[\]:*?/\\']")
_NOT_IN_XML = re.compile("[\ufffe\uffff]")
_FORMATS = {
    LogicalType.TEXT: "@",
    LogicalType.BINARY: "@",
    LogicalType.DATE: "yyyy-mm-dd",
    LogicalType.DATETIME: "yyyy-mm-dd hh:mm:ss",
}


class _Exact(float):
    """A number that is written with all its digits: the library would write 16, a double needs 17."""

    def __format__(self, _: str) -> str:
        return repr(float(self))


class ExcelTarget(FileTarget):
    engine: ClassVar[Engine] = Engine.EXCEL
    suffix: ClassVar[str] = ".xlsx"
    title: ClassVar[str] = "Excel"
    room: ClassVar[int | None] = MAX_ROWS

    def header(self, path: Path) -> tuple[str, ...]:
        with self._reader(path, path.stem) as reader:
            return reader.names

    def current(self, path: Path, plan: DeliveryPlan) -> Iterator[pa.RecordBatch]:
        with self._reader(path, plan.table) as reader:
            yield from text_batches(reader.rows(plan.columns), [column.name for column in plan.columns], _READ_ROWS)

    def write(self, path: Path, rows: Iterator[pa.RecordBatch], plan: DeliveryPlan) -> None:
        if len(plan.columns) > MAX_COLUMNS:
            raise TargetSchemaMismatch(table=plan.table, columns=str(len(plan.columns)))
        # in constant memory rows wait in a file beside the new one, never in a folder that others share
        book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": str(path.parent)})
        try:
            self._fill(book, rows, plan)
        finally:
            book.close()

    @staticmethod
    def _fill(book: Any, rows: Iterator[pa.RecordBatch], plan: DeliveryPlan) -> None:
        book.set_custom_property(MARK, "1")
        sheet = book.add_worksheet(_NOT_IN_A_NAME.sub("_", plan.table)[:31])
        sheet.freeze_panes(1, 0)
        bold = book.add_format({"bold": True})
        cells = []
        for at, column in enumerate(plan.columns):
            form = book.add_format({"num_format": _FORMATS.get(column.type, "General")})
            sheet.set_column(at, at, None, form)
            cells.append(_writer(sheet, at, column, form, plan.table))
            sheet.write_string(0, at, cell_of(column.name, plan.table), bold)
        number = 0
        for batch in rows:
            for row in zip(*(values.to_pylist() for values in batch.columns), strict=True):
                number += 1
                empty = True
                for write, value in zip(cells, row, strict=True):
                    if value is not None:
                        write(number, value)
                        empty = False
                if empty:
                    raise TargetRefused(table=plan.table, state="empty row")

    def _reader(self, path: Path, table: str) -> "_Reading":
        return _Reading(path, table)


class _Reading:
    """The one sheet of a workbook that is there. Raises FileNotReadable: others would be lost."""

    def __init__(self, path: Path, table: str) -> None:
        self._path, self._table = path, table
        self._opened = opened(path, table)

    def __enter__(self) -> SheetReader:
        book = self._opened.__enter__()
        sheets = sheets_of(book)
        if len(sheets) != 1 or len(book.sheet_names) != 1:
            raise FileNotReadable(state="sheets", table=self._table)
        return SheetReader(book, self._path, sheets[0], self._table, {})

    def __exit__(self, *problem: Any) -> None:
        self._opened.__exit__(*problem)


def cell_of(value: str, table: str) -> str:
    """A text as it stands in its cell. Raises TargetRefused where a cell cannot hold it."""
    if (not value or value[0] == '"') and len(value) % 2 == 0 and not value.strip('"'):
        value += '""'
    if len(value) > MAX_CELL // 2 and len(value.encode("utf-16-le")) // 2 > MAX_CELL:
        raise TargetRefused(table=table, state="cell length")
    if _NOT_IN_XML.search(value):
        raise TargetRefused(table=table, state="character")
    return value


def _writer(sheet: Any, at: int, column: Column, form: Any, table: str) -> Callable[[int, Any], None]:
    """Writes a value of this column into a row."""

    def text(row: int, value: str) -> None:
        sheet.write_string(row, at, cell_of(value, table), form)

    def decimal(row: int, value: Decimal) -> None:
        shown = f"{value:f}"
        if len(shown.replace(".", "").lstrip("-0").rstrip("0")) <= EXACT_DIGITS and abs(value) < EXACT_BELOW:
            sheet.write_number(row, at, _Exact(value), form)
        else:
            text(row, shown)

    def double(row: int, value: float) -> None:
        if abs(value) < EXACT_BELOW:  # not so for NaN and infinity either
            sheet.write_number(row, at, _Exact(value), form)
        else:
            text(row, repr(value))

    def day(row: int, value: date) -> None:
        if value >= FIRST_DAY:
            sheet.write_datetime(row, at, value, form)
        else:
            text(row, value.isoformat())

    def moment(row: int, value: datetime) -> None:
        if value.date() >= FIRST_DAY and value.microsecond == 0:
            sheet.write_datetime(row, at, value, form)
        else:
            text(row, value.isoformat(sep=" "))

    def binary(row: int, value: bytes) -> None:
        text(row, value.hex())

    def truth(row: int, value: bool) -> None:
        sheet.write_boolean(row, at, value, form)

    def integer(row: int, value: int) -> None:
        if abs(value) < EXACT_BELOW:
            sheet.write_number(row, at, value, form)
        else:
            text(row, str(value))

    writers: dict[LogicalType, Callable[[int, Any], None]] = {
        LogicalType.TEXT: text,
        LogicalType.INTEGER: integer,
        LogicalType.DECIMAL: decimal,
        LogicalType.DOUBLE: double,
        LogicalType.BOOLEAN: truth,
        LogicalType.DATE: day,
        LogicalType.DATETIME: moment,
        LogicalType.BINARY: binary,
    }
    return writers[column.type]
