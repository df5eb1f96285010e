"""CSV files as a target (file_target): UTF-8 or GB18030, header, NULL empty, empty text `""`.

    options    encoding, delimiter: as for the source · bom: true writes a mark, for spreadsheet programs

Binary is written as hexadecimal, times as `2026-01-31 08:00:00.000000`, truth as 0 and 1.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import pyarrow as pa
import pyarrow.csv as pacsv

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.csv_source import csv_options, encoding_of, header_of, open_reader
from jinqiao.dataplane.connectors.file_target import FileTarget
from jinqiao.dataplane.connectors.values import fit, hex_of
from jinqiao.dataplane.errors import FileNotReadable
from jinqiao.kernel.contracts.tables import Connection, Engine

_BOM = "\ufeff"


class CsvTarget(FileTarget):
    engine: ClassVar[Engine] = Engine.CSV
    suffix: ClassVar[str] = ".csv"
    other_suffixes: ClassVar[tuple[str, ...]] = (".txt", ".tsv")
    title: ClassVar[str] = "CSV"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        super().__init__(connection, password)
        self._encodings, self._delimiter = csv_options(connection)
        self._bom = bool(connection.options.get("bom", False))

    def header(self, path: Path) -> tuple[str, ...]:
        return header_of(path, encoding_of(path, self._encodings), self._delimiter)

    def current(self, path: Path, plan: DeliveryPlan) -> Iterator[pa.RecordBatch]:
        encoding = encoding_of(path, self._encodings)
        names = header_of(path, encoding, self._delimiter)
        try:
            yield from open_reader(path, names, names, encoding, self._delimiter)
        except pa.ArrowInvalid as problem:
            if "Empty CSV file" not in str(problem):
                raise FileNotReadable(state="row", table=plan.table) from None

    def write(self, path: Path, rows: Iterator[pa.RecordBatch], plan: DeliveryPlan) -> None:
        encoding = self._encodings[0]
        with path.open("wb") as file:
            if self._bom:
                file.write(_BOM.encode(encoding))
            schema = pa.schema([pa.field(column.name, pa.string()) for column in plan.columns])
            sink = file if encoding == "utf-8" else pa.PythonFile(_Encoded(file, encoding), mode="w")
            options = pacsv.WriteOptions(delimiter=self._delimiter)
            with pacsv.CSVWriter(sink, schema, write_options=options) as writer:
                for batch in rows:
                    columns = [as_text(column) for column in batch.columns]
                    writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def as_text(values: pa.Array) -> pa.Array:
    """Values as a text file holds them."""
    return hex_of(values) if pa.types.is_binary(values.type) else fit(values, pa.string()).values


class _Encoded:
    """A binary file that takes UTF-8 in pieces and holds another encoding. Every character of Unicode is in GB18030."""

    closed = False

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file, self._encoding = file, encoding
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def write(self, data: Any) -> int:
        self._file.write(self._decoder.decode(bytes(data)).encode(self._encoding))
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True
