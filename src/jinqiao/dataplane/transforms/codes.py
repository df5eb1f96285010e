"""Codes of one code table into those of another. Each different code of a batch is looked up once."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.transforms.making import Asked, Made, Operation, marks, on_text
from jinqiao.kernel.code_tables import convert, has_column

Lookup = Callable[[str], tuple[bool, str | None]]


def codes(asked: Asked) -> Operation:
    """Outer blanks do not matter: code columns of fixed width carry them. NULL stays NULL."""
    lookup = _lookup(asked)
    otherwise = asked.parameters.get("otherwise", "refuse")
    if (otherwise == "default") != ("default" in asked.parameters):
        raise asked.wrong("default")
    default = pa.scalar(_text(asked.parameters["default"]), pa.string()) if otherwise == "default" else None
    if default is not None:
        asked.fitted("default")

    def work(given: pa.Array) -> Made:
        encoded = pc.utf8_trim_whitespace(given).dictionary_encode()
        found = [lookup(code) for code in encoded.dictionary.to_pylist()]
        counterparts = pa.array([code for _, code in found], pa.string())
        values = counterparts.take(encoded.indices)
        known = np.array([is_known for is_known, _ in found], np.bool_)
        if known.all():
            return Made(values)
        unknown = pc.invert(pa.array(known).take(encoded.indices))
        if otherwise == "refuse":
            return Made(values, marks(unknown))
        if otherwise == "null":
            return Made(values)
        return Made(pc.if_else(unknown.fill_null(False), given if default is None else default, values))

    return on_text(asked.parameters["column"], work)


def _lookup(asked: Asked) -> Lookup:
    parameters = asked.parameters
    if "pairs" in parameters:
        for name in ("table", "from", "to"):
            if name in parameters:
                raise asked.wrong(name)
        pairs = {code.strip(): None if to is None else _text(to) for code, to in parameters["pairs"].items()}
        return partial(_paired, pairs)
    table = parameters["table"]
    for name in ("from", "to"):
        if name not in parameters or not has_column(table, parameters[name]):
            raise asked.wrong(name)
    return partial(_tabled, table, parameters["from"], parameters["to"])


def _paired(pairs: Mapping[str, str | None], code: str) -> tuple[bool, str | None]:
    return code in pairs, pairs.get(code)


def _tabled(table: str, from_column: str, to_column: str, code: str) -> tuple[bool, str | None]:
    found = convert(table, from_column, to_column, code)
    return found is not None, found


def _text(value: Any) -> str:
    return {True: "1", False: "0"}[value] if isinstance(value, bool) else str(value)
