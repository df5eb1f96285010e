"""Excel workbooks as a source (.xlsx, .xlsm, .xls): the first row that is not empty names the columns, every value is text.

    table      `file` where one visible sheet holds something, otherwise `file#sheet`
    options    header_row: number of the row with the names, from 1 · digits: 15 rounds numbers to what Excel itself shows

A cell becomes text without a guess: 12.0 is "12", a date "2026-01-31", a time of day "08:00:00", TRUE "1", an empty cell NULL.
What a workbook cannot be trusted to hold is handed on with a NUL behind it, which no type takes (values.fit), so that the row
goes to quarantine and is reported:

    numbers from 10^15 on       Excel keeps 15 digits: an identity number entered as a number has lost its last three
    dates before 1900-03-01     mean different days in different programs (1900 was no leap year)
    #N/A, #DIV/0! …             not values (in .xls they cannot be told from empty cells)

Empty rows are no rows. Merged cells among the rows, and values beside the named columns, are refused. The workbook is held in
memory while it is read.
"""

import html
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

from jinqiao.dataplane.connectors.file_source import FileSource, FileTable
from jinqiao.dataplane.errors import ConnectionOptionWrong, FileNotReadable
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType

EXACT_BELOW = 10**15  # Excel keeps 15 significant digits
FIRST_DAY = date(1900, 3, 1)  # before it the programs' calendars differ
MARK = "jinqiao.texts"  # property of workbooks in which `""` is an empty text and `""""` is `""`
NO_VALUE = "\0"
_MAX_BYTES = 2 << 30  # of a workbook unpacked
_SHEET = re.compile(rb"<(?:\w+:)?sheet\s[^>]*>")
_RELATION = re.compile(rb"<(?:\w+:)?Relationship\s[^>]*>")
_ERROR_CELL = re.compile(rb"<(?:\w+:)?c\s(?=[^>]*\bt=\"e\")[^>]*>")
_REFERENCE = re.compile(rb"\br=\"([A-Z]{1,3})(\d+)\"")
_BLOCK_BYTES = 1 << 20
_LONGEST_TAG = 4096


