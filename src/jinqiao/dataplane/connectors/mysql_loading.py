"""Rows that a MariaDB or MySQL server takes in by LOAD DATA LOCAL INFILE, out of memory.

In answer to that statement, and to any other, a server may ask the client for a file by its name; a client that opens what it is
asked for gives a hostile server every file that the process may read (MySQL Reference Manual, Security Considerations for LOAD
DATA LOCAL). This connection opens none. What it sends are the rows that were handed to `load`, once, whatever name is asked for.
"""

from collections.abc import Iterable
from typing import Any

import pymysql
from pymysql.connections import MySQLResult
from pymysql.constants import CR

_CHUNK_BYTES = 256 * 1024  # below what any server takes as one packet


class LoadingConnection(pymysql.Connection):  # type: ignore[misc] # the driver has no types
    """A connection with `load`."""

    offered: Iterable[bytes] | None = None

    def load(self, statement: str, rows: Iterable[bytes]) -> tuple[int, int]:
        """Execute a LOAD DATA LOCAL INFILE, in which `%` stands twice as in any statement with values; how many rows were taken, and how many warnings there are.

        `rows` are pieces of the file, wherever they begin and end. Raises pymysql.Error; where the rows fail, what they raise:
        the connection is closed then, so that the server takes in nothing.
        """
        self.offered = rows
        try:
            with self.cursor() as cursor:
                taken = cursor.execute(statement, ())
                return int(taken), int(cursor.warning_count)
        finally:
            self.offered = None

    def _read_query_result(self, unbuffered: bool = False) -> int:
        self._result = None
        result = _Result(self)
        if unbuffered:
            result.init_unbuffered_query()
        else:
            result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return int(result.affected_rows)


class _Result(MySQLResult):  # type: ignore[misc]
    def _read_load_local_packet(self, first_packet: Any) -> None:
        connection = self.connection
        offered, connection.offered = connection.offered, None
        try:
            if offered is None:
                raise pymysql.OperationalError(CR.CR_MALFORMED_PACKET, "the server asked for a file")
            for piece in offered:
                for at in range(0, len(piece), _CHUNK_BYTES):
                    connection.write_packet(piece[at : at + _CHUNK_BYTES])
            connection.write_packet(b"")  # the end of the file
        except BaseException:
            connection._force_close()
            raise
        answer = connection._read_packet()
        if not answer.is_ok_packet():
            connection._force_close()
            raise pymysql.OperationalError(CR.CR_MALFORMED_PACKET, "no word of the rows")
        self._read_ok_packet(answer)
