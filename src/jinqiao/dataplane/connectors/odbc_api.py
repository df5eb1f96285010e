"""The part of ODBC that arrow-odbc leaves out, by ctypes on the driver manager: catalogue functions, row counts, what a
server is.

    OdbcConnection(string)   .execute(sql, values) -> rows changed   .fetch(sql, values)   .commit()   .rollback()   .close()
                             .tables() .columns() .primary_keys() .info()

Values travel as text (UTF-16) or as 64-bit integers; few rows pass here, the many go through arrow-odbc. Errors are
OdbcFailed with SQLSTATE and native number; the driver's message is only looked at, since it may quote values.
"""

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_char, c_int64, c_long, c_short, c_ulong, c_ushort, c_void_p
from decimal import Decimal
from functools import cache
from typing import Any, Self

from jinqiao.dataplane.errors import OdbcMissing

_SUCCESS, _SUCCESS_WITH_INFO, _NO_DATA = 0, 1, 100
_ENV, _DBC, _STMT = 1, 2, 3
_NTS = -3
_NULL_DATA, _NO_TOTAL = -1, -4
_C_WCHAR, _WVARCHAR, _WLONGVARCHAR, _C_SBIGINT, _BIGINT = -8, -9, -10, -25, -5
_C_BINARY, _LONGVARBINARY = -2, -4
_ATTR_ODBC_VERSION, _ODBC3 = 200, 3
_ATTR_AUTOCOMMIT, _ATTR_ACCESS_MODE, _ATTR_LOGIN_TIMEOUT, _ATTR_QUERY_TIMEOUT = 102, 101, 103, 0
_INFO_DBMS_NAME, _INFO_DBMS_VERSION, _INFO_QUOTE = 17, 18, 29
_COMMIT, _ROLLBACK = 0, 1
_PIECE = 8192  # bytes of a value fetched at a time
LIBRARY = "libodbc.so.2"

_INTEGERS, _DECIMALS, _BIT = frozenset((4, 5, -5, -6)), frozenset((2, 3)), -7
Value = str | int | bytes | None
Row = tuple[str | None, ...]


class OdbcFailed(Exception):
    """What the driver said. `message` must not be shown: it may hold values or a password."""

    def __init__(self, state: str, native: int, message: str) -> None:
        self.state, self.native, self.message = state, native, message
        super().__init__(state)


@cache
def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        raise OdbcMissing(package="unixodbc") from None


def _wide(text: str) -> tuple[Any, int]:
    """A UTF-16 buffer, ended by zero, and its length in units."""
    data = text.encode("utf-16-le")
    return ctypes.create_string_buffer(data + b"\0\0", len(data) + 2), len(data) // 2


