"""Look-ups in a SQLite file, on read-only connections.

A look-up by an index takes some tens of microseconds, less than a hop to another thread: it is done at once, within a budget of
steps of SQLite's machine. What exceeds the budget, or finds the file locked, is stopped and goes to a thread that has the whole
time-out; its statement goes there at once for a while. Look-ups that wait at the same time share one transaction: to open and
close it costs more than to look up.

A file may be replaced by another of its name, as an export of each day is: what was opened would go on reading the old one, which
nobody else can see any more. So the name is looked at each second, and on another file everything is opened anew. So it is where
another content was copied into the same file: SQLite tells by a counter in it that somebody wrote, and in two exports that were made
alike the counters are alike, so that it would go on with the pages that it holds.
"""

import asyncio
import contextlib
import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from jinqiao.dataplane.connectors.sqlite import columns_of, where_clause
from jinqiao.dataplane.gateway.errors import SourceNotReachable, SourceNotUsable, SourceTooSlow
from jinqiao.dataplane.gateway.sources.base import LOOKUP_TIMEOUT_S, Bound, LookupSource, Row, Statement, quoted
from jinqiao.dataplane.gateway.sources.merging import Merger
from jinqiao.kernel.contracts.tables import Column, Connection, LogicalType, RowCondition, TableSchema
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

TIE = "jinqiao_tie"
THREADS = 2
CACHE_KIB = 16 * 1024  # the inner pages of an index of some million rows
STEPS_AT_ONCE = 2_000
STEPS_BETWEEN_CHECKS = 20_000
LOOK_EVERY_S = 1.0
SLOW_FOR_S = 10.0  # then a statement is tried at once again: one key with many rows does not speak for all others


class File(NamedTuple):
    """`place`: device and number; `written`: when last, and its size."""

    place: tuple[int, int]
    written: tuple[int, int]


