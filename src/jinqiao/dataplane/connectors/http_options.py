"""Options of an HTTP source, from the connection to checked values.

tables      {name: table}, where a table is
                path      below the root address, beginning with `/`
                rows      JSON pointer to the array of rows in an answer; "" = the answer itself
                fields    {column: "integer" | "decimal(12,2)" | "text" …} or {column: {"type": …, "at": pointer in the row,
                          "optional": true}}; a field that no row of a page has is refused unless it is optional
                key       columns of the key
                query     further parameters
                paging    kind        none | page | offset | cursor | link
                          parameter   that takes page number, offset or cursor
                          first       number of the first page, 1; size, size_parameter: rows asked for on a page
                          next        pointer to the next cursor or address; of `link` also "header" (Link: …; rel="next")
                          total       pointer to the number of all rows, where the interface tells it
            lookup    how the gateway asks for one key (without it, the table is for exchanges alone):
                      method      GET | POST
                      in          query | json | path (as `{parameter}` in the table's path)
                      keys        {column: parameter}
                      missing     status codes that say "there is none", e.g. [404]
auth        kind: none | bearer | basic | header | query; name: of the header or parameter. The password is the secret
health      path (below the root address), interval_s (15), timeout_s (3): where the gateway asks whether the service is well;
            without it, it does not ask
timeout_s, retries, max_pages, max_mb, ca (file of certificate authorities)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jinqiao.dataplane.connectors.file_source import declared_type
from jinqiao.dataplane.errors import ConnectionOptionWrong
from jinqiao.kernel.contracts.tables import Column, TableSchema

PAGINGS = ("none", "page", "offset", "cursor", "link")
LOOKUP_METHODS = ("GET", "POST")
LOOKUP_PLACES = ("query", "json", "path")
AUTHS = ("none", "bearer", "basic", "header", "query")


@dataclass(frozen=True, slots=True)
class Paging:
    kind: str = "none"
    parameter: str = ""
    first: int = 1
    size: int = 0
    size_parameter: str = ""
    next: str = ""
    total: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A column and the JSON pointer to its value within a row."""

    column: Column
    at: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Lookup:
    """How one key is asked for. `keys`: parameter by column."""

    method: str
    place: str
    keys: Mapping[str, str]
    missing: frozenset[int]


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    path: str
    rows: str
    fields: tuple[Field, ...]
    query: Mapping[str, str]
    paging: Paging
    lookup: "Lookup | None" = None

    @property
    def schema(self) -> TableSchema:
        return TableSchema(name=self.name, columns=tuple(field.column for field in self.fields))


@dataclass(frozen=True, slots=True)
class HealthPath:
    """Where a service says that it is well (any status 2xx), and how often it is asked."""

    path: str
    interval_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class HttpOptions:
    tables: Mapping[str, Table]
    auth: str
    auth_name: str
    timeout_s: float
    retries: int
    max_pages: int
    max_bytes: int
    ca: str | None
    health: HealthPath | None = None


def options_of(given: Mapping[str, Any]) -> HttpOptions:
    """Raises ConnectionOptionWrong, naming the option."""
    known = {"tables", "auth", "timeout_s", "retries", "max_pages", "max_mb", "ca", "health"}
    if unknown := sorted(set(given) - known):
        raise ConnectionOptionWrong(option=unknown[0][:40])
    tables = _mapping(given, "tables", needed=True)
    auth = _mapping(given, "auth")
    kind, name = str(auth.get("kind", "none")), str(auth.get("name", ""))
    if (
        kind not in AUTHS
        or (kind in ("header", "query") and not name.isascii())
        or ((kind in ("header", "query")) != bool(name))
    ):
        raise ConnectionOptionWrong(option="auth")
    return HttpOptions(
        tables={str(table): _table(str(table), options) for table, options in tables.items()},
        auth=kind,
        auth_name=name,
        timeout_s=_number(given, "timeout_s", 30, most=600),
        retries=int(_number(given, "retries", 4, least=0, most=20)),
        max_pages=int(_number(given, "max_pages", 100_000, most=10_000_000)),
        max_bytes=int(_number(given, "max_mb", 10_000, most=1_000_000) * 1_000_000),
        ca=str(given["ca"]) if given.get("ca") else None,
        health=_health(_mapping(given, "health")),
    )


def _health(given: Mapping[str, Any]) -> HealthPath | None:
    if not given:
        return None
    if sorted(set(given) - {"path", "interval_s", "timeout_s"}):
        raise ConnectionOptionWrong(option="health")
    path = str(given.get("path", ""))
    _check_path(path, "health.path")
    if "{" in path or "}" in path:
        raise ConnectionOptionWrong(option="health.path")
    interval_s = _number(given, "interval_s", 15, least=1, most=3600)
    return HealthPath(path, interval_s, _number(given, "timeout_s", 3, least=0.1, most=30))


