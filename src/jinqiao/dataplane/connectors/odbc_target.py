"""ODBC as a target, in the dialects that were proved: those of PostgreSQL (人大金仓 speaks it too) and of MariaDB/MySQL.

Statements are those of the target with the same dialect. A chunk goes in by arrow-odbc's arrays of parameters, and its ledger
row by the same connection: both commit together, so a delivery is exactly once here too. Where the ledger is kept at the node,
rows must reach temporary tables of the other connection and go one by one: slow, for small tables.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors import postgresql
from jinqiao.dataplane.connectors.base import LOCK_WAIT_S, DeliveryPlan
from jinqiao.dataplane.connectors.ledger import LedgerTarget
from jinqiao.dataplane.connectors.mysql_target import MysqlTarget
from jinqiao.dataplane.connectors.odbc import Place
from jinqiao.dataplane.connectors.odbc_dialects import TARGETS, unknown
from jinqiao.dataplane.connectors.odbc_errors import load_arrow_odbc, telling
from jinqiao.dataplane.connectors.odbc_session import OdbcSession, with_marks
from jinqiao.dataplane.connectors.postgresql_target import PostgresqlTarget
from jinqiao.dataplane.connectors.values import plain_decimals
from jinqiao.dataplane.errors import TargetRefused
from jinqiao.kernel.contracts.exchange import ChunkManifest, LedgerPlace
from jinqiao.kernel.contracts.tables import Connection, Engine

_BLOCK_BYTES, _BLOCK_ROWS = 16 << 20, 5_000  # of one array of parameters
_MYSQL_SESSION = (
    "SET SESSION time_zone = '+08:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO',"
    f" default_storage_engine = InnoDB, lock_wait_timeout = {LOCK_WAIT_S}, innodb_lock_wait_timeout = {LOCK_WAIT_S}"
)


def open_odbc_target(connection: Connection, password: str | None = None) -> LedgerTarget:
    """The target in the dialect that the options or the driver's name say. Raises DialectUnknown where none can be delivered to."""
    dialect = Place(connection, password).named_dialect.name
    if dialect not in TARGETS:
        raise unknown(dialect)
    return (OdbcMysqlTarget if dialect == "mysql" else OdbcPostgresqlTarget)(connection, password)


class _OverOdbc(LedgerTarget):
    """What takes the place of a dialect's own driver."""

    engine: ClassVar[Engine] = Engine.ODBC
    session_setup: ClassVar[tuple[str, ...]]
    percent_always: ClassVar[bool]

    def _reach(self, connection: Connection, password: str | None) -> None:
        self._odbc = Place(connection, password)
        self._session_opened: OdbcSession | None = None
        self._bulk: Any = None
        self._loading = False

    # one connection does everything here: the others that a dialect's own driver would open know nothing of this place

    def beside(self, plan: DeliveryPlan) -> None:
        return None

    def count_beside(self, plan: DeliveryPlan, where: str) -> None:
        return None

    def compares_while_updating(self, plan: DeliveryPlan) -> bool:
        return False

    @property
    def _connection(self) -> Any:
        if self._session_opened is None:
            control = self._odbc.control(autocommit=False, read_only=False)
            with telling():
                for setting in self.session_setup:
                    control.execute(setting)
                control.commit()
            self._session_opened = OdbcSession(control, always_marks=self.percent_always)
        return self._session_opened

    def _bulk_connection(self) -> Any:
        if self._bulk is None:
            bulk = self._odbc.bulk(streaming=False)
            with telling():
                for setting in self.session_setup:
                    bulk.execute(setting)
                bulk.commit()
            self._bulk = bulk
        return self._bulk

    def close(self) -> None:
        self.forget_session()
        if self._session_opened is not None:
            self._session_opened.close()
        if self._bulk is not None:
            with suppress(load_arrow_odbc().Error):
                self._bulk.rollback()
        self._session_opened = self._bulk = None

    def test(self) -> str:
        with telling(), self._odbc.control() as control:
            server = self._odbc.server(control)
        return f"{server.product} {server.version}"

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        if not self._loading:
            return int(self._connection.execute(statement, tuple(values)).rowcount)
        # the ledger row of a chunk: one row by VALUES, which is in or an error
        text, given = with_marks(statement, values)
        self._bulk_connection().execute(
            text, parameters=[None if value is None else str(value) for value in given] or None
        )
        return 1

    def fetch(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(statement, tuple(values)).fetchall())

    @contextmanager
    def transaction(self, table: str = "") -> Iterator[None]:
        with telling(table):
            if not self._loading:
                with self._connection.transaction():
                    yield
                return
            bulk = self._bulk_connection()
            try:
                yield
                bulk.commit()
            except BaseException:
                with suppress(load_arrow_odbc().Error):
                    bulk.rollback()
                raise

    def load(self, plan: DeliveryPlan, chunk: ChunkManifest, rows: pa.Table | bytes) -> None:
        self._loading = plan.ledger is LedgerPlace.TARGET
        try:
            super().load(plan, chunk, rows)
        finally:
            self._loading = False

    def insert(self, place: str, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        if not self._loading:
            self._insert_by_row(place, rows)
            return
        rows = rows.rename_columns([self._plain(self.quoted_column(name)) for name in rows.schema.names])
        reader = pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches())
        self._bulk_connection().insert_into_table(reader, self._plain(place), _block_rows(rows))

    def _plain(self, name: str) -> str:
        """A quoted name where nobody reads percent signs."""
        return name.replace("%%", "%") if self.percent_always else name

    def _insert_by_row(self, place: str, rows: pa.Table) -> None:
        names = ", ".join(self.quoted_column(name) for name in rows.schema.names)
        marks = ", ".join(["%s"] * rows.num_columns)
        for batch in rows.to_batches(max_chunksize=_BLOCK_ROWS):
            columns = [_bindable(column) for column in batch.columns]
            for row in zip(*columns, strict=True):
                self._connection.execute(f"INSERT INTO {place} ({names}) VALUES ({marks})", row)  # noqa: S608 -- quoted names


