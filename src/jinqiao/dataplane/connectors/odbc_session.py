"""A connection over ODBC that speaks as psycopg and PyMySQL do, so that the dialects of targets need to be written once.

Statements come with `%s` or `%(name)s` where they have values, as these drivers want them, and go out with `?`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

from jinqiao.dataplane.connectors.odbc_api import OdbcConnection, OdbcFailed, Value

_MARK = re.compile(r"%(?:\((\w+)\))?s|%%")


def with_marks(statement: str, values: Sequence[Any] | Mapping[str, Any]) -> tuple[str, list[Value]]:
    """The statement with `?`, and the values in the order of its marks."""
    given: list[Value] = []
    positional = iter(() if isinstance(values, Mapping) else values)

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        value = values[found[1]] if isinstance(values, Mapping) else next(positional)
        given.append(int(value) if isinstance(value, bool) else value)
        return "?"

    return _MARK.sub(replaced, statement), given


class OdbcSession:
    """One connection in manual commit. `always_marks`: statements without values double their percent signs too."""

    def __init__(self, connection: OdbcConnection, *, always_marks: bool) -> None:
        self._connection, self._always = connection, always_marks
        self._depth = 0
        self.rowcount = 0
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] | None = None) -> "OdbcSession":
        given: list[Value] = []
        if values or self._always:
            statement, given = with_marks(statement, values or ())
        self.rowcount, self._rows = self._connection.run(statement, given)
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows[0] if self._rows else None

    @contextmanager
    def cursor(self) -> Iterator[Self]:
        yield self

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside commits at its end or not at all; inside another one it belongs to that."""
        self._depth += 1
        try:
            yield
            if self._depth == 1:
                self._connection.commit()
        except BaseException:
            if self._depth == 1:
                with suppress(OdbcFailed):
                    self._connection.rollback()
            raise
        finally:
            self._depth -= 1

    def get_server_info(self) -> str:
        """As PyMySQL names it: `10.11.6-MariaDB`."""
        row = self.execute("SELECT VERSION()").fetchone()
        return str(row[0]) if row else ""

    def close(self) -> None:
        self._connection.close()
