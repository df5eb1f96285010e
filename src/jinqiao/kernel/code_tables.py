"""Code tables by the name of their standard, for conversions between codes and for lists of codes.

`kernel/codes/tables.toml` holds the small ones. GB/T 2260 (行政区划代码) is computed from `kernel.identifiers.divisions`:

    code      every code of six digits that was ever given
    current   the code in use today: itself, or the successor of a withdrawn one
    name      name of the division; of a withdrawn code the last that it had
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.identifiers.divisions import DivisionCode, six_digit_codes

DIVISIONS = "GB/T 2260"
_DIVISION_COLUMNS = ("code", "current", "name")


@dataclass(frozen=True, slots=True)
class CodeTable:
    """A table with named columns; texts throughout, empty where there is no counterpart."""

    name: str
    title: str
    title_en: str
    edition: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@cache
def code_tables() -> Mapping[str, CodeTable]:
    """All tables that are shipped, by name. GB/T 2260 is among them with its columns and without its rows."""
    text = (files("jinqiao.kernel") / "codes" / "tables.toml").read_text(encoding="utf-8")
    tables = {
        name: CodeTable(
            name=name,
            title=entry["title"],
            title_en=entry["title_en"],
            edition=entry["edition"],
            columns=tuple(entry["columns"]),
            rows=tuple(tuple(row) for row in entry["rows"]),
        )
        for name, entry in tomllib.loads(text).items()
    }
    tables[DIVISIONS] = CodeTable(DIVISIONS, "行政区划", "administrative division", DIVISIONS, _DIVISION_COLUMNS, ())
    return tables


def has_column(table: str, column: str) -> bool:
    found = code_tables().get(table)
    return found is not None and column in found.columns


@cache
def codes_of(table: str, column: str) -> frozenset[str]:
    """All that stands in a column. Raises KeyError where there is no such table or column."""
    if table == DIVISIONS:
        codes = six_digit_codes()
        if column == "name":
            return frozenset(DivisionCode(code).name for code in codes)
        if column == "code":
            return frozenset(codes)
        if column == "current":
            return frozenset(code for code in codes if DivisionCode(code).withdrawn_in is None)
        raise KeyError(column)
    found = code_tables()[table]
    if column not in found.columns:
        raise KeyError(column)
    place = found.columns.index(column)
    return frozenset(row[place] for row in found.rows if row[place])


def convert(table: str, from_column: str, to_column: str, value: str) -> str | None:
    """The counterpart of a value; None where the table has none. Raises KeyError where there is no such table or column."""
    if table == DIVISIONS:
        return _division(from_column, to_column, value)
    return _pairs(table, from_column, to_column).get(value)


@cache
def _pairs(table: str, from_column: str, to_column: str) -> Mapping[str, str]:
    found = code_tables()[table]
    if not {from_column, to_column} <= set(found.columns):
        raise KeyError(from_column if from_column not in found.columns else to_column)
    source, target = found.columns.index(from_column), found.columns.index(to_column)
    return {row[source]: row[target] for row in found.rows if row[source] and row[target]}


@lru_cache(maxsize=20_000)
def _division(from_column: str, to_column: str, value: str) -> str | None:
    """Codes of 9 and 12 digits keep what follows their first six; a name converts only where one division in use has it."""
    if not {from_column, to_column} <= set(_DIVISION_COLUMNS):
        raise KeyError(from_column if from_column not in _DIVISION_COLUMNS else to_column)
    if from_column == "name":
        found = _divisions_by_name().get(value, ())
        return found[0] if len(found) == 1 else None
    if not value.isascii() or not value.isdigit() or len(value) not in (6, 9, 12):
        return None
    try:
        code = DivisionCode.parse(value)
        if from_column == "current" and code.withdrawn_in is not None:
            return None
        if to_column == "name":
            return code.name
        return code.resolve().six + value[6:] if to_column == "current" else value
    except JinqiaoError:
        return None


@cache
def _divisions_by_name() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for code in sorted(codes_of(DIVISIONS, "current")):
        found.setdefault(DivisionCode(code).name, []).append(code)
    return {name: tuple(codes) for name, codes in found.items()}