@contextmanager
def opened(path: Path, table: str) -> Iterator[CalamineWorkbook]:
    """A workbook. Raises FileNotReadable."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as parts:
                if sum(part.file_size for part in parts.infolist()) > _MAX_BYTES:
                    raise FileNotReadable(state="size", table=table)
        with CalamineWorkbook.from_path(path) as book:
            yield book
    except PasswordError:
        raise FileNotReadable(state="password", table=table) from None
    except (CalamineError, zipfile.BadZipFile):
        raise FileNotReadable(state="workbook", table=table) from None


def sheets_of(book: CalamineWorkbook) -> list[str]:
    """Names of the visible sheets that hold something."""
    return [
        about.name
        for about in book.sheets_metadata
        if about.typ is SheetTypeEnum.WorkSheet
        and about.visible is SheetVisibleEnum.Visible
        and book.get_sheet_by_name(about.name).start is not None
    ]


class SheetReader:
    """The rows of one sheet as texts. Raises FileNotReadable where it is no table."""

    def __init__(self, book: CalamineWorkbook, path: Path, sheet: str, table: str, options: dict[str, Any]) -> None:
        self._sheet, self._path, self._table = book.get_sheet_by_name(sheet), path, table
        self._marked = has_mark(path)
        self._digits = whole_option(options, "digits", 1, 17)
        wanted = whole_option(options, "header_row", 1, 1 << 20)
        self._rows = enumerate(self._sheet.iter_rows())
        self._named, head = -1, []
        for number, row in self._rows:
            if number + 1 == wanted or (wanted is None and any(value != "" for value in row)):
                self._named, head = number, [self._text(value) for value in row]
                break
        while head and head[-1] is None:
            head.pop()
        self.names = tuple(name or "" for name in head)
        if not head or not all(head) or len(set(head)) != len(head) or any(NO_VALUE in n for n in self.names):
            raise FileNotReadable(state="header", table=table)

    @property
    def height(self) -> int:
        """Rows of the part of the sheet that holds something."""
        return int(self._sheet.height)

    def rows(self, columns: tuple[Column, ...]) -> Iterator[list[str | None]]:
        """The values of these columns of each row that is not empty."""
        if any(end[0] > self._named for _, end in self._sheet.merged_cell_ranges or ()):
            raise FileNotReadable(state="merged cells", table=self._table)
        left = self._sheet.start[1] if self._sheet.start else 0
        errors = error_cells(self._path, self._sheet.name, self._table)
        places = [(self.names.index(c.name), c.type is LogicalType.DOUBLE) for c in columns]
        width = len(self.names)
        for number, row in self._rows:
            if number in errors:
                for at in errors[number]:
                    row[at - left] = NO_VALUE
            if any(value != "" for value in row[width:]):
                raise FileNotReadable(state=f"row {number + 1}", table=self._table)
            if any(value != "" for value in row):
                yield [self._text(row[at], double=double) for at, double in places]

    def _text(self, value: Any, *, double: bool = False) -> str | None:
        if isinstance(value, str):
            if value and self._marked and not value.strip('"') and len(value) % 2 == 0:
                return value[2:]
            return value or None
        if isinstance(value, float) and self._digits is not None:
            value = float(f"{value:.{self._digits}g}")
        return cell_text(value, double=double)


def cell_text(value: Any, *, double: bool = False) -> str:
    """The text of a cell that is not text. What has lost digits or is no certain day gets a NUL, unless a double is wanted."""
    match value:
        case bool():
            return "1" if value else "0"
        case int() | float():
            text = str(int(value)) if value == int(value) else f"{Decimal(repr(value)):f}"
            return text if double or abs(value) < EXACT_BELOW else text + NO_VALUE
        case datetime():
            text = value.isoformat(sep=" ")
            return text if value.date() >= FIRST_DAY else text + NO_VALUE
        case date():
            return value.isoformat() if value >= FIRST_DAY else value.isoformat() + NO_VALUE
        case time():
            return value.isoformat()
        case timedelta():
            minutes, seconds = divmod(int(value.total_seconds()), 60)
            return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
        case _:
            return str(value) + NO_VALUE


def has_mark(path: Path) -> bool:
    """Was the workbook written by our target?"""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as parts:
        name = "docProps/custom.xml"
        return name in parts.namelist() and MARK.encode() in parts.read(name)


def error_cells(path: Path, sheet: str, table: str) -> dict[int, list[int]]:
    """Cells of a sheet that hold an error, as columns by row, both from 0: the reader shows them as empty."""
    if not zipfile.is_zipfile(path):
        return {}
    found: dict[int, list[int]] = {}
    with zipfile.ZipFile(path) as parts:
        part = _part_of(parts, sheet)
        if part is None:
            raise FileNotReadable(state="sheet", table=table)
        with parts.open(part) as file:
            rest = b""
            while block := file.read(_BLOCK_BYTES):
                text = rest + block
                end = 0
                for cell in _ERROR_CELL.finditer(text):
                    place = _REFERENCE.search(cell.group())
                    if place is None:
                        raise FileNotReadable(state="cell", table=table)
                    found.setdefault(int(place.group(2)) - 1, []).append(_column_number(place.group(1)))
                    end = cell.end()
                rest = text[max(end, len(text) - _LONGEST_TAG) :]
    return found


def _part_of(parts: zipfile.ZipFile, sheet: str) -> str | None:
    """Name of the part that holds a sheet."""
    relation = None
    for tag in _SHEET.findall(parts.read("xl/workbook.xml")):
        if html.unescape(_attribute(tag, b"name")) == sheet:
            relation = _attribute(tag, rb"\w+:id")
    for tag in _RELATION.findall(parts.read("xl/_rels/workbook.xml.rels")):
        if relation is not None and _attribute(tag, b"Id") == relation:
            target = html.unescape(_attribute(tag, b"Target"))
            name = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
            return name if name in parts.namelist() else None
    return None


def _attribute(tag: bytes, name: bytes) -> str:
    found = re.search(rb"\s" + name + rb"\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", tag)
    return (found.group(1) or found.group(2) or b"").decode("utf-8", "replace") if found else ""


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def whole_option(options: dict[str, Any], name: str, least: int, most: int) -> int | None:
    """A whole number among the options of a connection. Raises ConnectionOptionWrong."""
    value = options.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
        raise ConnectionOptionWrong(option=name)
    return value


class ExcelSource(FileSource):
    engine: ClassVar[Engine] = Engine.EXCEL
    suffixes: ClassVar[tuple[str, ...]] = (".xlsx", ".xlsm", ".xls")
    title: ClassVar[str] = "Excel"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        super().__init__(connection, password)
        whole_option(self._options, "digits", 1, 17)
        whole_option(self._options, "header_row", 1, 1 << 20)

    def parts(self, name: str, path: Path) -> tuple[FileTable, ...]:
        sheets = self.known(path, "sheets", lambda: _sheets(path, name))
        if len(sheets) == 1:
            return (FileTable(name, path, sheets[0]),)
        return tuple(FileTable(f"{name}#{sheet}", path, sheet) for sheet in sheets)

    def columns(self, table: FileTable) -> tuple[Column, ...]:
        names, _ = self._head(table)
        return tuple(Column(name=name, type=LogicalType.TEXT, native_type="excel") for name in names)

    def rows_at_most(self, table: FileTable) -> int | None:
        """As many as the used part of the sheet has, with empty ones."""
        return self._head(table)[1]

    def batches(self, table: FileTable, columns: tuple[Column, ...], rows: int) -> Iterator[pa.RecordBatch]:
        with opened(table.path, table.name) as book:
            reader = SheetReader(book, table.path, table.part, table.name, self._options)
            yield from text_batches(reader.rows(columns), [column.name for column in columns], rows)

    def _head(self, table: FileTable) -> tuple[tuple[str, ...], int]:
        """Names of the columns, and the height of the sheet: one look at the workbook for both."""

        def found() -> tuple[tuple[str, ...], int]:
            with opened(table.path, table.name) as book:
                reader = SheetReader(book, table.path, table.part, table.name, self._options)
                return reader.names, reader.height

        return self.known(table.path, f"head {table.part}", found)


def _sheets(path: Path, table: str) -> list[str]:
    with opened(path, table) as book:
        return sheets_of(book)


def text_batches(rows: Iterator[list[str | None]], names: list[str], most: int) -> Iterator[pa.RecordBatch]:
    """Rows of texts as batches of at most `most`."""
    waiting: list[list[str | None]] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == most:
            yield _batch(waiting, names)
            waiting = []
    if waiting:
        yield _batch(waiting, names)


def _batch(rows: list[list[str | None]], names: list[str]) -> pa.RecordBatch:
    columns = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=names)
