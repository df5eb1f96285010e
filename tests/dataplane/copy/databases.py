"""Databases that copies come from and go to, read by their own drivers: what is compared has not passed through the engine.

`Residents` is a table whose contents are known at every step: filled by number, changed round by round.
"""

import sqlite3
import time
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql

from tests.servers import Server

Row = tuple[str | None, ...]  # canonical texts, the same from every engine
COLUMNS = ("id", "name", "region", "amount", "born", "updated")
_TRIES = 40  # a quarter of a second each: a server may just be coming back


class Database(ABC):
    """One database of one engine."""

    name: str
    url: str
    series: str  # SELECT that gives the numbers 1 to {rows} as i
    time_type = "timestamp"
    settles_s = 0.0  # after a change, until a copy can tell this state of a table from the one before
    born = "date '1890-02-28'"
    clock = "timestamp '2026-03-01 00:00:00' + interval '{hours} hours' + (i % 3000) * interval '1 second'"
    shown = ("id::text", "name", "region", "amount::text", "born::text", "to_char(updated, 'YYYY-MM-DD HH24:MI:SS.US')")

    @abstractmethod
    def execute(self, *statements: str) -> None: ...

    @abstractmethod
    def fetch(self, statement: str) -> list[tuple[Any, ...]]: ...

    def rows(self, table: str, where: str = "") -> "Counter[Row]":
        """Every row with how often it is there."""
        condition = f" WHERE {where}" if where else ""
        return Counter(self._row(row) for row in self.fetch(f"SELECT {', '.join(self.shown)} FROM {table}{condition}"))

    def ledger(self, batch: str) -> tuple[int, bool]:
        """Of a batch: chunks that are in, and whether it is merged; then its chunks are no longer counted."""
        if not self.has("jinqiao_ledger"):
            return 0, False
        ((chunks, merged),) = self.fetch(
            f"SELECT coalesce(sum(CASE WHEN chunk > 0 THEN 1 END), 0), coalesce(sum(CASE WHEN chunk = 0 THEN 1 END), 0)"
            f" FROM jinqiao_ledger WHERE batch_id = '{batch}'"
        )
        return int(chunks), bool(merged)

    def has(self, table: str) -> bool:
        return any(name == table for (name,) in self.fetch(self._tables))

    def analyze(self, table: str) -> None:
        self.execute(f"ANALYZE {table}")

    _tables = "SELECT tablename FROM pg_tables"

    def _row(self, row: tuple[Any, ...]) -> Row:
        return row


class OnServer(Database):
    """Its server can be restarted, and end connections from its side."""

    @abstractmethod
    def cut(self) -> None:
        """End the connections that copies have open here."""

    def __init__(self, server: Server, database: str = "", *, port: int = 0) -> None:
        """`port` of a way to the server, where copies do not go to it directly."""
        self.server, self.database = server, database or server.database
        scheme = server.url.partition(":")[0]
        self.url = (
            f"{scheme}://{server.user}:{quote(server.password)}@{server.host}:{port or server.port}/{self.database}"
        )

    def execute(self, *statements: str) -> None:
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def restart(self) -> None:
        self.server.restart()

    def _connect(self) -> Any:
        for left in reversed(range(_TRIES)):
            try:
                return self.server.connect(self.database)
            except Exception:  # either driver's own; the last one is raised
                if not left:
                    raise
                time.sleep(0.25)
        raise AssertionError


