"""Whatever has an ODBC driver as a source: 达梦, 人大金仓, Oracle, SQL Server and the rest.

The catalogue is asked through the driver manager (`odbc_api`), rows come through arrow-odbc in column-wise blocks, always in
types that the catalogue declares and never in those that a driver guesses (one reports doubles as floats of four bytes).

`Connection.database` is the connection string without user and password. Options:

    dialect            generic, postgresql, kingbase, mysql, oracle, dm, sqlserver; by default what the server calls itself
    schema             where tables without a schema of their own stand; by default the account's
    max_text_bytes     longest text, 65,536; a longer value ends the reading with ValueTooWide, nothing is ever cut
    max_binary_bytes   longest binary value, 1,048,576
    text_encoding      `utf-8`, or `utf-16` for drivers that take narrow text for something else
    connect_timeout_s  10
"""

import contextlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors import odbc_strings
from jinqiao.dataplane.connectors.base import CONNECT_TIMEOUT_S, ReadPlan, Source, select_columns
from jinqiao.dataplane.connectors.odbc_api import OdbcConnection, OdbcFailed
from jinqiao.dataplane.connectors.odbc_catalogue import Server, read_catalogue
from jinqiao.dataplane.connectors.odbc_dialects import Dialect, cast_of, dialect_of, expression
from jinqiao.dataplane.connectors.odbc_errors import Door, load_arrow_odbc, telling
from jinqiao.dataplane.connectors.protection import Throttle, timeout_of
from jinqiao.dataplane.connectors.values import arrow_type, filter_value
from jinqiao.dataplane.errors import FilterNotPossible, TableMissing
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, Operator, RowCondition, TableSchema
from jinqiao.kernel.errors import JinqiaoError

MAX_TEXT_BYTES, MAX_BINARY_BYTES = 65_536, 1_048_576
_BLOCK_BYTES = 32 << 20  # of the driver's buffers


class Place:
    """Where an ODBC connection leads and as whom; never shows its password."""

    def __init__(self, connection: Connection, password: str | None) -> None:
        self._given, self._password = connection, password or ""
        self.options = connection.options
        self.timeout_s = int(self.options.get("connect_timeout_s", CONNECT_TIMEOUT_S))
        self._server: Server | None = None

    @property
    def door(self) -> Door:
        attributes = {name.lower(): value for name, value in odbc_strings.parse(self._given.database).items()}
        return Door(
            host=next((attributes[name] for name in ("server", "servername", "host", "dsn") if name in attributes), ""),
            port=attributes.get("port", ""),
            user=self._given.user,
            database=attributes.get("database", attributes.get("db", "")),
            timeout_s=self.timeout_s,
        )

    @property
    def named_dialect(self) -> Dialect:
        """The dialect that the options, or else the driver's name, promise; the server may say better."""
        attributes = odbc_strings.parse(self._given.database)
        driver = next((value for name, value in attributes.items() if name.lower() == "driver"), "")
        return dialect_of(str(self.options.get("dialect", "")), driver)

    def string(self, *, streaming: bool) -> str:
        dialect = self.named_dialect
        secret = {"UID": self._given.user, "PWD": self._password}
        return odbc_strings.extended(
            self._given.database,
            {**dialect.driver_defaults, **(dialect.streaming if streaming else {})},
            {name: value for name, value in secret.items() if value},
        )

    def control(self, *, autocommit: bool = True, read_only: bool = True) -> OdbcConnection:
        """A connection for the catalogue and for single statements, or the cause why there is none."""
        with telling(door=self.door):
            return OdbcConnection(
                self.string(streaming=False), login_timeout_s=self.timeout_s, autocommit=autocommit, read_only=read_only
            )

    def bulk(self, *, streaming: bool) -> Any:
        """arrow-odbc's connection, in a transaction of its own from the first statement on."""
        arrow_odbc = load_arrow_odbc()
        with telling(door=self.door):
            return arrow_odbc.connect(
                self.string(streaming=streaming), login_timeout_sec=self.timeout_s, autocommit=False
            )

    def server(self, control: OdbcConnection) -> Server:
        if self._server is None:
            with telling():
                product, version, mark = control.info()
                dialect = dialect_of(str(self.options.get("dialect", "")), product)
                schema = str(self.options.get("schema", ""))
                if not schema and dialect.current_schema:
                    rows = control.fetch(dialect.current_schema)
                    schema = (rows[0][0] if rows else "") or ""
            self._server = Server(dialect, product, version, mark, schema)
        return self._server


