"""Look-ups in a SQLite file: a few threads, each with its own read-only connection.

Jobs that wait while a thread works are done in one go and handed back together, which saves most of the hops between threads.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinqiao.dataplane.connectors.sqlite import where_clause
from jinqiao.dataplane.gateway.errors import SourceNotReachable, SourceNotUsable, SourceTooSlow
from jinqiao.dataplane.gateway.sources.base import LOOKUP_TIMEOUT_S, LookupSource, Row, Statement, quoted
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Column, LogicalType, RowCondition, TableSchema
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

THREADS = 2
JOBS_AT_ONCE = 64
HAND_BACK_AFTER_S = 0.002
STEPS_BETWEEN_CHECKS = 20_000


@dataclass(slots=True)
class _Job:
    sql: str
    parameters: Sequence[Any]
    done: "asyncio.Future[list[Row]]"
    result: list[Row] | JinqiaoError | None = None


class SqliteLookups(LookupSource):
    def __init__(self, path: str, *, timeout_s: float = LOOKUP_TIMEOUT_S) -> None:
        self._path = Path(path)
        self._timeout_s = timeout_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def statement(
        self,
        table: str,
        items: tuple[GrantedItem, ...],
        keys: tuple[Column, ...],
        row_filter: tuple[RowCondition, ...],
        columns: dict[str, Column],
        limit: int,
    ) -> Statement:
        parts = [key_condition(column) for column in keys]
        where, values = where_clause(row_filter, TableSchema(name=table, columns=tuple(columns.values())))
        selected = ", ".join(quoted(item.column) for item in items)
        conditions = " AND ".join(parts)
        filters = where.replace(" WHERE ", " AND ", 1)
        sql = f"SELECT {selected} FROM {quoted(table)} WHERE {conditions}{filters} LIMIT ?"  # noqa: S608 -- quoted names, bound values
        return Statement(sql, keys, (*values, limit))

    async def fetch(self, statement: Statement, keys: Sequence[str]) -> list[Row]:
        if self._loop is None:
            self._start()
        loop = asyncio.get_running_loop()
        bound: list[Any] = []
        for text, column in zip(keys, statement.key_columns, strict=True):
            bound.extend(key_parameters(text, column))
        job = _Job(statement.sql, (*bound, *statement.fixed), loop.create_future())
        self._jobs.put(job)
        return await job.done

    async def close(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, self._timeout_s + 1)
        self._threads.clear()
        self._loop = None

    def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        for number in range(THREADS):
            thread = threading.Thread(target=self._work, name=f"sqlite-lookups-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    # ── lookup threads ──

    def _work(self) -> None:
        db: sqlite3.Connection | None = None
        deadline = [0.0]
        while (job := self._jobs.get()) is not None:
            done: list[_Job] = []
            began = time.monotonic()
            while job is not None:
                try:
                    if db is None:
                        db = self._connect(deadline)
                    deadline[0] = time.monotonic() + self._timeout_s
                    job.result = db.execute(job.sql, job.parameters).fetchall()
                except sqlite3.Error as problem:
                    job.result = _translated(problem)
                    if not isinstance(job.result, SourceTooSlow) and db is not None:
                        with contextlib.suppress(sqlite3.Error):
                            db.close()
                        db = None
                except Exception as problem:  # noqa: BLE001 -- the caller must hear of it and the thread must go on
                    logger.error("a look-up failed: %s", type(problem).__name__)
                    job.result = SourceNotUsable()
                done.append(job)
                if len(done) >= JOBS_AT_ONCE or time.monotonic() - began > HAND_BACK_AFTER_S:
                    break
                job = self._next()
            self._hand_back(done)
        if db is not None:
            db.close()

    def _next(self) -> _Job | None:
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return None
        if job is None:
            self._jobs.put(None)  # the end is for the outer loop
        return job

    def _connect(self, deadline: list[float]) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=self._timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        db.execute("PRAGMA query_only=1")
        db.set_progress_handler(lambda: time.monotonic() > deadline[0], STEPS_BETWEEN_CHECKS)
        return db

    def _hand_back(self, jobs: list[_Job]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                self._loop.call_soon_threadsafe(_settle, jobs)


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.done.done():
            continue
        if isinstance(job.result, JinqiaoError):
            job.done.set_exception(job.result)
        else:
            job.done.set_result(job.result or [])


def _translated(problem: sqlite3.Error) -> JinqiaoError:
    primary = (getattr(problem, "sqlite_errorcode", None) or 0) & 0xFF
    logger.warning("a look-up failed: %s", getattr(problem, "sqlite_errorname", type(problem).__name__))
    if primary in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SourceTooSlow()
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return SourceNotReachable()
    return SourceNotUsable()


def key_condition(column: Column) -> str:
    """Equality that can use an index; texts are compared exactly even where the column's own collation is looser."""
    name = quoted(column.name)
    if column.type is LogicalType.TEXT:
        return f"({name} = ? AND {name} = ? COLLATE BINARY)"
    if column.type is LogicalType.DATETIME:
        return f"{name} IN (?, ?, ?, ?)"
    return f"{name} = ?"


def key_parameters(text: str, column: Column) -> tuple[Any, ...]:
    match column.type:
        case LogicalType.TEXT:
            return (text, text)
        case LogicalType.INTEGER | LogicalType.BOOLEAN:
            return (_whole(text),)
        case LogicalType.BINARY:
            return (bytes.fromhex(text),)
        case LogicalType.DATETIME:  # the ways in which SQLite programs write one instant
            day, _, hour = text.partition("T")
            short = hour.split(".")[0] if hour.endswith(".000000") else hour
            return tuple(f"{day}{sign}{time_}" for sign in "T " for time_ in (hour, short))
    return (text,)


def _whole(text: str) -> int | str:
    """A whole number as SQLite stores it; anything else as text, which equals no number."""
    try:
        number = int(text)
    except ValueError:
        return text
    return number if -(2**63) <= number < 2**63 else text
