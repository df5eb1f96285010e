"""Connectors: a department's database or folder of files, as a source that is read and as a target that is delivered to.

    open_source(connection, password=None) -> Source     .test() .tables() .schema(table) .read(ReadPlan) .close()
    open_target(connection, password=None, ledger=None) -> Target     .test() .state() .prepare() .load() .merge() .clean() .close()

`connection` is the contract `kernel.contracts.tables.Connection`; the password is given opened. Both are context managers;
connecting happens at first use, so that `open_source` itself fails only for an engine that is not known. Drivers are
imported when they are needed: a node that serves SQLite loads no PostgreSQL driver.

    base.py            ReadPlan, DeliveryPlan, Source, Target
    protection.py      throttle, pause, windows, time-outs of a reading
    values.py          Arrow types of the logical types, exact fitting of values
    plans.py           what a delivery plan does to its table
    drift.py           tables that are no longer what the exchange was set up for
    sql_target.py, merging.py, ledger.py, node_ledger.py    what all databases have in common as targets
    file_source.py, file_target.py    what all data files have in common
    odbc*.py           whatever has an ODBC driver
    http_*.py          a paged JSON interface, as a source
    sqlite*.py, postgresql*.py, mysql*.py, csv_*.py, excel_*.py, jsonl_*.py, parquet_*.py, folder_*.py    one engine each
"""

from typing import TYPE_CHECKING

from jinqiao.dataplane.connectors.base import DeliveryPlan, LedgerState, ReadPlan, Source, Target
from jinqiao.dataplane.errors import EngineUnknown
from jinqiao.kernel.contracts.tables import Connection, Engine

if TYPE_CHECKING:
    from jinqiao.dataplane.connectors.node_ledger import NodeLedger

__all__ = ["DeliveryPlan", "LedgerState", "ReadPlan", "Source", "Target", "open_source", "open_target"]


def open_source(connection: Connection, password: str | None = None) -> Source:
    """The source behind a connection. Raises EngineUnknown."""
    match connection.engine:
        case Engine.SQLITE:
            from jinqiao.dataplane.connectors.sqlite import SqliteSource

            return SqliteSource(connection, password)
        case Engine.POSTGRESQL:
            from jinqiao.dataplane.connectors.postgresql import PostgresqlSource

            return PostgresqlSource(connection, password)
        case Engine.MYSQL:
            from jinqiao.dataplane.connectors.mysql import MysqlSource

            return MysqlSource(connection, password)
        case Engine.CSV:
            from jinqiao.dataplane.connectors.csv_source import CsvSource

            return CsvSource(connection, password)
        case Engine.EXCEL:
            from jinqiao.dataplane.connectors.excel_source import ExcelSource

            return ExcelSource(connection, password)
        case Engine.JSONL:
            from jinqiao.dataplane.connectors.jsonl_source import JsonlSource

            return JsonlSource(connection, password)
        case Engine.PARQUET:
            from jinqiao.dataplane.connectors.parquet_source import ParquetSource

            return ParquetSource(connection, password)
        case Engine.FOLDER:
            from jinqiao.dataplane.connectors.folder_source import FolderSource

            return FolderSource(connection, password)
        case Engine.ODBC:
            from jinqiao.dataplane.connectors.odbc import OdbcSource

            return OdbcSource(connection, password)
        case Engine.HTTP:
            from jinqiao.dataplane.connectors.http_json import HttpSource

            return HttpSource(connection, password)
        case _:
            raise EngineUnknown(engine=str(connection.engine))


def open_target(connection: Connection, password: str | None = None, *, ledger: "NodeLedger | None" = None) -> Target:
    """The target behind a connection; `ledger` takes the counts of batches whose plan keeps no ledger at the target.

    Raises EngineUnknown.
    """
    target = _target(connection, password)
    if ledger is not None:
        target.node_ledger = ledger
    return target


def _target(connection: Connection, password: str | None) -> Target:
    match connection.engine:
        case Engine.SQLITE:
            from jinqiao.dataplane.connectors.sqlite_target import SqliteTarget

            return SqliteTarget(connection, password)
        case Engine.POSTGRESQL:
            from jinqiao.dataplane.connectors.postgresql_target import PostgresqlTarget

            return PostgresqlTarget(connection, password)
        case Engine.MYSQL:
            from jinqiao.dataplane.connectors.mysql_target import MysqlTarget

            return MysqlTarget(connection, password)
        case Engine.CSV:
            from jinqiao.dataplane.connectors.csv_target import CsvTarget

            return CsvTarget(connection, password)
        case Engine.EXCEL:
            from jinqiao.dataplane.connectors.excel_target import ExcelTarget

            return ExcelTarget(connection, password)
        case Engine.JSONL:
            from jinqiao.dataplane.connectors.jsonl_target import JsonlTarget

            return JsonlTarget(connection, password)
        case Engine.PARQUET:
            from jinqiao.dataplane.connectors.parquet_target import ParquetTarget

            return ParquetTarget(connection, password)
        case Engine.FOLDER:
            from jinqiao.dataplane.connectors.folder_target import FolderTarget

            return FolderTarget(connection, password)
        case Engine.ODBC:
            from jinqiao.dataplane.connectors.odbc_target import open_odbc_target

            return open_odbc_target(connection, password)
        case _:
            raise EngineUnknown(engine=str(connection.engine))