class SqliteLookups(LookupSource):
    def __init__(self, connection: Connection, password: str = "", *, timeout_s: float = LOOKUP_TIMEOUT_S) -> None:
        super().__init__(connection, password)
        self._path = Path(connection.database)
        self._timeout_s = timeout_s
        self._here: sqlite3.Connection | None = None
        self._file: File | None = None  # looked at before anything was opened
        self._version = 0  # of what `_here` has read
        self._look_at = 0.0
        self._files = 0  # how many there were, one after the other: a thread's connection is to one of them
        self._merger = Merger(self.fetch_many, THREADS)
        self._budget = 0
        self._slow: dict[str, float] = {}  # until when its statement goes to a thread
        self._threads = ThreadPoolExecutor(THREADS, "sqlite-lookups")
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []

    def table_name(self, name: str) -> str:
        return quoted(name)

    def selected(self, column: Column) -> str:
        return named(column)

    def key_mark(self, at: int) -> str:
        return "?"

    def key_part(self, column: Column, mark: str) -> str:
        return key_condition(column)

    def condition_part(self, condition: RowCondition, column: Column, bound: Bound) -> str:
        where, values = where_clause((condition,), TableSchema(name="", columns=(column,)))
        bound.values.extend(values)
        return where.removeprefix(" WHERE ").replace(quoted(column.name), named(column))

    def sort_key(self, column: Column) -> str:
        return named(column)

    def sort_value(self, value: Any, column: Column) -> Any:
        """SQLite compares what is stored, in whatever form that is."""
        if value is None or isinstance(value, str | int | float):
            return value
        raise TypeError("no value to order by")

    def sort_mark(self, column: Column | None, value: Any, bound: Bound) -> str:
        bound.values.append(value)
        return "?"

    def tie(self, columns: tuple[Column, ...], salt: str) -> str:
        texts = "".join(f" || char(31) || quote({named(column)})" for column in columns)
        return f"{TIE}('{salt}'{texts})"

    def columns(self, table: str) -> dict[str, Column]:
        with contextlib.closing(self._connect(self._timeout_s)) as db:
            try:
                found = columns_of(db, table)
            except sqlite3.Error as problem:
                raise _translated(problem) from problem
        if not found:
            raise SourceNotUsable
        return {column.name: column for column in found}

    def fetch(self, statement: Statement, keys: Sequence[str]) -> Awaitable[list[Row]]:
        return self._merger.fetch(statement, keys)

    async def fetch_many(self, statement: Statement, keys: Sequence[Sequence[str]]) -> list[list[Row]]:
        """The rows of several look-ups, in the order of their keys. Raises what `fetch` raises."""
        try:
            parameters = [_parameters(statement, one) for one in keys]
        except (ValueError, ArithmeticError) as problem:  # the column is not what the catalogue says
            raise SourceNotUsable from problem
        found: list[list[Row] | None] = [None] * len(parameters)
        now = time.monotonic()
        if now >= self._look_at:
            self._look(now)
        if self._slow.get(statement.sql, 0.0) <= now:
            found = self._at_once(statement.sql, parameters)
        return [
            rows if rows is not None else await self._slowly(statement.sql, parameters[at])
            for at, rows in enumerate(found)
        ]

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        for db in [self._here, *self._opened]:
            if db is not None:
                db.close()
        self._here = None
        self._opened.clear()

    def _look(self, now: float) -> None:
        """Whether it is still the same file. Raises SourceNotReachable where there is none."""
        try:
            found = self.file()
        except OSError as problem:
            raise SourceNotReachable from problem  # the next look-up looks again
        self._look_at = now + LOOK_EVERY_S
        before, self._file = self._file, found
        if before is None or before == found:
            return
        if before.place != found.place or not self._knows_of_writing():
            logger.info("a file of look-ups was replaced, and is opened anew")
            self._files += 1
            self._drop_here()
            self._slow.clear()
            for reader in self.readers:
                reader.forget()

    def _knows_of_writing(self) -> bool:
        """Whether what was written since the last look was written by SQLite's rules, so that its connections know of it."""
        here = self._here
        if here is None:
            return False
        try:
            ((version,),) = self._within_budget(here, "PRAGMA data_version")
            ((journal,),) = self._within_budget(here, "PRAGMA journal_mode")
        except sqlite3.Error:  # e.g. locked just now: opened anew, it is right in any case
            return False
        before, self._version = self._version, version
        return bool(version != before or journal == "wal")  # whose pages come into the file later than they are seen

    def _at_once(self, sql: str, asked: Sequence[tuple[Any, ...]]) -> list[list[Row] | None]:
        """The rows of each, or None for those that take a thread."""
        found: list[list[Row] | None] = [None] * len(asked)
        try:
            here = self._here
            if here is None:
                here = self._here = self._connect(0)
                ((self._version,),) = here.execute("PRAGMA data_version").fetchall()
                here.set_progress_handler(self._spend, STEPS_AT_ONCE)
            if len(asked) > 1:
                self._within_budget(here, "BEGIN")
            try:
                for at, parameters in enumerate(asked):
                    found[at] = self._within_budget(here, sql, parameters)
            finally:
                if here.in_transaction:
                    self._within_budget(here, "COMMIT")
        except sqlite3.Error as problem:
            primary = (getattr(problem, "sqlite_errorcode", None) or 0) & 0xFF
            if primary == sqlite3.SQLITE_INTERRUPT:
                now = time.monotonic()
                self._slow = {other: until for other, until in self._slow.items() if until > now}
                self._slow[sql] = now + SLOW_FOR_S
            elif primary not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                self._drop_here()
                raise _translated(problem) from problem
        return found

    async def _slowly(self, sql: str, parameters: tuple[Any, ...]) -> list[Row]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._in_thread, sql, parameters)

    def _within_budget(self, here: sqlite3.Connection, sql: str, parameters: tuple[Any, ...] = ()) -> list[Row]:
        self._budget = (
            1  # SQLite counts on from the statement's last run, of BEGIN and COMMIT too: the first call may come early
        )
        return here.execute(sql, parameters).fetchall()

    def _spend(self) -> int:
        self._budget -= 1
        return int(self._budget < 0)

    def _drop_here(self) -> None:
        if self._here is not None:
            with contextlib.suppress(sqlite3.Error):
                self._here.close()
            self._here = None

    def _in_thread(self, sql: str, parameters: tuple[Any, ...]) -> list[Row]:
        files = self._files
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is not None and self._local.files != files:
            self._close_in_thread(db)
            db = None
        try:
            if db is None:
                db = self._connect(self._timeout_s)
                self._local.db, self._local.files = db, files
                self._opened.append(db)
            deadline = time.monotonic() + self._timeout_s
            db.set_progress_handler(lambda: int(time.monotonic() > deadline), STEPS_BETWEEN_CHECKS)
            return db.execute(sql, parameters).fetchall()
        except sqlite3.Error as problem:
            error = _translated(problem)
            if db is not None and not isinstance(error, SourceTooSlow):
                self._close_in_thread(db)
            raise error from problem

    def _close_in_thread(self, db: sqlite3.Connection) -> None:
        self._local.db = None
        self._opened.remove(db)
        with contextlib.suppress(sqlite3.Error):
            db.close()

    def file(self) -> File:
        """What its name leads to now. Raises OSError where that is nothing. Not opened: to close it would let go of SQLite's locks."""
        about = self._path.stat()
        return File((about.st_dev, about.st_ino), (about.st_mtime_ns, about.st_size))

    def opened(self, busy_timeout_s: float) -> sqlite3.Connection:
        """A connection that only reads. Raises SourceNotReachable."""
        if not self._path.is_file():
            raise SourceNotReachable
        return sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )

    def _connect(self, busy_timeout_s: float) -> sqlite3.Connection:
        db = self.opened(busy_timeout_s)
        db.execute("PRAGMA query_only=1")
        db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        db.create_function(TIE, 1, _digest, deterministic=True)
        return db


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _translated(problem: sqlite3.Error) -> JinqiaoError:
    primary = (getattr(problem, "sqlite_errorcode", None) or 0) & 0xFF
    logger.warning("a look-up failed: %s", getattr(problem, "sqlite_errorname", type(problem).__name__))
    if primary in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SourceTooSlow()
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return SourceNotReachable()
    return SourceNotUsable()