def _check_path(path: str, option: str) -> None:
    """A path below the root address, which leads nowhere else."""
    if (
        not path.startswith("/")
        or path.startswith("//")
        or any(mark in path for mark in "\\?#")
        or ".." in path.split("/")
    ):
        raise ConnectionOptionWrong(option=option)


def _mapping(given: Mapping[str, Any], option: str, *, needed: bool = False) -> Mapping[str, Any]:
    found = given.get(option, {})
    if not isinstance(found, Mapping) or (needed and not found):
        raise ConnectionOptionWrong(option=option)
    return found


def _number(given: Mapping[str, Any], option: str, default: float, *, least: float = 0.001, most: float) -> float:
    found = given.get(option, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or not least <= found <= most:
        raise ConnectionOptionWrong(option=option)
    return float(found)


def _table(name: str, given: Any) -> Table:
    if not isinstance(given, Mapping):
        raise ConnectionOptionWrong(option=f"tables.{name[:40]}")
    path, rows = str(given.get("path", "")), str(given.get("rows", ""))
    _check_path(path, "path")
    key = [str(column) for column in given.get("key", ())]
    fields = tuple(_field(str(column), field, key) for column, field in _mapping(given, "fields", needed=True).items())
    if set(key) - {field.column.name for field in fields}:
        raise ConnectionOptionWrong(option="key")
    query = {str(parameter): str(value) for parameter, value in _mapping(given, "query").items()}
    paging = _paging(_mapping(given, "paging"))
    lookup = _lookup(_mapping(given, "lookup"), path, {field.column.name for field in fields})
    return Table(name, path, _pointer(rows, "rows"), fields, query, paging, lookup)


def _lookup(given: Mapping[str, Any], path: str, columns: set[str]) -> Lookup | None:
    if not given:
        if "{" in path or "}" in path:
            raise ConnectionOptionWrong(option="path")
        return None
    method, place = str(given.get("method", "GET")), str(given.get("in", "query"))
    if method not in LOOKUP_METHODS:
        raise ConnectionOptionWrong(option="lookup.method")
    if place not in LOOKUP_PLACES or (place == "json" and method != "POST"):
        raise ConnectionOptionWrong(option="lookup.in")
    keys = {str(column): str(parameter) for column, parameter in _mapping(given, "keys", needed=True).items()}
    names = re.findall(r"\{([^{}]*)\}", path)
    in_path = sorted(keys.values()) if place == "path" else []
    if not keys.keys() <= columns or "" in keys.values() or len(set(keys.values())) != len(keys):
        raise ConnectionOptionWrong(option="lookup.keys")
    if sorted(names) != in_path or re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", path)):
        raise ConnectionOptionWrong(option="path")
    missing = given.get("missing", [])
    if not isinstance(missing, list) or not all(isinstance(code, int) and 400 <= code < 500 for code in missing):
        raise ConnectionOptionWrong(option="lookup.missing")
    return Lookup(method, place, keys, frozenset(missing))


def _field(name: str, given: Any, key: list[str]) -> Field:
    options = given if isinstance(given, Mapping) else {"type": given}
    type_ = declared_type(str(options.get("type", "")))
    at = _pointer(str(options.get("at", "/" + name.replace("~", "~0").replace("/", "~1"))), "at")
    column = replace(type_, name=name, native_type="json", nullable=name not in key, primary_key=name in key)
    return Field(column, at, bool(options.get("optional", False)))


def _paging(given: Mapping[str, Any]) -> Paging:
    kind = str(given.get("kind", "none"))
    total = given.get("total")
    paging = Paging(
        kind=kind,
        parameter=str(given.get("parameter", "")),
        first=int(_number(given, "first", 1, least=0, most=1_000_000)),
        size=int(_number(given, "size", 0, least=0, most=1_000_000)),
        size_parameter=str(given.get("size_parameter", "")),
        next=str(given.get("next", "")),
        total=_pointer(str(total), "total") if total is not None else None,
    )
    if kind not in PAGINGS:
        raise ConnectionOptionWrong(option="paging.kind")
    if (kind in ("page", "offset", "cursor")) != bool(paging.parameter):
        raise ConnectionOptionWrong(option="paging.parameter")
    if (kind in ("cursor", "link")) != bool(paging.next):
        raise ConnectionOptionWrong(option="paging.next")
    if bool(paging.size_parameter) and not paging.size:
        raise ConnectionOptionWrong(option="paging.size")
    if paging.next and not (kind == "link" and paging.next == "header"):
        _pointer(paging.next, "paging.next")
    return paging


def _pointer(text: str, option: str) -> str:
    if text and not text.startswith("/"):
        raise ConnectionOptionWrong(option=option)
    return text


def at(document: Any, pointer: str, missing: Any = None) -> Any:
    """The value that a JSON pointer (RFC 6901) leads to; `missing` where it leads nowhere."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and name in document:
            document = document[name]
        elif isinstance(document, list) and name.isascii() and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return missing
    return document
