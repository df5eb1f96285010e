"""Addresses of tables as connections.

    postgresql://user:password@host:port/database?sslmode=verify-full     further parameters become options of the connector
    mysql://user:password@host:port/database
    sqlite:///relative.db    sqlite:////absolute.db
    odbc:Driver={…};Server=…;Database=…    user and password from ODBC_USER, ODBC_PASSWORD
    https://user@host/root   a paged JSON interface, a source only; options say what it has
    data/people.csv          by its extension: csv, xlsx, jsonl, parquet, txt and tsv (CSV, the second with tabs); a folder is a
                             folder of files

A password may be left out of the address and stand in PGPASSWORD, MYSQL_PWD, JINQIAO_HTTP_TOKEN: then it is on no command line.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from jinqiao.dataplane.errors import AddressNotUnderstood
from jinqiao.kernel.contracts.tables import Connection, Engine

_FILES = {
    ".csv": Engine.CSV,
    ".txt": Engine.CSV,
    ".tsv": Engine.CSV,
    ".xlsx": Engine.EXCEL,
    ".xls": Engine.EXCEL,
    ".jsonl": Engine.JSONL,
    ".ndjson": Engine.JSONL,
    ".parquet": Engine.PARQUET,
    ".db": Engine.SQLITE,
    ".sqlite": Engine.SQLITE,
    ".sqlite3": Engine.SQLITE,
}
_IN_FILES = {Engine.FOLDER, *_FILES.values()}
_OF_TABLES = (".csv", ".xlsx", ".jsonl", ".parquet")  # by which a folder's files are tables, and a target makes them
# options that say which data is meant, with what is meant without them
_CHOOSE = {"schema": "public", "dialect": "", "tables": ""}
_SERVERS = {
    "postgresql": (Engine.POSTGRESQL, "PGPASSWORD"),
    "postgres": (Engine.POSTGRESQL, "PGPASSWORD"),
    "mysql": (Engine.MYSQL, "MYSQL_PWD"),
    "mariadb": (Engine.MYSQL, "MYSQL_PWD"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A connection with its password opened; `table` where the address itself names one."""

    connection: Connection
    password: str | None
    table: str = ""

    @property
    def name(self) -> str:
        """The place without its password, to tell one from another: the same wherever the command is called."""
        at = self.connection
        database = str(Path(at.database).resolve()) if at.engine in _IN_FILES else at.database
        chosen = {name: str(at.options.get(name) or usual) for name, usual in _CHOOSE.items()}
        others = "&".join(f"{name}={value}" for name, value in chosen.items() if value != _CHOOSE[name])
        return f"{at.engine.value}:{at.user}@{at.host}:{at.port or ''}/{database}" + (f"?{others}" if others else "")


def place_of(address: str, options: Mapping[str, Any] | None = None) -> Place:
    """The place at an address; `options` are added to those that the address names.

    Raises AddressNotUnderstood; the address itself is not repeated, it may hold a password.
    """
    place = _place(address)
    if not options:
        return place
    at = place.connection
    return replace(place, connection=replace(at, options={**at.options, **options}))


def _place(address: str) -> Place:
    if address.startswith("odbc:"):
        user = os.environ.get("ODBC_USER", "")
        return Place(
            Connection(engine=Engine.ODBC, database=address[5:], user=user), os.environ.get("ODBC_PASSWORD") or None
        )
    if "://" not in address:
        return _file(Path(address))
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise AddressNotUnderstood(scheme=address.split(":", 1)[0][:20]) from None
    if parts.scheme in ("http", "https"):
        return _http(parts)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        return Place(Connection(engine=Engine.SQLITE, database=unquote(parts.path[1:])), None)
    if parts.scheme not in _SERVERS or not parts.hostname or len(parts.path) < 2:
        raise AddressNotUnderstood(scheme=parts.scheme[:20])
    engine, variable = _SERVERS[parts.scheme]
    password = unquote(parts.password) if parts.password is not None else os.environ.get(variable)
    connection = Connection(
        engine=engine,
        database=unquote(parts.path[1:]),
        host=parts.hostname,
        port=port,
        user=unquote(parts.username or ""),
        options=dict(parse_qsl(parts.query)),
    )
    return Place(connection, password)


def _http(parts: SplitResult) -> Place:
    password = unquote(parts.password) if parts.password is not None else os.environ.get("JINQIAO_HTTP_TOKEN")
    root = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return Place(Connection(engine=Engine.HTTP, database=root, user=unquote(parts.username or "")), password or None)


def _file(path: Path) -> Place:
    engine = _FILES.get(path.suffix.lower())
    if engine is None:
        if path.is_dir() or not path.suffix:
            return Place(Connection(engine=Engine.FOLDER, database=str(path)), None, "files")
        raise AddressNotUnderstood(scheme=path.suffix[:20])
    if engine is Engine.SQLITE:
        return Place(Connection(engine=engine, database=str(path)), None)
    if path.suffix not in _OF_TABLES:
        # the file itself: `people.csv` beside it is another table
        options = {"delimiter": "\t"} if path.suffix.lower() == ".tsv" else {}
        return Place(Connection(engine=engine, database=str(path), options=options), None, path.stem)
    # the folder of the file, so that a target that is not there yet can be made in it
    return Place(Connection(engine=engine, database=str(path.parent)), None, path.stem)
