"""Our errors for what ODBC drivers say. Their messages are looked at and never handed on: some quote values or a password."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jinqiao.dataplane.connectors.odbc_api import OdbcFailed
from jinqiao.dataplane.errors import (
    AuthenticationFailed,
    ColumnMissing,
    ConnectionLost,
    ConnectionTimedOut,
    DatabaseMissing,
    HostUnreachable,
    OdbcDriverMissing,
    OdbcMissing,
    PermissionDenied,
    SourceBusy,
    SourceFailed,
    StatementTimedOut,
    TableMissing,
    TargetDiskFull,
    TargetKeyNotUnique,
    TargetRefused,
    TlsFailed,
    ValueTooWide,
)
from jinqiao.kernel.errors import JinqiaoError

_STATE = re.compile(r"State: (\w{5}), Native error: (-?\d+)")
_TOO_WIDE = re.compile(r"too large to be written into the allocated buffer|truncat", re.IGNORECASE)
# numbers of servers that say the same state for many things
_NATIVE: dict[int, type[JinqiaoError]] = {
    **dict.fromkeys((1045, 1698, 18456, 1017, -2501), AuthenticationFailed),
    **dict.fromkeys((1044, 1142, 1143, 1227, 229, 1031), PermissionDenied),
    **dict.fromkeys((1040, 1203, 1205, 1213), SourceBusy),
    **dict.fromkeys((1969, 3024, 1317), StatementTimedOut),
    **dict.fromkeys((2006, 2013, 1927), ConnectionLost),
    **dict.fromkeys((2002, 2003, 2005), HostUnreachable),
    **dict.fromkeys((1021, 1114), TargetDiskFull),
    **dict.fromkeys((1062, 1586, 2627, 2601), TargetKeyNotUnique),
    **dict.fromkeys((2026, 3159), TlsFailed),
    1049: DatabaseMissing,
    1146: TableMissing,
    942: TableMissing,
}
_STATES: dict[str, type[JinqiaoError]] = {
    **dict.fromkeys(("IM002", "IM003", "01000"), OdbcDriverMissing),
    **dict.fromkeys(("28000", "28P01"), AuthenticationFailed),
    **dict.fromkeys(("3D000", "42000:database"), DatabaseMissing),
    **dict.fromkeys(("42S02", "42P01", "S0002"), TableMissing),
    **dict.fromkeys(("42S22", "42703", "S0022"), ColumnMissing),
    **dict.fromkeys(("HYT00", "57014"), StatementTimedOut),
    **dict.fromkeys(("08S01", "08003", "08007", "57P01", "57P02"), ConnectionLost),
    **dict.fromkeys(("40001", "40P01", "55P03", "53300", "08004"), SourceBusy),
    **dict.fromkeys(("53100",), TargetDiskFull),
    **dict.fromkeys(("23505",), TargetKeyNotUnique),
    "HYT01": ConnectionTimedOut,
    "42501": PermissionDenied,
}
_DOOR: tuple[tuple[str, type[JinqiaoError]], ...] = (
    (r"no encryption|SSL|TLS|certificate|证书", TlsFailed),
    (r"authentication failed|access denied|no pg_hba|no password|login failed|invalid username|认证失败|口令|密码", AuthenticationFailed),
    (r"database .* does not exist|unknown database|数据库.*不存在", DatabaseMissing),
    (r"too many|starting up|连接数", SourceBusy),
    (r"time-?out|timed out|超时", ConnectionTimedOut),
    (r"file not found|can't open lib|data source name not found", OdbcDriverMissing),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Door:
    """What may be shown of where a connection leads."""

    host: str
    port: str
    user: str
    database: str
    timeout_s: int


def translated(state: str, native: int, message: str, *, table: str, door: Door | None, size: int = 0) -> JinqiaoError:
    """Our error by SQLSTATE and native number; while connecting (`door`) also by the words, since drivers have one state for all."""
    where = {"table": table, "columns": "", "state": state or str(native)}
    if door is not None:
        where |= {"host": door.host, "port": door.port, "user": door.user, "database": door.database}
        where |= {"table": door.database, "seconds": str(door.timeout_s)}
        for pattern, kind in _DOOR:
            if re.search(pattern, message, re.IGNORECASE):
                return kind(**where)
        if state in ("08001", "08004", "HY000") and native not in _NATIVE:
            return HostUnreachable(**where)
        if state == "HYT00":
            return ConnectionTimedOut(**where)
    if not state and _TOO_WIDE.search(message):
        return ValueTooWide(table=table, size=size)
    kind_ = _STATES.get(state) or _NATIVE.get(native)
    if kind_ is None and state == "HY000" and "No space left" in message:
        kind_ = TargetDiskFull
    if state == "23000" or kind_ is TargetKeyNotUnique:
        return (_NATIVE.get(native) or (TargetKeyNotUnique if state == "23505" else TargetRefused))(**where)
    if kind_ is not None:
        return kind_(**where)
    return TargetRefused(**where) if state[:2] in ("22", "23") else SourceFailed(**where)


def load_arrow_odbc() -> Any:
    """The module, which links the driver manager. Raises OdbcMissing naming the package."""
    try:
        import arrow_odbc
    except (ImportError, OSError):
        raise OdbcMissing(package="unixodbc") from None
    return arrow_odbc


@contextmanager
def telling(table: str = "", door: Door | None = None, size: int = 0) -> Iterator[None]:
    """Turn the driver's errors, and those of arrow-odbc, into ours."""
    arrow_odbc = load_arrow_odbc()
    try:
        yield
    except OdbcFailed as problem:
        raise translated(problem.state, problem.native, problem.message, table=table, door=door) from None
    except arrow_odbc.Error as problem:
        text = str(problem)
        found = _STATE.search(text)
        state, native = (found[1], int(found[2])) if found else ("", 0)
        raise translated(state, native, text, table=table, door=door, size=size) from None
