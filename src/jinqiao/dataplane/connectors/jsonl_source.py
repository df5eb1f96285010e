"""JSON lines as a source: one object a line in UTF-8; its keys are the columns, every value is handed on as text.

    numbers     as they are written: 12345678901234567890.10 keeps all its digits, nothing passes through a float
    true, false 1 and 0         null, or no such key    NULL            ""    an empty text
    objects, arrays             the text that stands in the file

The columns are the keys of the lines in the first 64 MiB, in the order in which they come up, and those that the option
`types` declares. A key that comes twice in one object, a line that is no object, NaN and Infinity are refused.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan
from jinqiao.dataplane.connectors.file_source import FileSource, FileTable, lines_at_most
from jinqiao.dataplane.errors import FileNotReadable
from jinqiao.kernel.contracts.tables import Column, Engine, LogicalType

_HEAD_BYTES = 64 << 20
_BLANK = " \t\n\r"


class _Refused(ValueError):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("a key twice")
    return found


def _constant(name: str) -> Any:
    raise _Refused(name)


_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_constant, object_pairs_hook=_pairs)


def parsed(line: str) -> dict[str, str | None]:
    """The object of one line: every value as text. Raises ValueError."""
    found = _DECODER.decode(line)
    if not isinstance(found, dict):
        raise _Refused("no object")
    for key, value in found.items():
        if value is True or value is False:
            found[key] = "1" if value else "0"
        elif isinstance(value, dict | list):
            return _with_raw_parts(line, found)
    return found


def _with_raw_parts(line: str, found: dict[str, Any]) -> dict[str, str | None]:
    """The same with objects and arrays as the text that stands in the line."""
    place = line.index("{") + 1
    while True:
        key, place = _DECODER.raw_decode(line, _skip(line, place))
        begin = _skip(line, _skip(line, place) + 1)
        value, place = _DECODER.raw_decode(line, begin)
        if isinstance(value, dict | list):
            found[key] = line[begin:place]
        elif isinstance(value, bool):
            found[key] = "1" if value else "0"
        place = _skip(line, place) + 1
        if line[place - 1] == "}":
            return found


def _skip(line: str, place: int) -> int:
    while line[place] in _BLANK:
        place += 1
    return place


def text_array(values: list[str | None]) -> pa.Array:
    """Texts; with half a surrogate pair among them as bytes, which `values.fit` then refuses one by one."""
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        return pa.array([None if v is None else v.encode("utf-8", "surrogatepass") for v in values], pa.binary())


def lines_of(path: Path, table: str, head_bytes: int | None = None) -> Iterator[dict[str, str | None]]:
    """The objects of a file; empty lines are none. Raises FileNotReadable."""
    read = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file):
            read += len(raw)
            try:
                line = raw.decode("utf-8-sig" if number == 0 else "utf-8")
            except UnicodeDecodeError:
                raise FileNotReadable(state="encoding", table=table) from None
            if line.strip(_BLANK):
                try:
                    yield parsed(line)
                except (ValueError, RecursionError):
                    raise FileNotReadable(state=f"line {number + 1}", table=table) from None
            if head_bytes is not None and read >= head_bytes:
                return


class JsonlSource(FileSource):
    engine: ClassVar[Engine] = Engine.JSONL
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")
    title: ClassVar[str] = "JSON lines"

    def columns(self, table: FileTable) -> tuple[Column, ...]:
        names = dict.fromkeys([*self._keys(table), *self.declared(table)])
        return tuple(Column(name=name, type=LogicalType.TEXT, native_type="json") for name in names)

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        if not self._keys(self.find(plan.table)):
            return iter(())  # an empty file says nothing of its columns
        return super().read(plan)

    def _keys(self, table: FileTable) -> tuple[str, ...]:
        return self.known(table.path, "keys", lambda: _keys_of(table))

    def rows_at_most(self, table: FileTable) -> int | None:
        return lines_at_most(table.path)

    def batches(self, table: FileTable, columns: tuple[Column, ...], rows: int) -> Iterator[pa.RecordBatch]:
        names = [column.name for column in columns]
        waiting: list[dict[str, str | None]] = []
        for row in lines_of(table.path, table.name):
            waiting.append(row)
            if len(waiting) == rows:
                yield _batch(waiting, names)
                waiting = []
        if waiting:
            yield _batch(waiting, names)


def _keys_of(table: FileTable) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for row in lines_of(table.path, table.name, _HEAD_BYTES):
        if row.keys() - names.keys():
            names.update(dict.fromkeys(row))
    return tuple(names)


def _batch(rows: list[dict[str, str | None]], names: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([text_array([row.get(name) for row in rows]) for name in names], names=names)
