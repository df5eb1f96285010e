"""PostgreSQL as a target: binary COPY into the run table, DDL and merge in ordinary transactions."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder

from jinqiao.dataplane.connectors import base
from jinqiao.dataplane.connectors.base import DeliveryPlan, LedgerState
from jinqiao.dataplane.connectors.ledger import LEDGER, LedgerTarget
from jinqiao.dataplane.connectors.plans import (
    HISTORY_COLUMNS,
    VALID_FROM,
    is_history,
    table_columns,
    table_key,
    version_instant,
)
from jinqiao.dataplane.connectors.postgresql import (
    ZONE,
    Place,
    quote,
    read_catalogue,
    statement,
    telling,
    waiting_settings,
)
from jinqiao.dataplane.connectors.sql_target import NewTable, Role, Staged
from jinqiao.dataplane.connectors.values import arrow_type
from jinqiao.dataplane.errors import TargetNameTooLong
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType
from jinqiao.kernel.errors import JinqiaoError

if TYPE_CHECKING:
    from jinqiao.dataplane.connectors.postgresql_counting import CountBeside

_COPY_ROWS = 20_000
_WRITE_BYTES = 1 << 20
_COPY_HEADER, _COPY_TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_SORT_MB, _HASH_MB = (
    256,
    128,
)  # for building a key, for joining the batch with the table; a server that gives more keeps it
_NAME_BYTES = 63  # what servers keep of a name as they are usually built
_NAME_LIMIT = (
    "SELECT octet_length(convert_to(%s, getdatabaseencoding())), current_setting('max_identifier_length')::int"
)
_LOCK_TURN_S, _LOCK_PAUSE_S = 2, 1
_PAGE_COST = 1.1  # of a page out of turn, as is usual for disks that do not turn
_FEW = 20  # a batch is small where the table has more than so many times its rows
_TYPES = {
    LogicalType.TEXT: "text",
    LogicalType.INTEGER: "bigint",
    LogicalType.DOUBLE: "double precision",
    LogicalType.BOOLEAN: "boolean",
    LogicalType.DATE: "date",
    LogicalType.DATETIME: "timestamp",
    LogicalType.BINARY: "bytea",
}
# types that are read as text and take none, those that round, and those that cut
_NO_TEXT = re.compile(
    r"(?:numeric|uuid|jsonb?|xml|interval|time|inet|cidr|macaddr8?|money|bit|point|lseg|box|path|polygon|circle|tsvector|name)\b|\"char\"|.*\[\]$"
)
# an index over these columns and no others, for all rows, that is held at once
_UNIQUE = """EXISTS (
    SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisunique AND indimmediate AND indisvalid AND indpred IS NULL
    AND indexprs IS NULL AND indnatts = cardinality(%(keys)s::text[])
    AND %(keys)s::text[] <@ ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = indrelid AND attnum = ANY (indkey)))"""
# under a collation that is not deterministic; before version 12 there is none
_LOOSE = """SELECT attname FROM pg_attribute AS a JOIN pg_collation AS c ON c.oid = a.attcollation
    WHERE a.attrelid = to_regclass(%s) AND to_jsonb(c) ->> 'collisdeterministic' = 'false'"""
_COARSE_TIME = re.compile(r"timestamp\([0-5]\)")


class PostgresqlTarget(LedgerTarget):
    engine: ClassVar[Engine] = Engine.POSTGRESQL
    placeholder = "%s"
    short_integers = ("smallint", "integer")

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        super().__init__()
        self._given = connection, password
        self._place = Place(connection, password)
        self._opened: psycopg.Connection[tuple[Any, ...]] | None = None

    @property
    def _connection(self) -> "psycopg.Connection[tuple[Any, ...]]":
        if self._opened is None:
            self._opened = self._place.connect()
            with telling():
                self._opened.execute(statement("; ".join((f"SET TimeZone = '{ZONE}'", *waiting_settings("")))))
        return self._opened

    def close(self) -> None:
        self.forget_session()
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def beside(self, plan: DeliveryPlan) -> "PostgresqlTarget | None":
        if self._at_node(plan) is not None:
            return None  # temporary tables are seen by one connection alone
        other = PostgresqlTarget(*self._given)
        try:
            other.test()
        except JinqiaoError:  # too many connections, for instance
            other.close()
            return None
        return other

    def warm(self, table: str) -> None:
        """Connect, and let the server learn what it must know of the table: a new session reads the catalogue anew."""
        self.existing(table)

    def test(self) -> str:
        with telling():
            row = self._connection.execute("SELECT current_setting('server_version')").fetchone()
        return f"PostgreSQL {row[0] if row else ''}"

    def quoted(self, table: str) -> str:
        return self._place.quoted(table)

    def session_place(self, table: str) -> str:
        return f"pg_temp.{quote(table)}"

    def quoted_column(self, name: str) -> str:
        return quote(name)

    def execute(self, text: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(statement(text), values or None).rowcount

    def fetch(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement(text), values or None).fetchall()

    @contextmanager
    def transaction(self, table: str = "") -> Iterator[None]:
        with telling(table), self._connection.transaction():
            yield

    def prepare(self, plan: DeliveryPlan) -> LedgerState:
        self._refuse_long_names(plan)
        return super().prepare(plan)

    def _refuse_long_names(self, plan: DeliveryPlan) -> None:
        """The server cuts what is longer, says nothing, and does not find the whole name afterwards. Raises TargetNameTooLong."""
        names = (*self._place.split(plan.table), *(column.name for column in table_columns(plan)))
        for name in (name for name in names if len(name.encode()) > _NAME_BYTES):
            with telling(plan.table):
                ((used, limit),) = self.fetch(_NAME_LIMIT, (name,))
            if used > limit:
                raise TargetNameTooLong(name=name, limit=limit)

    def _make_ledger(self) -> None:
        if not self.has(LEDGER):
            # two first deliveries at once: `IF NOT EXISTS` does not see what the other one has not committed yet
            self.fetch("SELECT pg_advisory_xact_lock(hashtext(%s))", (LEDGER,))
            super()._make_ledger()

    def existing(self, table: str) -> tuple[Column, ...] | None:
        found = read_catalogue(self._connection, self._place, table)
        return found[0][0].columns if found else None

    def has(self, table: str) -> bool:
        return bool(self.fetch("SELECT 1 FROM pg_class WHERE oid = to_regclass(%s)", (self.quoted(table),)))

    def loose_keys(self, table: str, texts: Sequence[str]) -> list[str]:
        loose = {str(name) for (name,) in self.fetch(_LOOSE, (self.quoted(table),))}
        return [name for name in texts if name in loose]

    def required(self, table: str) -> list[str]:
        rows = self.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
            " AND attnotnull AND NOT atthasdef AND attidentity = ''",
            (self.quoted(table),),
        )
        return [str(name) for (name,) in rows]

    def create(self, table: NewTable) -> None:
        # An unlogged table is emptied when its server crashes; `prepare` notices. One that becomes the target is logged, and one
        # for few rows too: making an unlogged table forces three files to the disk, which takes longer than the log of these rows.
        beside = table.role is Role.RUN and self.has(table.beside)
        unlogged = "UNLOGGED " if beside and not table.is_small else ""
        parts = [
            _declared(column, required=column.name in table.key or not column.nullable) for column in table.columns
        ]
        if table.key and table.role is Role.TARGET:
            parts.append(f"PRIMARY KEY ({', '.join(quote(key) for key in table.key)})")
        name = self.session_place(table.name) if table.role is Role.SESSION else self.quoted(table.name)
        self.execute(f"CREATE {unlogged}TABLE {name} ({', '.join(parts)})")
        if beside or table.role is Role.SESSION:
            return  # it goes away again: nobody reads what its columns mean
        if table.comment:
            self.execute(f"COMMENT ON TABLE {name} IS {self._text(table.comment)}")
        self._comment_columns(name, table.columns)

    def _comment_columns(self, place: str, columns: Sequence[Column]) -> None:
        for column in columns:
            if column.comment:
                self.execute(f"COMMENT ON COLUMN {place}.{quote(column.name)} IS {self._text(column.comment)}")

    def add_columns(self, table: str, columns: Sequence[Column]) -> None:
        added = ", ".join(f"ADD COLUMN {_declared(column, required=False)}" for column in columns)
        self.execute(f"ALTER TABLE {self.quoted(table)} {added}")
        self._comment_columns(self.quoted(table), columns)

    def can_widen(self, table: str, names: Sequence[str]) -> bool:
        return True

    def widen_columns(self, table: str, columns: Sequence[Column]) -> None:
        there = {column.name: column for column in self.existing(table) or ()}
        for column in columns:
            name = quote(column.name)
            by = "::int" if there[column.name].type is LogicalType.BOOLEAN else ""
            self.execute(
                f"ALTER TABLE {self.quoted(table)} ALTER COLUMN {name} TYPE {_type(column)} USING {name}{by}::{_type(column)}"
            )

    def _text(self, text: str) -> str:
        return psycopg.sql.Literal(text).as_string(self._connection)

    def compares_while_updating(self, plan: DeliveryPlan) -> bool:
        if not plan.is_window or is_history(plan) or plan.rows_deleted:
            return False
        from jinqiao.dataplane.connectors.postgresql_counting import PLAIN

        query = f"SELECT {PLAIN} AND {_UNIQUE} FROM pg_class WHERE oid = to_regclass(%(table)s)"  # noqa: S608 -- our own text
        given = {"keys": list(plan.keys), "table": self.quoted(plan.table)}
        found = self._connection.execute(statement(query), given).fetchall()
        return bool(found and found[0][0])

    def count_beside(self, plan: DeliveryPlan, where: str) -> "CountBeside | None":
        from jinqiao.dataplane.connectors import postgresql_counting as counting

        table = self.quoted(plan.table)
        plain = self.fetch(counting.PLAIN_BYTES, (table,))
        if not plain or plain[0][0] < counting.WORTH_BYTES:
            return None
        query = f"SELECT count(*) FROM {table}{f' WHERE {where}' if where else ''}"  # noqa: S608 -- quoted names
        return counting.CountBeside(self._place, query, alone=plain[0][0] < counting.ALONE_BYTES)

    def run_becomes_table(self, plan: DeliveryPlan, run: str) -> bool:
        if self.fetch("SELECT relpersistence FROM pg_class WHERE oid = to_regclass(%s)", (self.quoted(run),)) != [
            ("p",)
        ]:
            return False  # made beside a table that was there then: it would not outlive a crash
        schema, name = self._place.split(plan.table)
        table = self.quoted(plan.table)
        if schema != self._place.schema:
            self.execute(f"ALTER TABLE {self.quoted(run)} SET SCHEMA {quote(schema)}")
        self.execute(f"ALTER TABLE {quote(schema)}.{quote(run)} RENAME TO {quote(name)}")
        if is_history(plan):
            begin, end = (_declared(column, required=False) for column in HISTORY_COLUMNS)
            given = f"NOT NULL DEFAULT {self.instant(version_instant(plan))}"  # no row is written for it
            self.execute(f"ALTER TABLE {table} ADD COLUMN {begin} {given}, ADD COLUMN {end}")
            self.execute(f"ALTER TABLE {table} ALTER COLUMN {quote(VALID_FROM)} DROP DEFAULT")
            self._comment_columns(table, HISTORY_COLUMNS)
        if key := table_key(plan):
            self._give_memory()
            self.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({', '.join(quote(name) for name in key)})")
        return True

    def lock(self, table: str) -> None:
        """Asked for in turns: behind a question that waits every other writer waits too, and between two of them each comes in."""
        until = time.monotonic() + base.LOCK_WAIT_S
        turn, after = min(_LOCK_TURN_S, base.LOCK_WAIT_S), base.LOCK_WAIT_S
        while True:
            try:
                self.execute(
                    f"SAVEPOINT jinqiao_lock; SET LOCAL lock_timeout = '{turn}s'; {self._locking(table)};"
                    f" SET LOCAL lock_timeout = '{after}s'; RELEASE jinqiao_lock"
                )
            except psycopg.errors.LockNotAvailable:
                if time.monotonic() >= until:
                    raise
                self.execute("ROLLBACK TO jinqiao_lock; RELEASE jinqiao_lock")
                time.sleep(_LOCK_PAUSE_S)
            else:
                return

    def _locking(self, table: str) -> str:
        return f"LOCK TABLE {self.quoted(table)} IN SHARE ROW EXCLUSIVE MODE"  # others may read on

    def before_match(self, plan: DeliveryPlan, staged: Staged) -> None:
        """The key of the run table says at once that it is unique, to us and to the planner."""
        self._give_memory()
        self._expect_few(plan)
        self.execute(f"CREATE UNIQUE INDEX ON {staged.rows} ({', '.join(quote(key) for key in plan.keys)})")

    def _give_memory(self) -> None:
        self.fetch(
            f"SELECT set_config(name, CASE name WHEN 'work_mem' THEN '{_HASH_MB}MB' ELSE '{_SORT_MB}MB' END, true) FROM pg_settings"  # noqa: S608
            f" WHERE name = 'maintenance_work_mem' AND setting::bigint < {_SORT_MB << 10}"
            f" OR name = 'work_mem' AND setting::bigint < {_HASH_MB << 10}"
        )
        # few rows are found among many: what the planner expects to hand on must not keep it from working in parallel
        self.fetch("SELECT set_config('parallel_tuple_cost', '0', true), set_config('jit', 'off', true)")

    def _expect_few(self, plan: DeliveryPlan) -> None:
        """A small batch is looked up in a large table by its key, not by reading the whole table.

        The planner's default says that a page out of turn costs four pages in turn, which was right for turning disks: it then
        reads 1,000,000 rows to find 10,000 of them (0.67 s instead of 0.12 s).
        """
        self.fetch(
            f"SELECT set_config('random_page_cost', '{_PAGE_COST}', true) FROM pg_class WHERE oid = to_regclass(%s)"  # noqa: S608
            f" AND reltuples > {plan.rows * _FEW} AND current_setting('random_page_cost')::float8 > {_PAGE_COST}",
            (self.quoted(plan.table),),
        )

    def empty(self, table: str, *, reload: bool) -> int:
        if not reload or not self._may_truncate(table):
            return super().empty(table, reload=reload)
        rows = self.count(table)
        self.execute(f"TRUNCATE {table}")
        return rows

    def _may_truncate(self, table: str) -> bool:
        """Nothing refers to the table, no trigger wants to see its rows go, and the account may."""
        found = self.fetch(
            "SELECT has_table_privilege(oid, 'TRUNCATE') AND relkind IN ('r', 'p') AND NOT relhastriggers"
            " FROM pg_class WHERE oid = to_regclass(%s)",
            (table,),
        )
        return bool(found and found[0][0])

    def create_changes(self, place: str, query: str, *, temporary: bool) -> None:
        self.execute(f"CREATE {'' if temporary else 'UNLOGGED '}TABLE {place} AS {query}")
        self.execute(f"ANALYZE {place}")  # many changes are joined by hash, few by index

    def insert(self, place: str, rows: pa.Table) -> None:
        encoder = ArrowToPostgresBinaryEncoder(rows.schema)
        names = ", ".join(quote(name) for name in rows.schema.names)
        copy = f"COPY {place} ({names}) FROM STDIN (FORMAT binary)"
        with self._connection.cursor() as cursor, cursor.copy(statement(copy)) as stream:
            stream.write(encoder.write_header())
            for batch in rows.to_batches(max_chunksize=_COPY_ROWS):
                stream.write(encoder.write_batch(batch))
            stream.write(encoder.finish())

    def insert_raw(self, plan: DeliveryPlan, place: str, columns: Sequence[str], tuples: bytes) -> int:
        copy = f"COPY {place} ({', '.join(quote(name) for name in columns)}) FROM STDIN (FORMAT binary)"
        view = memoryview(tuples)
        with self._connection.cursor() as cursor:
            with cursor.copy(statement(copy)) as stream:
                stream.write(_COPY_HEADER)
                for start in range(0, len(view), _WRITE_BYTES):
                    stream.write(view[start : start + _WRITE_BYTES])
                stream.write(_COPY_TRAILER)
            return cursor.rowcount

    def same(self, left: str, right: str, column: Column) -> str:
        if column.type is LogicalType.TEXT:
            return f'{left}::text COLLATE "C" IS NOT DISTINCT FROM {right}::text COLLATE "C"'
        if column.type is LogicalType.DOUBLE:  # 0 and -0 are equal and not the same
            return (
                f"({left} IS NOT DISTINCT FROM {right} AND ({left} <> 0 OR {left}::text = {right}::text) IS NOT FALSE)"
            )
        return f"{left} IS NOT DISTINCT FROM {right}"

    def instant(self, text: str) -> str:
        return f"TIMESTAMP '{text}'"

    def delete_keys(self, table: str, keys: Sequence[str], place: str) -> str:
        matched = " AND ".join(f"t.{key} = g.{key}" for key in keys)
        return f"DELETE FROM {table} AS t USING {place} AS g WHERE {matched}"  # noqa: S608 -- quoted names

    def spoils(self, there: Column, wanted: Column, value: str) -> str:
        """Blanks at the end are no part of a character(n), and are cut where a varchar(n) is too short; an hour that summer time
        left out in China is moved."""
        if wanted.type is LogicalType.TEXT:
            has_blank = f"ascii(right({value}, 1)) = 32"
            if there.native_type.startswith("character("):
                return has_blank
            if there.length is not None and not there.native_type.startswith("character varying("):
                # a domain over one of both, which only the server tells apart
                return f'{value}::{there.native_type}::text COLLATE "C" <> {value} COLLATE "C"'
            if there.length is not None and wanted.length is None:
                return f"{has_blank} AND char_length({value}) > {there.length}"
        if wanted.type is LogicalType.DATETIME and "with time zone" in there.native_type:
            return f"{value} < '1992-01-01' AND {value} <> {value} AT TIME ZONE '{ZONE}' AT TIME ZONE '{ZONE}'"
        return ""

    def loses(self, there: Column, wanted: Column) -> bool:
        native = there.native_type
        if wanted.type is LogicalType.BOOLEAN:
            return there.type is not LogicalType.BOOLEAN  # no number takes a truth here without a cast
        if wanted.type is LogicalType.TEXT:
            return _NO_TEXT.match(native) is not None
        if wanted.type is LogicalType.DATETIME:
            return _COARSE_TIME.match(native) is not None
        return wanted.type is LogicalType.DOUBLE and native == "real"


def _declared(column: Column, *, required: bool) -> str:
    return f"{quote(column.name)} {_type(column)}{' NOT NULL' if required else ''}"


def _type(column: Column) -> str:
    if column.type is LogicalType.TEXT and column.length:
        return f"varchar({column.length})"
    if column.type is LogicalType.DECIMAL:
        wanted = arrow_type(column)
        return f"numeric({wanted.precision}, {wanted.scale})"
    return _TYPES[column.type]