class OdbcPostgresqlTarget(_OverOdbc, PostgresqlTarget):
    session_setup = (f"SET TimeZone = '{postgresql.ZONE}'", *postgresql.waiting_settings(""))
    percent_always = False

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        schema = {"schema": connection.options["schema"]} if connection.options.get("schema") else {}
        PostgresqlTarget.__init__(self, Connection(engine=Engine.POSTGRESQL, database="", options=schema))
        self._reach(connection, password)

    def insert_raw(self, plan: DeliveryPlan, place: str, columns: Sequence[str], tuples: bytes) -> int:
        return LedgerTarget.insert_raw(self, plan, place, columns, tuples)  # no COPY here

    def lock(self, table: str) -> None:
        self.execute(self._locking(table))  # a statement at a time, and no savepoints

    def _text(self, text: str) -> str:
        return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


class OdbcMysqlTarget(_OverOdbc, MysqlTarget):
    session_setup = (_MYSQL_SESSION,)
    percent_always = True

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        MysqlTarget.__init__(self, Connection(engine=Engine.MYSQL, database=""))
        self._reach(connection, password)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Comments of tables and columns are written out: the server prepares no definition with parameters."""
        if values and statement.startswith(("CREATE ", "ALTER ")):
            statement = statement % tuple(_literal(str(value)) for value in values)
            statement, values = statement.replace("%", "%%"), ()
        return super().execute(statement, values)

    def insert(self, place: str, rows: pa.Table) -> None:
        for column in rows.columns:
            if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column), min_count=0).as_py():
                raise TargetRefused(table=place, state="NaN")  # no such numbers here
        super().insert(place, rows)


def _literal(text: str) -> str:
    """A text in a statement of a session whose `sql_mode` is ours, so that a backslash escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"


def _block_rows(rows: pa.Table) -> int:
    """Rows of one array of parameters: each takes the room of the widest value of every column."""
    width: int = 16 * rows.num_columns
    for column in rows.columns:
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            width += int(pc.max(pc.binary_length(column)).as_py() or 0) + 1
    return max(1, min(_BLOCK_ROWS, int(rows.num_rows), _BLOCK_BYTES // width))


def _bindable(values: pa.Array) -> list[Any]:
    """Values that a statement can be given: whole numbers and bytes as such, the rest as text."""
    kind = values.type
    if pa.types.is_decimal(kind):
        return list(plain_decimals(values).to_pylist())
    if pa.types.is_boolean(kind):
        return list(values.cast(pa.int8()).cast(pa.string()).to_pylist())
    if pa.types.is_floating(kind):
        return [None if value is None else repr(value) for value in values.to_pylist()]
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return list(values.cast(pa.string()).to_pylist())
    return list(values.to_pylist())
