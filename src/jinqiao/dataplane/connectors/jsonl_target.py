"""JSON lines as a target (file_target): one object a line, UTF-8, all columns in their order.

Integers and decimals are numbers with all their digits, doubles the shortest text that reads back as the same number, truth
`true` and `false`, dates and times ISO texts, binary hexadecimal text. Programs that read numbers as doubles keep 15 digits.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.csv_target import as_text
from jinqiao.dataplane.connectors.file_target import FileTarget
from jinqiao.dataplane.connectors.jsonl_source import lines_of, text_array
from jinqiao.dataplane.connectors.values import plain_decimals
from jinqiao.dataplane.errors import FileNotReadable, TargetRefused
from jinqiao.kernel.contracts.tables import Engine

_READ_ROWS = 20_000
_quoted: Callable[[str], str] = json.JSONEncoder(ensure_ascii=False).encode


class JsonlTarget(FileTarget):
    engine: ClassVar[Engine] = Engine.JSONL
    suffix: ClassVar[str] = ".jsonl"
    other_suffixes: ClassVar[tuple[str, ...]] = (".ndjson",)
    title: ClassVar[str] = "JSON lines"

    def header(self, path: Path) -> tuple[str, ...]:
        return tuple(next(lines_of(path, path.stem), {}))

    def current(self, path: Path, plan: DeliveryPlan) -> Iterator[pa.RecordBatch]:
        names = [column.name for column in plan.columns]
        waiting: list[dict[str, str | None]] = []
        for row in lines_of(path, plan.table):
            if list(row) != names:
                raise FileNotReadable(state="header", table=plan.table)
            waiting.append(row)
            if len(waiting) == _READ_ROWS:
                yield _batch(waiting, names)
                waiting = []
        if waiting:
            yield _batch(waiting, names)

    def write(self, path: Path, rows: Iterator[pa.RecordBatch], plan: DeliveryPlan) -> None:
        names = [column.name for column in plan.columns]
        heads = [("{" if at == 0 else ",") + _quoted(name) + ":" for at, name in enumerate(names)]
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for batch in rows:
                columns = [_literals(column, plan.table) for column in batch.columns]
                for row in zip(*columns, strict=True):
                    file.write("".join([part for pair in zip(heads, row, strict=True) for part in pair]) + "}\n")


def _batch(rows: list[dict[str, str | None]], names: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([text_array([row[name] for row in rows]) for name in names], names=names)


def _literals(values: pa.Array, table: str) -> list[str]:
    """Each value as JSON. Raises TargetRefused: JSON has no NaN and no infinity."""
    type_ = values.type
    shown: list[Any]
    if pa.types.is_boolean(type_):
        return ["null" if value is None else "true" if value else "false" for value in values.to_pylist()]
    if pa.types.is_integer(type_):
        shown = values.cast(pa.string()).to_pylist()
    elif pa.types.is_decimal(type_):
        shown = plain_decimals(values).to_pylist()
    elif pa.types.is_floating(type_):
        if not pc.all(pc.is_finite(values), min_count=0).as_py():
            raise TargetRefused(table=table, state="NaN")
        shown = as_text(values).to_pylist()
    else:
        return ["null" if value is None else _quoted(value) for value in as_text(values).to_pylist()]
    return ["null" if value is None else value for value in shown]