class OdbcConnection:
    """One connection. `autocommit` off begins a transaction with the first statement after each commit or rollback."""

    def __init__(
        self, string: str, *, login_timeout_s: int = 10, autocommit: bool = True, read_only: bool = False
    ) -> None:
        self._odbc = _library()
        self._environment, self._handle = c_void_p(), c_void_p()
        self.query_timeout_s = 0
        try:
            self._odbc.SQLAllocHandle(c_short(_ENV), c_void_p(), byref(self._environment))
            self._set(self._odbc.SQLSetEnvAttr, self._environment, _ATTR_ODBC_VERSION, _ODBC3)
            self._odbc.SQLAllocHandle(c_short(_DBC), self._environment, byref(self._handle))
            self._set(self._odbc.SQLSetConnectAttr, self._handle, _ATTR_LOGIN_TIMEOUT, login_timeout_s)
            if read_only:  # a hint that some drivers take and others leave
                self._set(self._odbc.SQLSetConnectAttr, self._handle, _ATTR_ACCESS_MODE, 1)
            text, length = _wide(string)
            out, used = ctypes.create_string_buffer(4), c_short()
            code = self._odbc.SQLDriverConnectW(
                self._handle, c_void_p(), text, c_short(length), out, c_short(1), byref(used), c_ushort(0)
            )
            self._check(code, _DBC, self._handle)
            self._connected = True
            if not autocommit:
                code = self._set(self._odbc.SQLSetConnectAttr, self._handle, _ATTR_AUTOCOMMIT, 0)
                self._check(code, _DBC, self._handle)
        except BaseException:
            self.close()
            raise

    _connected = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Roll back what is open and disconnect; safe to call twice."""
        if self._handle:
            if self._connected:
                self._odbc.SQLEndTran(c_short(_DBC), self._handle, c_short(_ROLLBACK))
                self._odbc.SQLDisconnect(self._handle)
            self._odbc.SQLFreeHandle(c_short(_DBC), self._handle)
        if self._environment:
            self._odbc.SQLFreeHandle(c_short(_ENV), self._environment)
        self._handle, self._environment, self._connected = c_void_p(), c_void_p(), False

    def commit(self) -> None:
        self._check(self._odbc.SQLEndTran(c_short(_DBC), self._handle, c_short(_COMMIT)), _DBC, self._handle)

    def rollback(self) -> None:
        self._check(self._odbc.SQLEndTran(c_short(_DBC), self._handle, c_short(_ROLLBACK)), _DBC, self._handle)

    def execute(self, sql: str, values: Sequence[Value] = ()) -> int:
        """Run a statement; the number of rows it changed, 0 where that has no meaning."""
        with _Statement(self) as statement:
            statement.run(sql, values)
            count = c_long()
            self._check(self._odbc.SQLRowCount(statement.handle, byref(count)), _STMT, statement.handle)
            return max(0, count.value)

    def fetch(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """All rows of a query, every value as text."""
        with _Statement(self) as statement:
            statement.run(sql, values)
            return statement.rows()

    def run(self, sql: str, values: Sequence[Value] = ()) -> tuple[int, list[tuple[Any, ...]]]:
        """Rows changed, and the rows of a query with whole numbers, decimals and truth values as such, the rest as text."""
        with _Statement(self) as statement:
            statement.run(sql, values)
            kinds = statement.kinds()
            if not kinds:
                count = c_long()
                self._check(self._odbc.SQLRowCount(statement.handle, byref(count)), _STMT, statement.handle)
                return max(0, count.value), []
            rows = [tuple(map(_typed, row, kinds)) for row in statement.rows()]
            return len(rows), rows

    def tables(self, schema: str | None = None) -> list[tuple[str, str, str]]:
        """(schema, name, type) of tables and views."""
        with _Statement(self) as statement:
            statement.catalogue("SQLTablesW", None, schema, None, "TABLE,VIEW")
            return [(row[1] or "", row[2] or "", row[3] or "") for row in statement.rows()]

    def columns(self, schema: str | None, table: str) -> list[Row]:
        """The rows of SQLColumns: name at 3, SQL type at 4, type name at 5, size at 6, digits at 8, nullable at 10, remark at 11."""
        with _Statement(self) as statement:
            statement.catalogue("SQLColumnsW", None, schema, table, None)
            rows = statement.rows()
        # the name is a pattern, in which `_` stands for any character
        return [row for row in rows if row[2] == table and (schema is None or row[1] in (schema, "", None))]

    def primary_keys(self, schema: str | None, table: str, catalogue: str | None = None) -> list[str]:
        """Names of the key's columns in their order."""
        with _Statement(self) as statement:
            statement.catalogue("SQLPrimaryKeysW", catalogue, schema, table)
            rows = statement.rows()
        return [row[3] or "" for row in sorted(rows, key=lambda row: int(row[4] or 0))]

    def info(self) -> tuple[str, str, str]:
        """What the server calls itself, its version, and the mark that quotes names (empty where it has none)."""
        name, version, mark = (self._info(kind) for kind in (_INFO_DBMS_NAME, _INFO_DBMS_VERSION, _INFO_QUOTE))
        return name, version, mark.strip()

    def _info(self, kind: int) -> str:
        buffer, used = ctypes.create_string_buffer(512), c_short()
        code = self._odbc.SQLGetInfoW(self._handle, c_ushort(kind), buffer, c_short(510), byref(used))
        self._check(code, _DBC, self._handle)
        return buffer.raw[: max(0, min(used.value, 508))].decode("utf-16-le", "replace")

    def _set(self, function: Any, handle: c_void_p, attribute: int, number: int) -> int:
        return int(function(handle, c_long(attribute), c_void_p(number), c_long(0)))

    def _check(self, code: int, kind: int, handle: c_void_p) -> None:
        if c_short(code).value in (_SUCCESS, _SUCCESS_WITH_INFO, _NO_DATA):
            return
        state, text = (c_char * 14)(), ctypes.create_string_buffer(2048)
        native, used = c_long(), c_short()
        self._odbc.SQLGetDiagRecW(
            c_short(kind), handle, c_short(1), state, byref(native), text, c_short(1000), byref(used)
        )
        raise OdbcFailed(
            bytes(state)[:10].decode("utf-16-le", "replace").strip("\0"),
            ctypes.c_int32(native.value & 0xFFFF_FFFF).value,
            text.raw[: max(0, min(used.value, 1000)) * 2].decode("utf-16-le", "replace"),
        )


