"""The catalogues of checks and of transforms as data, and what parameters they take: for forms and for the data plane alike.

Types of parameters:

    text        a text, may be empty                item      name or code of a granted item
    integer     a whole number                      items     several of them
    number      a finite number                     column    a column of the source table
    boolean     true or false                       columns   several of them
    value       a text, number or truth value       list      texts or whole numbers, at least one
    choice      one of `choices`                    numbers   finite numbers
    code_table  name of a table that is shipped     pairs     from code to code (or null), at least one
"""

import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any

from jinqiao.kernel.code_tables import code_tables

Entry = Mapping[str, Any]


@cache
def check_catalogue() -> Mapping[str, Entry]:
    """The checks by name, implicit ones included."""
    return _read("checks.toml")


@cache
def transform_catalogue() -> Mapping[str, Entry]:
    """`codes`, `token`, and the operations of `derive`, by name."""
    return _read("transforms.toml")


def _read(name: str) -> Mapping[str, Entry]:
    return tomllib.loads((files("jinqiao.kernel") / "texts" / name).read_text(encoding="utf-8"))


def wrong_parameter(entry: Entry, given: Mapping[str, Any]) -> str | None:
    """The first parameter that is missing, not known or of the wrong type; None where all are right."""
    allowed: Mapping[str, Entry] = entry.get("parameters", {})
    for name in entry.get("needs", ()):
        if name not in given:
            return str(name)
    one_of = entry.get("one_of", ())
    if one_of and not any(name in given for name in one_of):
        return str(one_of[0])
    for name, value in given.items():
        if name not in allowed or not _TYPES[allowed[name]["type"]](value, allowed[name]):
            return str(name)
    return None


def _is_text(value: Any, _: Entry) -> bool:
    return isinstance(value, str)


def _is_name(value: Any, _: Entry) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_integer(value: Any, _: Entry) -> bool:
    if isinstance(value, str):
        return value.lstrip("-").isascii() and value.removeprefix("-").isdigit()
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any, _: Entry) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return Decimal(str(value)).is_finite()
    except InvalidOperation:
        return False


def _is_value(value: Any, entry: Entry) -> bool:
    return isinstance(value, str | bool) or _is_number(value, entry)


def _several(one: Callable[[Any, Entry], bool]) -> Callable[[Any, Entry], bool]:
    return lambda value, entry: (
        isinstance(value, list | tuple) and len(value) > 0 and all(one(item, entry) for item in value)
    )


def _is_code(value: Any, entry: Entry) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _are_pairs(value: Any, _: Entry) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(code, str) for code in value)
        and all(code is None or _is_value(code, {}) for code in value.values())
    )


_TYPES: Mapping[str, Callable[[Any, Entry], bool]] = {
    "text": _is_text,
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda value, _: isinstance(value, bool),
    "value": _is_value,
    "choice": lambda value, entry: value in entry["choices"],
    "list": _several(_is_code),
    "numbers": _several(_is_number),
    "item": _is_name,
    "items": _several(_is_name),
    "column": _is_name,
    "columns": _several(_is_name),
    "code_table": lambda value, _: isinstance(value, str) and value in code_tables(),
    "pairs": _are_pairs,
}
