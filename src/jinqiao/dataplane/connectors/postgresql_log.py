"""PostgreSQL's change log: a slot that begins with a snapshot, and all that was committed since a position, by logical decoding.

    ChangeLog(place, table, keys, slot)
        .begin() -> Beginning           a new slot, and a snapshot of exactly the instant from which it tells; `with` keeps it
        .read(after, stop=…) -> Changes the last state of every key that changed between `after` and the present
        .end(after), .holds(after)      the present, as a position; whether the slot still holds everything since one

Reading acknowledges `after` and nothing more: until the platform's cursor names what was read, the server keeps it, and it is
read again. Source: PostgreSQL documentation, chapters "Streaming Replication Protocol" and "Logical Decoding".
"""

import select
import struct
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from jinqiao.dataplane.connectors.base import never
from jinqiao.dataplane.connectors.log_pieces import Cutter, Nowhere, Pieces
from jinqiao.dataplane.connectors.pgoutput import LastStates, lsn_of, lsn_text
from jinqiao.dataplane.connectors.postgresql import Place, quote, statement, telling, translated
from jinqiao.dataplane.connectors.postgresql_slots import (
    check_identity,
    check_server,
    check_slot,
    drop_slot,
    patiently,
    publish,
)
from jinqiao.dataplane.errors import (
    ConnectionLost,
    CursorNotUsable,
    LogGap,
    RunStopped,
    SlotsExhausted,
    StatementTimedOut,
)

MOST_KEYS = 500_000  # of one run; the rest comes with the next one
# the forms in which a reading of the table shows values
_FORMS = "-c TimeZone=Asia/Shanghai -c DateStyle=ISO -c extra_float_digits=3 -c bytea_output=hex"
_STATUS_EVERY_S = 10.0
_ASK_EVERY_S = 0.1
_PAGE_HEADER = 40  # the end of the log may lie behind the header of a page that holds no record yet
_EPOCH_S = 946_684_800  # 2000-01-01
_STATUS = struct.Struct(">cQQQqB")


@dataclass(frozen=True, slots=True)
class Changes:
    states: LastStates
    cursor: str
    more: bool  # the log holds more than was read