def named(column: Column) -> str:
    """SQLite takes a name in double quotes that no column has (any more) for a text; one in these marks is an error then."""
    return quoted(column.name, "`")


def key_condition(column: Column) -> str:
    """Equality that can use an index; texts are compared exactly even where the column's own collation is looser."""
    name = named(column)
    if column.type is LogicalType.TEXT:
        return f"({name} = ? AND {name} = ? COLLATE BINARY)"
    if column.type is LogicalType.DATETIME:
        return f"{name} IN (?, ?, ?, ?)"
    return f"{name} = ?"


def _parameters(statement: Statement, keys: Sequence[str]) -> tuple[Any, ...]:
    bound: list[Any] = []
    for text, column in zip(keys, statement.key_columns, strict=True):
        bound += _KEY_PARAMETERS.get(column.type, _as_text)(text)
    return (*bound, *statement.fixed)


def _as_text(text: str) -> tuple[Any, ...]:
    return (text,)


def _instants(text: str) -> tuple[Any, ...]:
    """The ways in which SQLite programs write one instant."""
    day, _, hour = text.partition("T")
    short = hour.split(".")[0] if hour.endswith(".000000") else hour
    return tuple(f"{day}{sign}{time_}" for sign in "T " for time_ in (hour, short))


# for the marks of `key_condition`
_KEY_PARAMETERS: dict[LogicalType, Callable[[str], tuple[Any, ...]]] = {
    LogicalType.TEXT: lambda text: (text, text),
    LogicalType.INTEGER: lambda text: (_whole(text),),
    LogicalType.BOOLEAN: lambda text: (_whole(text),),
    LogicalType.BINARY: lambda text: (bytes.fromhex(text),),
    LogicalType.DATETIME: _instants,
}


def _whole(text: str) -> int | str:
    """A whole number as SQLite stores it; anything else as text, which equals no number."""
    try:
        number = int(text)
    except ValueError:
        return text
    return number if -(2**63) <= number < 2**63 else text
