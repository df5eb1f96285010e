"""CSV files as a source: the first row names the columns, every value is text.

    options    encoding: "utf-8" | "gb18030" (without it: whichever the whole file is in, UTF-8 first) · delimiter: "," by default

A mark at the beginning (BOM) is no part of the first name. An empty field is NULL, a quoted empty field (`""`) is an empty text.
"""

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.csv as pacsv

from jinqiao.dataplane.connectors.file_source import FileSource, FileTable, lines_at_most
from jinqiao.dataplane.errors import ConnectionOptionWrong, FileNotReadable
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType

ENCODINGS = ("utf-8", "gb18030")
_BLOCK_BYTES = 4 << 20


def encoding_of(path: Path, encodings: tuple[str, ...] = ENCODINGS) -> str:
    """The first of the encodings that the whole file is in. Raises FileNotReadable."""
    for name in encodings:
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


def header_of(path: Path, encoding: str, delimiter: str = ",") -> tuple[str, ...]:
    """Names of the columns. Raises FileNotReadable where there are none, or two are the same."""
    with path.open(encoding=encoding, newline="") as file:
        if file.read(1) != "\ufeff":  # the mark; GB18030 has it too
            file.seek(0)
        try:
            names = next(csv.reader(file, delimiter=delimiter), [])
        except csv.Error:
            names = []
    if not names or len(set(names)) != len(names) or not all(names):
        raise FileNotReadable(state="header", table=path.stem)
    return tuple(names)


def open_reader(
    path: Path, names: tuple[str, ...], chosen: tuple[str, ...], encoding: str, delimiter: str = ","
) -> Any:
    """A streaming reader of text columns."""
    return pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(encoding=encoding, block_size=_BLOCK_BYTES, column_names=names, skip_rows=1),
        # with one column an empty line is a row that holds NULL
        parse_options=pacsv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=len(names) > 1
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=chosen,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def csv_options(connection: Connection) -> tuple[tuple[str, ...], str]:
    """Encodings to try and the delimiter. Raises ConnectionOptionWrong."""
    encoding, delimiter = connection.options.get("encoding"), connection.options.get("delimiter", ",")
    if encoding is not None and encoding not in ENCODINGS:
        raise ConnectionOptionWrong(option="encoding")
    if not isinstance(delimiter, str) or len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise ConnectionOptionWrong(option="delimiter")
    return (ENCODINGS if encoding is None else (encoding,)), delimiter


class CsvSource(FileSource):
    engine: ClassVar[Engine] = Engine.CSV
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)
    title: ClassVar[str] = "CSV"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        super().__init__(connection, password)
        self._encodings, self._delimiter = csv_options(connection)

    def columns(self, table: FileTable) -> tuple[Column, ...]:
        names = header_of(table.path, self._encoding(table.path), self._delimiter)
        return tuple(Column(name=name, type=LogicalType.TEXT, native_type="csv") for name in names)

    def rows_at_most(self, table: FileTable) -> int | None:
        return lines_at_most(table.path)

    def batches(self, table: FileTable, columns: tuple[Column, ...], rows: int) -> Iterator[pa.RecordBatch]:
        encoding = self._encoding(table.path)
        names = header_of(table.path, encoding, self._delimiter)
        chosen = tuple(column.name for column in columns)
        try:
            yield from open_reader(table.path, names, chosen, encoding, self._delimiter)
        except pa.ArrowInvalid as problem:
            if "Empty CSV file" in str(problem):  # a header alone is an empty table
                return
            raise FileNotReadable(state="row", table=table.name) from None

    def _encoding(self, path: Path) -> str:
        return self.known(path, "encoding", lambda: encoding_of(path, self._encodings))