class Beginning:
    """A slot that was just made. The snapshot can be imported until the end of the `with`."""

    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]", cursor: str, snapshot: str) -> None:
        self._connection, self.cursor, self.snapshot = connection, cursor, snapshot

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ChangeLog:
    """The log of one table, read through one slot."""

    def __init__(self, place: Place, table: str, keys: tuple[str, ...], slot: str) -> None:
        self._place, self._table, self._keys, self._slot = place, table, keys, slot

    def check(self) -> None:
        """Everything that the log needs, each with an error of its own; publishes the table where that is missing."""
        with closing(self._place.connect()) as connection:
            check_server(connection, self._place.user)
            check_identity(connection, self._place, self._table, self._keys)
            publish(connection, self._place, self._table, self._slot)

    def begin(self, *, timeout_s: int = 3600, stop: Callable[[], bool] = never) -> Beginning:
        """A new slot; one of that name that nothing was delivered from goes first.

        The server waits until every transaction that is open now has ended. Raises those of `check`, SlotsExhausted, SlotInUse,
        StatementTimedOut, RunStopped.
        """
        self.check()
        drop_slot(self._place, self._slot, publication=False)
        connection = self._replication()
        try:
            result = _asked(
                connection,
                f"CREATE_REPLICATION_SLOT {quote(self._slot)} LOGICAL pgoutput EXPORT_SNAPSHOT",
                timeout_s=timeout_s,
                stop=stop,
                table=self._table,
            )
            point, snapshot = result.get_value(0, 1), result.get_value(0, 2)
            if point is None or snapshot is None:
                raise ConnectionLost()
        except BaseException:
            connection.close()
            raise
        return Beginning(connection, lsn_text(lsn_of(point.decode())), snapshot.decode())

    def holds(self, after: str) -> bool:
        """Does the slot still hold everything since that position?"""
        with closing(self._place.connect()) as connection:
            try:
                check_slot(connection, self._slot, lsn_of(after))
            except LogGap:
                return False
        return True

    def end(self, after: str) -> str:
        """The present, up to which the log is read. Raises those of `check`, LogGap, CursorNotUsable."""
        start = _position(after)
        self.check()
        with closing(self._place.connect()) as connection:
            check_slot(connection, self._slot, start)
            with telling():
                row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        return str(row[0]) if row else after

    def read(
        self,
        after: str,
        *,
        stop: Callable[[], bool] = never,
        most_keys: int = MOST_KEYS,
        end: str = "",
        pieces: Pieces | None = None,
    ) -> Changes:
        """What was committed from `after` to `end`, by default the present; at most about `most_keys` keys, cut between two
        transactions. What stands in `pieces` is not read again, what is read is kept there: with the same positions an earlier
        reading that was ended comes to the same states.

        Raises those of `check`, LogGap, CursorNotUsable, SlotInUse, ConnectionLost, RunStopped.
        """
        start, kept = _position(after), pieces or Nowhere()
        until = lsn_of(end or self.end(after))
        states = LastStates(*self._place.split(self._table), self._keys)
        reached, is_last, more = start, False, False
        for piece in kept.given(start):
            for message in piece.messages:
                states.feed(message)
            reached, is_last, more = piece.reached, piece.is_last, piece.more
        if not is_last:
            with closing(self._replication()) as connection:
                stream = _Stream(connection, self._slot, start, reached)
                command = (
                    f"START_REPLICATION SLOT {quote(self._slot)} LOGICAL {lsn_text(reached)}"
                    f" (proto_version '1', publication_names '{quote(self._slot)}')"
                )
                patiently(lambda: stream.begin(command, self._table), self._slot)
                reached, more = stream.read(states, until, stop, most_keys, Cutter(kept, reached))
        return Changes(states, lsn_text(max(start, reached)), more)

    def _replication(self) -> "psycopg.Connection[tuple[Any, ...]]":
        address = make_conninfo(self._place.address, replication="database", options=_FORMS)
        try:
            return psycopg.connect(address, autocommit=True)
        except psycopg.Error as problem:
            raise self._place.refusal(str(problem)) from None


def _position(cursor: str) -> int:
    try:
        return lsn_of(cursor)
    except ValueError:
        raise CursorNotUsable(cursor=cursor[:60], column="LSN") from None


def _asked(
    connection: "psycopg.Connection[tuple[Any, ...]]",
    command: str,
    *,
    timeout_s: int,
    stop: Callable[[], bool],
    table: str,
) -> pq.abc.PGresult:
    """A command of the replication protocol that may take its time. Ended from here, the server forgets it."""
    pgconn = connection.pgconn
    until = time.monotonic() + timeout_s
    with telling(table):
        pgconn.send_query(command.encode())
        while pgconn.is_busy():
            if stop():
                raise RunStopped()
            if time.monotonic() > until:
                raise StatementTimedOut(table=table)
            select.select([pgconn.socket], [], [], 0.2)
            pgconn.consume_input()
        result = pgconn.get_result()
    if result is None:
        raise ConnectionLost()
    if result.status != pq.ExecStatus.TUPLES_OK:
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        if state in (b"53400", b"54000"):
            raise SlotsExhausted()
        raise translated(state.decode() if state else None, table=table)
    return result