class OdbcSource(Source):
    engine: ClassVar[Engine] = Engine.ODBC
    snapshot = "one statement"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        self._place = Place(connection, password)

    def _server(self, control: OdbcConnection) -> Server:
        server = self._place.server(control)
        self.snapshot = server.dialect.snapshot
        return server

    def test(self) -> str:
        with closing(self._place.control()) as control:
            server = self._server(control)
        return f"{server.product} {server.version}"

    def tables(self) -> tuple[TableSchema, ...]:
        with closing(self._place.control()) as control:
            return read_catalogue(control, self._server(control))

    def schema(self, table: str) -> TableSchema:
        with closing(self._place.control()) as control:
            found = read_catalogue(control, self._server(control), table)
        if not found:
            raise TableMissing(table=table)
        return found[0]

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        arrow_odbc = load_arrow_odbc()
        schema = self.schema(plan.table)
        with closing(self._place.control()) as control:
            server = self._server(control)
        dialect = server.dialect
        columns = select_columns(schema, plan.columns)
        where, values = where_clause(plan.row_filter, schema, server)
        checked = () if dialect.compares_exactly else plan.row_filter
        further = tuple(
            dict.fromkeys(condition.column for condition in checked if condition.column not in plan.columns)
        )
        read = columns + select_columns(schema, further)
        chosen = ", ".join(expression(dialect, column, server.quote(column.name)) for column in read)
        order = ", ".join(server.quote(name) for name in plan.order_by)
        statement = f"SELECT {chosen} FROM {server.quoted(plan.table)}{where}" + (f" ORDER BY {order}" if order else "")  # noqa: S608
        timeout_s = timeout_of(plan, schema.row_estimate)
        throttle = Throttle(plan)
        options = self._place.options
        text_bytes = int(options.get("max_text_bytes", MAX_TEXT_BYTES))
        binary_bytes = int(options.get("max_binary_bytes", MAX_BINARY_BYTES))
        encoding = (
            arrow_odbc.TextEncoding.UTF16 if options.get("text_encoding") == "utf-16" else arrow_odbc.TextEncoding.AUTO
        )
        widest = binary_bytes if any(column.type is LogicalType.BINARY for column in read) else text_bytes
        connection, whose, finished = self._place.bulk(streaming=True), "", False
        try:
            with telling(plan.table, size=max(widest, text_bytes)):
                whose = self._begin(connection, server, timeout_s)
                reader = connection.read_arrow_batches(
                    statement,
                    batch_size=throttle.batch_rows,
                    parameters=values or None,
                    max_bytes_per_batch=_BLOCK_BYTES,
                    max_text_size=text_bytes,
                    max_binary_size=binary_bytes,
                    schema=pa.schema([pa.field(column.name, _reading_type(column)) for column in read]),
                    query_timeout_sec=timeout_s if dialect.timeout_by_driver else None,
                    payload_text_encoding=encoding,
                    fetch_concurrently=False,
                )
            while True:
                with telling(plan.table, size=widest):
                    batch = next(reader, None)
                if batch is None:
                    finished = True
                    return
                kept = _exactly(batch, checked, schema).select(list(plan.columns))
                for start in range(0, kept.num_rows, throttle.batch_rows):
                    piece = kept.slice(start, throttle.batch_rows)
                    yield piece
                    throttle.took(piece)
        finally:
            if not finished and whose and dialect.kill:
                self._abandon(dialect.kill[1].format(id=whose))
            reader = None
            with contextlib.suppress(arrow_odbc.Error):
                connection.rollback()

    def _begin(self, connection: Any, server: Server, timeout_s: int) -> str:
        """Open the read-only transaction; how the connection is called at the server, where that is needed to stop it."""
        whose = ""
        if server.dialect.kill is not None:
            rows = list(connection.read_arrow_batches(server.dialect.kill[0], batch_size=1, max_text_size=64))
            whose = str(int(rows[0].column(0)[0].as_py()))
        limit = (
            f"SET SESSION max_statement_time = {timeout_s}"
            if "mariadb" in server.product.lower()
            else f"SET SESSION max_execution_time = {timeout_s * 1000}"
        )
        for statement in server.dialect.begin:
            connection.execute(statement.format(milliseconds=timeout_s * 1000, timeout=limit))
        return whose

    def _abandon(self, statement: str) -> None:
        """Stop the statement at the server: otherwise closing the cursor would read all that is left of it."""
        with contextlib.suppress(JinqiaoError, OdbcFailed), closing(self._place.control(read_only=False)) as other:
            other.execute(statement)


def _reading_type(column: Column) -> pa.DataType:
    """As `arrow_type`, but truth values as numbers: a driver makes TRUE of a 2, where `values.fit` finds it."""
    return pa.int64() if column.type is LogicalType.BOOLEAN else arrow_type(column)


def where_clause(conditions: tuple[RowCondition, ...], schema: TableSchema, server: Server) -> tuple[str, list[str]]:
    """` WHERE …` with its parameters, which all travel as text and are cast at the server."""
    parts: list[str] = []
    values: list[str] = []
    for condition in conditions:
        (column,) = select_columns(schema, (condition.column,))
        left = server.quote(column.name)
        mark = cast_of(server.dialect, column)
        if mark is None:
            raise FilterNotPossible(column=column.name, type=column.type.value)
        given = [_bound(text, column) for text in condition.values]
        match condition.operator:
            case Operator.EQUAL:
                parts.append(f"{left} = {mark}")
            case Operator.ONE_OF:
                parts.append(f"{left} IN ({', '.join([mark] * len(given))})")
            case Operator.AT_LEAST:
                parts.append(f"{left} >= {mark}")
            case Operator.AT_MOST:
                parts.append(f"{left} <= {mark}")
            case Operator.STARTS_WITH:
                parts.append(f"{{fn LEFT({left}, {len(condition.values[0])})}} = {mark}")
                given = [condition.values[0]]
        values.extend(given)
    return (" WHERE " + " AND ".join(parts) if parts else ""), values


def _bound(text: str, column: Column) -> str:
    value = filter_value(text, column)
    if isinstance(value, bool):
        return str(int(value))
    return text if isinstance(value, bytes | float) else str(value)


def _exactly(batch: pa.RecordBatch, conditions: tuple[RowCondition, ...], schema: TableSchema) -> pa.RecordBatch:
    """Rows whose texts meet the conditions character by character: collations that fold case, width or blanks let more through."""
    for condition in conditions:
        (column,) = select_columns(schema, (condition.column,))
        if column.type is not LogicalType.TEXT:
            continue
        values = batch.column(condition.column)
        match condition.operator:
            case Operator.EQUAL | Operator.ONE_OF:
                kept = pc.is_in(values, pa.array(condition.values, pa.string()))
            case Operator.STARTS_WITH:
                kept = pc.starts_with(values, condition.values[0])
            case _:
                continue
        batch = batch.filter(kept)
    return batch
