"""MariaDB and MySQL as a target: LOAD DATA into the run table, the merge in one InnoDB transaction.

DDL commits by itself here. So tables are made before the merge and dropped after it, each by a statement that may be
repeated, and an absent target table stands empty until its first merge.
"""

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pymysql

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.ledger import LedgerTarget
from jinqiao.dataplane.connectors.mysql import Place, exact, quote, read_catalogue, server_version, telling
from jinqiao.dataplane.connectors.values import arrow_type, plain_decimals
from jinqiao.dataplane.errors import TargetKeyNotUnique, TargetNotTransactional, TargetRefused
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType

_KEY_CHARACTERS = 191  # of a key column without a declared length: what an index surely holds in utf8mb4
_VARCHAR_MOST = 500
_ROW_BYTES = 60_000  # InnoDB allows 65,535 for all columns that are not TEXT or BLOB
_INSERT_ROWS, _LOAD_ROWS = 1_000, 20_000
_LOCAL_REFUSED = (1148, 3948, 4166)
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"))
_TYPES = {
    LogicalType.INTEGER: "BIGINT",
    LogicalType.DOUBLE: "DOUBLE",
    LogicalType.BOOLEAN: "TINYINT(1)",
    LogicalType.DATE: "DATE",
    LogicalType.DATETIME: "DATETIME(6)",
}


class MysqlTarget(LedgerTarget):
    engine: ClassVar[Engine] = Engine.MYSQL
    placeholder = "%s"
    transactional_ddl = False
    keys_compare_exactly = False

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        self._place = Place(connection, password)
        self._opened: pymysql.Connection[Any] | None = None
        self._may_load = True

    @property
    def _connection(self) -> "pymysql.Connection[Any]":
        if self._opened is None:
            self._opened = self._place.connect(local_infile=True)
            with telling(), self._opened.cursor() as cursor:
                cursor.execute("SET SESSION default_storage_engine = InnoDB")
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            with suppress(pymysql.Error):
                self._opened.close()
            self._opened = None

    def test(self) -> str:
        return server_version(self._connection)

    def quoted(self, table: str) -> str:
        return quote(table)

    def quoted_column(self, name: str) -> str:
        return quote(name)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        with self._connection.cursor() as cursor:
            return int(cursor.execute(statement, tuple(values)))

    def fetch(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, tuple(values))
            return list(cursor.fetchall())

    @contextmanager
    def transaction(self, table: str = "") -> Iterator[None]:
        connection = self._connection
        with telling(table):
            connection.begin()
            try:
                yield
                connection.commit()
            except BaseException:
                with suppress(pymysql.Error):
                    connection.rollback()
                raise

    def existing(self, table: str) -> tuple[Column, ...] | None:
        found = [schema for schema in read_catalogue(self._connection, table) if schema.name == table]
        return found[0].columns if found else None

    def refuse_table(self, table: str) -> None:
        rows = self.fetch(
            "SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s", (table,)
        )
        engine = str(rows[0][0]) if rows else ""
        if engine != "InnoDB":
            raise TargetNotTransactional(table=table, engine=engine or "VIEW")

    def refuse_column(self, there: Column, wanted: Column) -> bool:
        """A time without microseconds and a FLOAT round."""
        if wanted.type is LogicalType.DATETIME:
            return there.native_type not in ("datetime(6)", "timestamp(6)")
        return wanted.type is LogicalType.DOUBLE and there.native_type.startswith("float")

    def create(self, table: str, plan: DeliveryPlan, *, as_run_table: bool) -> None:
        collations = self._collations(plan.table) if as_run_table else {}
        exact_collation = "utf8mb4_nopad_bin" if "MariaDB" in server_version(self._connection) else "utf8mb4_0900_bin"
        values: list[str] = []
        room = _ROW_BYTES
        parts = []
        for column in plan.columns:
            is_key = column.name in plan.keys
            type_, used = _type(column, is_key=is_key, room=room)
            room -= used
            text = f"{quote(column.name)} {type_}"
            if column.type is LogicalType.TEXT:
                # the run table compares its keys as the target does, or the two could not be joined
                collation = collations.get(column.name, exact_collation)
                text += f" CHARACTER SET {collation.split('_')[0]} COLLATE {collation}"
            text += " NULL" if column.nullable else " NOT NULL"
            if column.comment:
                text += " COMMENT %s"
                values.append(column.comment)
            parts.append(text)
        if plan.keys:
            parts.append(f"PRIMARY KEY ({', '.join(quote(key) for key in plan.keys)})")
        values.append(plan.comment)
        self.execute(
            f"CREATE TABLE IF NOT EXISTS {quote(table)} ({', '.join(parts)}) ENGINE=InnoDB"
            f" DEFAULT CHARACTER SET utf8mb4 COLLATE {exact_collation} COMMENT %s",
            values,
        )

    def _collations(self, table: str) -> dict[str, str]:
        rows = self.fetch(
            "SELECT column_name, collation_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name = %s AND collation_name IS NOT NULL",
            (table,),
        )
        return {str(name): str(collation) for name, collation in rows if str(collation).startswith("utf8mb4")}

    def insert(self, table: str, rows: pa.Table) -> None:
        for column in rows.columns:
            if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column), min_count=0).as_py():
                raise TargetRefused(table=table, state="NaN")  # no such numbers here
        if self._may_load:
            try:
                self._load_data(table, rows)
            except pymysql.Error as problem:
                if problem.args[0] not in _LOCAL_REFUSED:
                    raise
                self._may_load = False  # the server does not take local files: plain inserts from now on
            else:
                return
        names = ", ".join(quote(name) for name in rows.schema.names)
        marks = ", ".join(["%s"] * rows.num_columns)
        with self._connection.cursor() as cursor:
            for batch in rows.to_batches(max_chunksize=_INSERT_ROWS):
                given = [_plain(column).to_pylist() for column in batch.columns]
                cursor.executemany(
                    f"INSERT INTO {quote(table)} ({names}) VALUES ({marks})",  # noqa: S608 -- quoted names
                    list(zip(*given, strict=True)),
                )

    def _load_data(self, table: str, rows: pa.Table) -> None:
        """Rows through a named pipe: they never touch the disk in clear. Warnings count as errors."""
        names, settings = [], []
        for at, field in enumerate(rows.schema):
            if pa.types.is_binary(field.type):
                names.append(f"@v{at}")
                settings.append(f"{quote(field.name)} = UNHEX(@v{at})")
            else:
                names.append(quote(field.name))
        with tempfile.TemporaryDirectory(prefix="jinqiao-") as folder:
            pipe = Path(folder) / "rows"
            os.mkfifo(pipe, 0o600)
            writer = threading.Thread(target=_write_rows, args=(pipe, rows), daemon=True)
            writer.start()
            try:
                with self._connection.cursor() as cursor:
                    taken = cursor.execute(
                        f"LOAD DATA LOCAL INFILE %s INTO TABLE {quote(table)} CHARACTER SET utf8mb4"
                        " FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'"
                        f" ({', '.join(names)})" + (f" SET {', '.join(settings)}" if settings else ""),
                        (str(pipe),),
                    )
                    warnings = int(cursor.warning_count)
            finally:
                # a server that never asked for the rows leaves the writer waiting for a reader
                with suppress(OSError):
                    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
                writer.join()
        if warnings or taken != rows.num_rows:
            found = self.fetch("SHOW WARNINGS LIMIT 1")
            if found and str(found[0][1]) == "1062":
                raise TargetKeyNotUnique(table=table)
            raise TargetRefused(table=table, state=str(found[0][1]) if found else "rows")

    def same(self, left: str, right: str, column: Column) -> str:
        if column.type is LogicalType.TEXT:
            return f"{exact(left)} <=> {exact(right)}"
        return f"{left} <=> {right}"

    def update_statement(self, table: str, run: str, matched: str, changed: str, columns: Sequence[str]) -> str:
        given = ", ".join(f"t.{name} = r.{name}" for name in columns)
        return f"UPDATE {table} AS t JOIN {run} AS r ON {matched} SET {given} WHERE {changed}"  # noqa: S608

    def delete_statement(self, table: str, run: str, matched: str) -> str:
        return f"DELETE t FROM {table} AS t WHERE NOT EXISTS (SELECT 1 FROM {run} AS r WHERE {matched})"  # noqa: S608