class PostgreSQL(OnServer):
    name = "postgresql"
    series = "SELECT i FROM generate_series(1, {rows}) AS i"

    def cut(self) -> None:
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{self.database}' AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def left_open(self) -> int:
        """Transactions that copies hold open here; they are ended, so that they hold up nothing else."""
        time.sleep(0.2)
        held = f"state = 'idle in transaction' AND datname = '{self.database}' AND pid <> pg_backend_pid()"
        return len(self.fetch(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {held}"))

    def rows_read(self, table: str) -> int:
        """Rows that the server itself counts as read from the table, by backends that have ended."""
        time.sleep(0.3)
        ((read,),) = self.fetch(
            "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables"
            f" WHERE relname = '{table}'"
        )
        return int(read)


class MariaDB(OnServer):
    name = "mysql"
    settles_s = 3.1  # the server tells the time of a table's last change in seconds
    series = "SELECT seq AS i FROM seq_1_to_{rows}"
    time_type = "datetime(6)"
    clock = "timestamp '2026-03-01 00:00:00' + interval {hours} hour + interval (i % 3000) second"
    shown = (
        "CAST(id AS CHAR)", "name", "region", "CAST(amount AS CHAR)", "CAST(born AS CHAR)",
        "DATE_FORMAT(updated, '%Y-%m-%d %H:%i:%s.%f')",
    )  # fmt: skip
    _tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"

    def _connect(self) -> Any:
        connection = super()._connect()
        with connection.cursor() as cursor:
            cursor.execute("SET sql_mode = 'ANSI,TRADITIONAL'")  # || joins texts
        return connection

    def analyze(self, table: str) -> None:
        self.fetch(f"ANALYZE TABLE {table}")

    def cut(self) -> None:
        for (process,) in self.fetch(
            f"SELECT id FROM information_schema.processlist WHERE db = '{self.database}' AND id <> connection_id()"
        ):
            with suppress(pymysql.err.OperationalError):  # it may just have ended by itself
                self.execute(f"KILL CONNECTION {process}")


class SQLite(Database):
    name = "sqlite"
    series = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n"
    time_type = "datetime"
    born = "'1890-02-28'"
    clock = "datetime('2026-03-01 00:00:00', '+{hours} hours', '+' || (i % 3000) || ' seconds')"
    shown = COLUMNS
    _tables = "SELECT name FROM sqlite_master WHERE type = 'table'"

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"sqlite:///{path}"

    def execute(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, timeout=30)) as connection:
            return connection.execute(statement).fetchall()

    def _row(self, row: tuple[Any, ...]) -> Row:
        number, name, region, amount, born, updated = row
        moment = datetime.fromisoformat(updated).strftime("%Y-%m-%d %H:%M:%S.%f")
        return (str(number), name, region, f"{float(amount):.2f}", born, moment)


@dataclass(frozen=True)
class Residents:
    """A source table of `count` rows. A round changes a tenth of them and adds some; with `deletes` it also takes some away."""

    database: Database
    table: str
    count: int

    def fill(self) -> None:
        base = self.database
        base.execute(
            f"DROP TABLE IF EXISTS {self.table}",
            f"CREATE TABLE {self.table} (id bigint PRIMARY KEY, name varchar(60), region varchar(6) NOT NULL,"
            f" amount decimal(12, 2), born date, updated {base.time_type} NOT NULL)",
        )
        self._insert(1, self.count, 0)
        base.analyze(self.table)

    def change(self, number: int, *, deletes: bool) -> None:
        """Round `number`, from 1."""
        base, more = self.database, max(1, self.count // 50)
        clock = base.clock.format(hours=number).replace("i %", "id %")
        base.execute(
            f"UPDATE {self.table} SET name = '改{number}-' || id, amount = round(amount + {number}, 2), updated = {clock}"
            f" WHERE id % 10 = {number % 10}"
        )
        if deletes:
            base.execute(f"DELETE FROM {self.table} WHERE id % 97 = {number % 97}")
        self._insert(self.count + (number - 1) * more + 1, more, number)
        base.analyze(self.table)
        time.sleep(base.settles_s)

    def rows(self) -> "Counter[Row]":
        return self.database.rows(self.table)

    def _insert(self, first: int, count: int, hours: int) -> None:
        base = self.database
        base.execute(
            f"INSERT INTO {self.table} SELECT i + {first - 1}, CASE WHEN i % 17 > 0 THEN '王小明' || i END, '62030' || (i % 5),"
            f" round(i % 100000 * 0.01, 2), CASE WHEN i % 7 > 0 THEN {base.born} END, {base.clock.format(hours=hours)}"
            f" FROM ({base.series.format(rows=count)}) AS numbers"
        )
