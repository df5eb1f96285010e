"""What a source says of a watermark column: its clock, as far as a cursor may trust it, and rows that have no watermark.

A cursor must not run ahead of rows that are still to come. Two things come late: rows stamped with a time in the future by a
clock that is wrong (never past `now`), and rows stamped by a transaction that commits later (`settled`, where the server can
say since when its oldest open transaction runs). Wall-clock times without a zone may have been written in China's time or in
the server's own: the earlier of both is safe, and costs no more than reading the difference again.
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from jinqiao.dataplane.connectors.base import ReadPlan, Source
from jinqiao.dataplane.connectors.protection import timeout_of
from jinqiao.dataplane.errors import ConnectionLost
from jinqiao.kernel.contracts.tables import Column, TableSchema
from jinqiao.kernel.moments import CHINA, real_time

if TYPE_CHECKING:
    from jinqiao.dataplane.connectors.mysql import Place as MysqlPlace
    from jinqiao.dataplane.connectors.postgresql_reading import Query

MARGIN = timedelta(
    seconds=5
)  # between the instant in which a transaction begins and that in which others see that it has

_POSTGRESQL_NOW = "SELECT clock_timestamp() AT TIME ZONE 'Asia/Shanghai', clock_timestamp()::timestamp"
# Prepared transactions do not say when they began, and those of other accounts are shown only to pg_read_all_stats.
_POSTGRESQL_TELLS = """
SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AND NOT pg_is_in_recovery()
       AND NOT EXISTS (SELECT FROM pg_prepared_xacts)
"""
_POSTGRESQL_OLDEST = """
SELECT min(a.xact_start) AT TIME ZONE 'Asia/Shanghai', min(a.xact_start)::timestamp FROM pg_stat_activity a
WHERE a.xact_start IS NOT NULL AND a.pid <> pg_backend_pid() AND a.backend_type NOT IN ('autovacuum worker', 'walsender')
"""


@dataclass(frozen=True, slots=True)
class WatermarkFacts:
    """Wall-clock times in the frame of the column, taken before a snapshot is opened.

    `settled`: no transaction that is open began before; whatever the server itself stamps from now on is later. None where that
    cannot be known: then only an overlap helps against late commits. `null_rows` are rows of the plan without a watermark.
    """

    now: datetime
    settled: datetime | None = None
    null_rows: int | None = None

    @property
    def ceiling(self) -> datetime:
        """As far as a cursor may go."""
        return self.now if self.settled is None else min(self.now, self.settled)


def read_facts(source: Source, plan: ReadPlan, column: Column) -> WatermarkFacts:
    """Of a source without a clock of its own (files, HTTP): the node's clock; rows without a watermark by reading the column."""
    real = datetime.fromtimestamp(real_time(), UTC)
    now = min(real.replace(tzinfo=None), real.astimezone(CHINA).replace(tzinfo=None))
    null_rows = None
    if column.nullable:
        narrow = ReadPlan(
            table=plan.table,
            columns=(column.name,),
            row_filter=plan.row_filter,
            rows_per_s=plan.rows_per_s,
            stop=plan.stop,
        )
        null_rows = sum(batch.column(0).null_count for batch in source.read(narrow))
    return WatermarkFacts(now, None, null_rows)


def postgresql_facts(query: "Query", column: Column) -> WatermarkFacts:
    """`query` is that of a plan with the grant's filter."""
    from jinqiao.dataplane.connectors.postgresql import quote, statement, waiting_settings

    null_rows = None
    with query.connections.asking(query.plan.table) as connection:
        # the clock first: what is not seen to be open afterwards has ended, or begins later
        now = _in_frame(connection.execute(_POSTGRESQL_NOW).fetchone(), column)
        tells = connection.execute(_POSTGRESQL_TELLS).fetchone()
        oldest = connection.execute(_POSTGRESQL_OLDEST).fetchone() if tells and tells[0] else None
        if column.nullable:
            with connection.transaction():
                connection.execute(statement("; ".join(waiting_settings())))
                connection.execute(statement(f"SET LOCAL statement_timeout = {query.timeout_s * 1000}"))
                for number, value in enumerate(query.settings, 1):
                    connection.execute("SELECT set_config(%s, %s, true)", (f"jinqiao.p{number}", value))
                where = f"{query.where} AND" if query.where else " WHERE"
                counting = (
                    f"SELECT count(*) FROM {query.place.quoted(query.plan.table)}{where} {quote(column.name)} IS NULL"  # noqa: S608
                )
                null_rows = _number(connection, counting)
    if now is None:
        raise ConnectionLost()
    settled = None if oldest is None else min(now, _in_frame(oldest, column) or now) - MARGIN
    return WatermarkFacts(now, settled, null_rows)


def _in_frame(row: tuple[Any, ...] | None, column: Column) -> datetime | None:
    """Of an instant in China's time and in the server's: the one that the column's values are compared by."""
    here, own = row or (None, None)
    if here is None or own is None:
        return None
    found: datetime = here if "with time zone" in column.native_type else min(here, own)
    return found


def _number(connection: "psycopg.Connection[tuple[Any, ...]]", query: str) -> int:
    from jinqiao.dataplane.connectors.postgresql import statement

    row = connection.execute(statement(query)).fetchone()
    return int(row[0]) if row else 0


def mysql_facts(place: "MysqlPlace", plan: ReadPlan, schema: TableSchema, column: Column) -> WatermarkFacts:
    from jinqiao.dataplane.connectors.mysql import quote, server_version, telling, where_clause

    timeout_s = timeout_of(plan, schema.row_estimate)
    null_rows = None
    with (
        closing(place.connect(read_timeout_s=timeout_s + 30)) as connection,
        telling(plan.table),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT NOW(6)")
        here = _moment(cursor.fetchone())
        if column.nullable:
            if "MariaDB" in server_version(connection):
                cursor.execute("SET SESSION max_statement_time = %s", (timeout_s,))
            else:
                cursor.execute("SET SESSION max_execution_time = %s", (timeout_s * 1000,))
            where, values = where_clause(plan.row_filter, schema)
            where = f"{where} AND" if where else " WHERE"
            cursor.execute(
                f"SELECT count(*) FROM {quote(plan.table)}{where} {quote(column.name)} IS NULL",  # noqa: S608 -- quoted names
                tuple(values),
            )
            null_rows = int((cursor.fetchone() or (0,))[0])
        cursor.execute("SET time_zone = @@global.time_zone")
        cursor.execute("SELECT NOW(6)")
        own = _moment(cursor.fetchone())
    return WatermarkFacts(here if column.native_type.startswith("timestamp") else min(here, own), None, null_rows)


def _moment(row: tuple[Any, ...] | None) -> datetime:
    (value,) = row or ("",)
    return datetime.fromisoformat(value.decode() if isinstance(value, bytes) else str(value))