def _type(column: Column, *, is_key: bool, room: int) -> tuple[str, int]:
    """Type of a column, and the bytes it takes of the row's limit."""
    if column.type is LogicalType.TEXT:
        length = column.length or (_KEY_CHARACTERS if is_key else 0)
        if is_key or (0 < length <= _VARCHAR_MOST and length * 4 + 2 <= room):
            return f"VARCHAR({length})", length * 4 + 2
        return "LONGTEXT", 12
    if column.type is LogicalType.BINARY:
        return ("VARBINARY(255)", 257) if is_key else ("LONGBLOB", 12)
    if column.type is LogicalType.DECIMAL:
        wanted = arrow_type(column)
        return f"DECIMAL({wanted.precision}, {wanted.scale})", 20
    return _TYPES[column.type], 8


def _plain(values: pa.Array) -> pa.Array:
    """Values that the driver writes exactly: times and decimals as text."""
    if pa.types.is_decimal(values.type):
        return plain_decimals(values)
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        return values.cast(pa.string())
    return values


def _field(values: pa.Array) -> pa.Array:
    """A column as fields of LOAD DATA, NULL as `\\N`."""
    if pa.types.is_boolean(values.type):
        text = values.cast(pa.int8()).cast(pa.string())
    elif pa.types.is_floating(values.type):
        text = pa.array([None if value is None else repr(value) for value in values.to_pylist()], pa.string())
    elif pa.types.is_binary(values.type):
        text = pa.array([None if value is None else value.hex() for value in values.to_pylist()], pa.string())
    elif pa.types.is_string(values.type):
        text = values
        for plain, written in _ESCAPES:
            text = pc.replace_substring(text, plain, written)
    else:
        text = _plain(values).cast(pa.string())
    return text.fill_null("\\N")


def _write_rows(pipe: Path, rows: pa.Table) -> None:
    with suppress(BrokenPipeError), pipe.open("wb", buffering=1 << 20) as file:
        for batch in rows.to_batches(max_chunksize=_LOAD_ROWS):
            fields = [_field(column) for column in batch.columns]
            fields[-1] = pc.binary_join_element_wise(fields[-1], "\n", "")
            lines = pc.binary_join_element_wise(*fields, "\t") if len(fields) > 1 else fields[0]
            file.write("".join(lines.to_pylist()).encode())