def _typed(text: str | None, kind: int) -> Any:
    if text is None:
        return None
    if kind == _BIT:
        return text == "1"
    if kind in _INTEGERS:
        return int(text)
    return Decimal(text) if kind in _DECIMALS else text


class _Statement:
    def __init__(self, connection: OdbcConnection) -> None:
        self._connection, self._odbc = connection, connection._odbc
        self.handle = c_void_p()
        self._bound: list[Any] = []  # parameters must outlive the execution

    def __enter__(self) -> Self:
        code = self._odbc.SQLAllocHandle(c_short(_STMT), self._connection._handle, byref(self.handle))
        self._connection._check(code, _DBC, self._connection._handle)
        if self._connection.query_timeout_s:
            self._connection._set(
                self._odbc.SQLSetStmtAttr, self.handle, _ATTR_QUERY_TIMEOUT, self._connection.query_timeout_s
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._odbc.SQLFreeHandle(c_short(_STMT), self.handle)

    def _check(self, code: int) -> None:
        self._connection._check(code, _STMT, self.handle)

    def run(self, sql: str, values: Sequence[Value]) -> None:
        for number, value in enumerate(values, 1):
            self._bind(number, value)
        text, length = _wide(sql)
        self._check(self._odbc.SQLExecDirectW(self.handle, text, c_long(length)))

    def _bind(self, number: int, value: Value) -> None:
        held: Any
        if isinstance(value, bytes):
            held, size = ctypes.create_string_buffer(value, len(value) + 1), len(value)
            length, c_type, sql_type = size, _C_BINARY, _LONGVARBINARY
        elif isinstance(value, int):
            held, size, length = c_int64(value), 19, 8
            c_type, sql_type = _C_SBIGINT, _BIGINT
        else:
            held, size = _wide(value or "")
            length = size * 2
            c_type, sql_type = _C_WCHAR, _WVARCHAR if size <= 4000 else _WLONGVARCHAR
        indicator = c_long(_NULL_DATA if value is None else length)
        self._bound.append((held, indicator))
        self._check(
            self._odbc.SQLBindParameter(
                self.handle, c_ushort(number), c_short(1), c_short(c_type), c_short(sql_type), c_ulong(max(1, size)),
                c_short(0), byref(held), c_long(length), byref(indicator),
            )
        )  # fmt: skip

    def catalogue(self, function: str, *names: str | None) -> None:
        arguments: list[Any] = []
        for name in names:
            text, length = _wide(name) if name is not None else (None, 0)
            self._bound.append(text)
            arguments += [text, c_short(length)]
        self._check(getattr(self._odbc, function)(self.handle, *arguments))

    def kinds(self) -> list[int]:
        """SQL types of the columns of the result; none where the statement gives no rows."""
        count = c_short()
        self._check(self._odbc.SQLNumResultCols(self.handle, byref(count)))
        found = []
        for number in range(1, count.value + 1):
            kind, name = c_short(), ctypes.create_string_buffer(512)
            used, size, digits, nullable = c_short(), c_ulong(), c_short(), c_short()
            self._check(
                self._odbc.SQLDescribeColW(
                    self.handle, c_ushort(number), name, c_short(255), byref(used), byref(kind), byref(size),
                    byref(digits), byref(nullable),
                )
            )  # fmt: skip
            found.append(kind.value)
        return found

    def rows(self) -> list[Row]:
        count = c_short()
        self._check(self._odbc.SQLNumResultCols(self.handle, byref(count)))
        found: list[Row] = []
        while True:
            code = c_short(self._odbc.SQLFetch(self.handle)).value
            if code == _NO_DATA:
                return found
            self._check(code)
            found.append(tuple(self._text(number) for number in range(1, count.value + 1)))

    def _text(self, number: int) -> str | None:
        pieces, buffer, indicator = b"", ctypes.create_string_buffer(_PIECE), c_long()
        while True:
            code = c_short(
                self._odbc.SQLGetData(
                    self.handle, c_ushort(number), c_short(_C_WCHAR), buffer, c_long(_PIECE), byref(indicator)
                )
            ).value
            self._check(code)
            if code == _NO_DATA:
                break
            if indicator.value == _NULL_DATA:
                return None
            if code == _SUCCESS:
                pieces += buffer.raw[: indicator.value]
                break
            if indicator.value != _NO_TOTAL and indicator.value <= _PIECE - 2:  # a warning of another kind
                pieces += buffer.raw[: indicator.value]
                break
            pieces += buffer.raw[: _PIECE - 2]
        return pieces.decode("utf-16-le", "replace")