class _Stream:
    """Messages of a slot over one connection, which is of no other use afterwards."""

    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]", slot: str, start: int, reached: int) -> None:
        """`start` is what the server may forget before, `reached` where an earlier reading came to."""
        self._pgconn, self._slot, self._start, self._reached = connection.pgconn, slot, start, reached
        self._told = 0.0

    def begin(self, command: str, table: str) -> bool:
        result = self._pgconn.exec_(command.encode())
        if result.status == pq.ExecStatus.COPY_BOTH:
            return True
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        if state == b"55006":
            raise psycopg.errors.ObjectInUse
        if state == b"42704":
            raise LogGap(slot=self._slot, reason="dropped")
        raise translated(state.decode() if state else None, table=table)

    def read(
        self, states: LastStates, end: int, stop: Callable[[], bool], most_keys: int, cutter: Cutter
    ) -> tuple[int, bool]:
        """Feed `states` with every transaction that was committed before `end`; the position reached, and whether there is more."""
        reached, more = self._until(states, end, stop, most_keys, cutter)
        cutter.end(reached, more=more)
        return reached, more

    def _until(
        self, states: LastStates, end: int, stop: Callable[[], bool], most_keys: int, cutter: Cutter
    ) -> tuple[int, bool]:
        reached, is_open = self._reached, False
        self._tell(ask=True)
        while True:
            if stop():
                raise RunStopped()
            data = self._message()
            if data is None:
                self._tell(ask=True)
                select.select([self._pgconn.socket], [], [], _ASK_EVERY_S)
                continue
            if time.monotonic() > self._told + _STATUS_EVERY_S:
                self._tell()
            if data[:1] == b"k":
                (position,) = struct.unpack_from(">Q", data, 1)
                # what was committed before that position came before this message
                if not is_open and position + _PAGE_HEADER >= end:
                    return min(position, end), False
                if data[17]:
                    self._tell()
                continue
            body = data[25:]
            kind = body[:1]
            if kind == b"B":
                (commit,) = struct.unpack_from(">Q", body, 1)
                if commit >= end:
                    return end, False
                if len(states.rows) >= most_keys:
                    return reached, True
                is_open = True
            elif kind == b"C":
                (reached,) = struct.unpack_from(">Q", body, 10)
                is_open = False
                cutter.committed(reached)
            else:
                states.feed(body)
                cutter.add(body)

    def _message(self) -> bytes | None:
        """The next message; None where nothing has come yet. Raises ConnectionLost."""
        try:
            size, data = self._pgconn.get_copy_data(1)
            if size == 0:
                self._pgconn.consume_input()
                size, data = self._pgconn.get_copy_data(1)
        except psycopg.Error:
            raise ConnectionLost() from None
        if size < 0:
            result = self._pgconn.get_result()
            state = result.error_field(pq.DiagnosticField.SQLSTATE) if result is not None else None
            raise translated(state.decode() if state else None, table="")
        return bytes(data) if size else None

    def _tell(self, *, ask: bool = False) -> None:
        """Standby status: all before the cursor has arrived, nothing after it. `ask` wants an answer."""
        now = int((time.time() - _EPOCH_S) * 1_000_000)
        try:
            self._pgconn.put_copy_data(_STATUS.pack(b"r", self._start, self._start, self._start, now, int(ask)))
            self._pgconn.flush()
        except psycopg.Error:
            raise ConnectionLost() from None
        self._told = time.monotonic()


def reread(
    place: Place,
    table: str,
    keys: tuple[str, ...],
    types: dict[str, str],
    wanted: list[tuple[Any, ...]],
    names: list[str],
) -> dict[tuple[Any, ...], tuple[bytes | None, ...]]:
    """Columns `names` of the rows with these keys, as they are now, as the log would write them; rows that are gone are not there.

    `types` are the columns' types as the catalogue writes them; keys and values are the bytes of their text.
    """
    found: dict[tuple[Any, ...], tuple[bytes | None, ...]] = {}
    shown = ", ".join(f"t.{quote(name)}::text" for name in names)
    given = ", ".join(["%s::text[]"] * len(keys))
    marks = ", ".join(f"k{number}" for number in range(len(keys)))
    same = " AND ".join(f"t.{quote(key)} = w.k{number}::{types[key]}" for number, key in enumerate(keys))
    query = f"SELECT {marks}, {shown} FROM unnest({given}) AS w({marks}) JOIN {place.quoted(table)} t ON {same}"  # noqa: S608
    try:
        opened = psycopg.connect(make_conninfo(place.address, options=_FORMS))
    except psycopg.Error as problem:
        raise place.refusal(str(problem)) from None
    with closing(opened) as connection, telling(table):
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        for start in range(0, len(wanted), 1000):
            part = wanted[start : start + 1000]
            columns = [[key[place_].decode() for key in part] for place_ in range(len(keys))]
            for row in connection.execute(statement(query), columns):
                values = [None if value is None else str(value).encode() for value in row]
                found[tuple(values[: len(keys)])] = tuple(values[len(keys) :])
    return found
