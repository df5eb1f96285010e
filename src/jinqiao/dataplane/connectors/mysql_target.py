"""MariaDB and MySQL as a target: LOAD DATA into the run table, the merge in one InnoDB transaction.

DDL commits by itself here. So tables are made before the merge and dropped after it, each by a statement that may be
repeated, and an absent target table stands empty until its first merge.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pymysql

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.ledger import LedgerTarget
from jinqiao.dataplane.connectors.mysql import Place, exact, quote, read_catalogue, server_version, telling
from jinqiao.dataplane.connectors.mysql_loading import LoadingConnection
from jinqiao.dataplane.connectors.sql_target import NewTable, Role, Staged
from jinqiao.dataplane.connectors.values import arrow_type, plain_decimals
from jinqiao.dataplane.errors import TargetKeyNotUnique, TargetNotTransactional, TargetRefused
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType

_KEY_CHARACTERS = 191  # of a key column without a declared length: what an index surely holds in utf8mb4
_VARCHAR_MOST = 500
_ROW_BYTES = 60_000  # InnoDB allows 65,535 for all columns that are not TEXT or BLOB
_INSERT_ROWS, _LOAD_ROWS = 1_000, 20_000
_EXACT_COLLATIONS = {True: "utf8mb4_nopad_bin", False: "utf8mb4_0900_bin"}  # MariaDB's, MySQL's
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
    short_integers = ("tinyint", "smallint", "mediumint", "int")
    transactional_ddl = False
    keys_compare_exactly = False

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        super().__init__()
        self._place = Place(connection, password)
        self._opened: LoadingConnection | None = None
        self._may_load = True
        self._bytewise: set[str] = set()  # columns of the target whose collation compares bytes

    @property
    def _connection(self) -> LoadingConnection:
        if self._opened is None:
            self._opened = self._place.connect(LoadingConnection)
            with telling(), self._opened.cursor() as cursor:
                cursor.execute("SET SESSION default_storage_engine = InnoDB")
        return self._opened

    def close(self) -> None:
        self.forget_session()
        if self._opened is not None:
            with suppress(pymysql.Error):
                self._opened.close()
            self._opened = None

    def test(self) -> str:
        return server_version(self._connection)

    def quoted(self, table: str) -> str:
        return quote(table)

    def session_place(self, table: str) -> str:
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

    def loses(self, there: Column, wanted: Column) -> bool:
        """A time without microseconds and a FLOAT round."""
        if wanted.type is LogicalType.DATETIME:
            return there.native_type not in ("datetime(6)", "timestamp(6)")
        return wanted.type is LogicalType.DOUBLE and there.native_type.startswith("float")

    def spoils(self, there: Column, wanted: Column, value: str) -> str:
        """Blanks at the end are no part of a CHAR, and are cut where a VARCHAR is too short; a BINARY is filled up; a number in
        quotes is the place of an ENUM's value."""
        native = there.native_type
        if wanted.type is LogicalType.TEXT:
            if native.startswith("enum("):
                return f"{exact(value)} NOT IN ({native[5:-1].replace('%', '%%')})"
            has_blank = f"ASCII(RIGHT({value}, 1)) = 32"
            if native.startswith("char("):
                return has_blank
            if native.startswith("varchar(") and wanted.length is None:
                return f"{has_blank} AND CHAR_LENGTH({value}) > {there.length}"
        if wanted.type is LogicalType.BINARY and native.startswith("binary("):
            return f"LENGTH({value}) < {int(native[7:-1])}"
        return ""

    def required(self, table: str) -> list[str]:
        rows = self.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s"
            " AND is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%%auto_increment%%'"
            " AND coalesce(generation_expression, '') = ''",
            (table,),
        )
        return [str(name) for (name,) in rows]

    def create(self, table: NewTable) -> None:
        collations = self._collations(table.beside) if table.beside else {}
        values: list[str] = []
        room = _ROW_BYTES
        parts = []
        for column in table.columns:
            text, used = self._declared(column, table.key, room, collations, values)
            room -= used
            parts.append(text)
        if table.key:
            parts.append(f"PRIMARY KEY ({', '.join(quote(key) for key in table.key)})")
        values.append(table.comment)
        temporary = "TEMPORARY " if table.role is Role.SESSION else ""
        self.execute(
            f"CREATE {temporary}TABLE IF NOT EXISTS {quote(table.name)} ({', '.join(parts)}) ENGINE=InnoDB"
            f" DEFAULT CHARACTER SET utf8mb4 COLLATE {self._exact_collation()} COMMENT %s",
            values,
        )

    def _declared(
        self, column: Column, key: Sequence[str], room: int, collations: Mapping[str, str], values: list[str]
    ) -> tuple[str, int]:
        """A column as it is declared, and the bytes it takes of the row's limit; its comment goes to `values`."""
        type_, used = _type(column, is_key=column.name in key, room=room)
        text = f"{quote(column.name)} {type_}"
        if column.type is LogicalType.TEXT:
            # the run table compares its keys as the target does, or the two could not be joined
            collation = collations.get(column.name, self._exact_collation())
            text += f" CHARACTER SET {collation.split('_')[0]} COLLATE {collation}"
        text += " NULL" if column.nullable and column.name not in key else " NOT NULL"
        if column.comment:
            text += " COMMENT %s"
            values.append(column.comment)
        return text, used

    def _exact_collation(self) -> str:
        return _EXACT_COLLATIONS["MariaDB" in server_version(self._connection)]

    def add_columns(self, table: str, columns: Sequence[Column]) -> None:
        values: list[str] = []
        parts = [f"ADD COLUMN {self._declared(column, (), 0, {}, values)[0]}" for column in columns]
        self.execute(f"ALTER TABLE {quote(table)} {', '.join(parts)}", values)

    def can_widen(self, table: str, names: Sequence[str]) -> bool:
        """A column is declared anew as a whole: those with defaults, keys or a character set of their own are left alone."""
        return not any(
            default is not None or extra or key or (collation or "utf8mb4_").split("_")[0] != "utf8mb4"
            for name, default, extra, key, collation in self.fetch(
                "SELECT column_name, nullif(column_default, 'NULL'), extra, column_key, collation_name"
                " FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s",
                (table,),
            )
            if name in names
        )

    def widen_columns(self, table: str, columns: Sequence[Column]) -> None:
        there = {column.name: column for column in self.existing(table) or ()}
        collations = self._collations(table)
        values: list[str] = []
        parts = []
        for column in columns:
            kept = replace(column, nullable=there[column.name].nullable, comment=there[column.name].comment)
            parts.append(f"MODIFY COLUMN {self._declared(kept, (), 0, collations, values)[0]}")
        self.execute(f"ALTER TABLE {quote(table)} {', '.join(parts)}", values)

    def before_match(self, plan: DeliveryPlan, staged: Staged) -> None:
        collations = self._collations(plan.table)
        self._bytewise = {name for name, collation in collations.items() if collation in _EXACT_COLLATIONS.values()}
        indexed = self.fetch(
            "SELECT column_name FROM information_schema.statistics"
            " WHERE table_schema = DATABASE() AND table_name = %s AND seq_in_index = 1",
            (plan.table,),
        )
        if "MariaDB" in server_version(self._connection) and not {name for (name,) in indexed} & set(plan.keys):
            self.execute(
                "SET SESSION join_cache_level = 4, join_buffer_size = 67108864"
            )  # joins by hash, not row by row

    def create_changes(self, place: str, query: str, *, temporary: bool) -> None:
        # the only table that may be made inside of a transaction here; a merge that was rolled back leaves it
        self.drop_session(place)
        self.execute(f"CREATE TEMPORARY TABLE {place} ENGINE=InnoDB AS {query}")

    def drop_changes(self, place: str) -> None:
        self.drop_session(place)

    def drop_session(self, place: str) -> None:
        self.execute(f"DROP TEMPORARY TABLE IF EXISTS {place}")

    def _collations(self, table: str) -> dict[str, str]:
        rows = self.fetch(
            "SELECT column_name, collation_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name = %s AND collation_name IS NOT NULL",
            (table,),
        )
        return {str(name): str(collation) for name, collation in rows if str(collation).startswith("utf8mb4")}

    def insert(self, place: str, rows: pa.Table) -> None:
        for column in rows.columns:
            if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column), min_count=0).as_py():
                raise TargetRefused(table=place, state="NaN")  # no such numbers here
        if self._may_load:
            try:
                self._load_data(place, rows)
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
                    f"INSERT INTO {place} ({names}) VALUES ({marks})",  # noqa: S608 -- quoted names
                    list(zip(*given, strict=True)),
                )

    def _load_data(self, place: str, rows: pa.Table) -> None:
        """Rows out of memory: they never touch the disk in clear. Warnings count as errors."""
        names, settings = [], []
        for at, field in enumerate(rows.schema):
            if pa.types.is_binary(field.type):
                names.append(f"@v{at}")
                settings.append(f"{quote(field.name)} = UNHEX(@v{at})")
            else:
                names.append(quote(field.name))
        taken, warnings = self._connection.load(
            f"LOAD DATA LOCAL INFILE 'rows' INTO TABLE {place} CHARACTER SET utf8mb4"
            " FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'"
            f" ({', '.join(names)})" + (f" SET {', '.join(settings)}" if settings else ""),
            _lines(rows),
        )
        if warnings or taken != rows.num_rows:
            found = self.fetch("SHOW WARNINGS LIMIT 1")
            if found and str(found[0][1]) == "1062":
                raise TargetKeyNotUnique(table=place)
            raise TargetRefused(table=place, state=str(found[0][1]) if found else "rows")

    def same(self, left: str, right: str, column: Column) -> str:
        if column.type is LogicalType.TEXT and column.name not in self._bytewise:
            return f"{exact(left)} <=> {exact(right)}"
        return f"{left} <=> {right}"

    def instant(self, text: str) -> str:
        return f"TIMESTAMP '{text}'"

    def update_joined(
        self, table: str, others: Sequence[tuple[str, str]], where: str, given: Sequence[tuple[str, str]]
    ) -> str:
        settings = ", ".join(f"t.{name} = {expression}" for name, expression in given)
        joined = "".join(f" JOIN {place} AS {alias}" for place, alias in others)
        return f"UPDATE {table} AS t{joined} SET {settings} WHERE {where}"  # noqa: S608 -- quoted names

    def delete_where(self, table: str, where: str) -> str:
        return f"DELETE t FROM {table} AS t WHERE {where}"

    def delete_keys(self, table: str, keys: Sequence[str], place: str) -> str:
        matched = " AND ".join(f"t.{key} = g.{key}" for key in keys)
        return f"DELETE t FROM {table} AS t JOIN {place} AS g WHERE {matched}"


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


def _lines(rows: pa.Table) -> Iterator[bytes]:
    """Rows as LOAD DATA takes them."""
    for batch in rows.to_batches(max_chunksize=_LOAD_ROWS):
        fields = [_field(column) for column in batch.columns]
        fields[-1] = pc.binary_join_element_wise(fields[-1], "\n", "")
        lines = pc.binary_join_element_wise(*fields, "\t") if len(fields) > 1 else fields[0]
        yield "".join(lines.to_pylist()).encode()
