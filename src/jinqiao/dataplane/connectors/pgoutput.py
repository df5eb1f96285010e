"""Messages of PostgreSQL's output plugin `pgoutput`, protocol version 1, and what of them remains: the last state of every key.

Source: PostgreSQL documentation, chapter "Logical Replication Message Formats". Values come as text, as the type's output
function writes them; a value out of line that did not change (TOAST) does not come at all and is `UNCHANGED` here.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from jinqiao.dataplane.errors import ColumnMissing

_U32, _U16, _U64 = struct.Struct(">I"), struct.Struct(">H"), struct.Struct(">Q")
UNCHANGED: Final = object()

Value = bytes | None | object
Values = list[Value]
Key = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    schema: str
    name: str
    columns: tuple[str, ...]
    types: tuple[bytes, ...]  # number of the type and its modifier, as they came


def lsn_of(text: str) -> int:
    """A position of the log from its text, `16/B374D848`. Raises ValueError."""
    high, slash, low = text.partition("/")
    number = (int(high, 16) << 32) + int(low, 16)
    if not slash or not 0 <= number < 1 << 64:
        raise ValueError(text)
    return number


def lsn_text(number: int) -> str:
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def _relation(data: bytes) -> tuple[int, Relation]:
    (oid,) = _U32.unpack_from(data, 1)
    schema, at = _text(data, 5)
    name, at = _text(data, at)
    (count,) = _U16.unpack_from(data, at + 1)  # after the kind of replica identity
    at += 3
    columns, types = [], []
    for _ in range(count):
        column, at = _text(data, at + 1)  # after its flags
        columns.append(column)
        types.append(data[at : at + 8])
        at += 8
    return oid, Relation(schema or "pg_catalog", name, tuple(columns), tuple(types))


def _values(data: bytes, at: int) -> tuple[Values, int]:
    (count,) = _U16.unpack_from(data, at)
    at += 2
    values: Values = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 0x74:  # t
            (length,) = _U32.unpack_from(data, at)
            at += 4
            values.append(data[at : at + length])
            at += length
        else:
            values.append(None if kind == 0x6E else UNCHANGED)  # n, u
    return values, at


@dataclass(slots=True)
class LastStates:
    """The last state of every key of one table, over all transactions that were fed.

    `rows` holds for each key its columns in the order of `columns`, or None where the row is gone.
    """

    schema: str
    table: str
    keys: tuple[str, ...]
    rows: dict[Key, Values | None] = field(default_factory=dict)
    truncated: bool = False
    changes: int = 0
    _relation: Relation | None = None
    _ours: set[int] = field(default_factory=set)
    _places: tuple[int, ...] = ()

    def feed(self, data: bytes) -> None:
        """One message other than begin and commit. Raises ColumnMissing where the table has no key column (any more)."""
        kind = data[:1]
        if kind in b"IUD":
            (oid,) = _U32.unpack_from(data, 1)
            if oid in self._ours:
                self.changes += 1
                self._change(kind, data)
        elif kind == b"R":
            oid, relation = _relation(data)
            self._relate(oid, relation)
        elif kind == b"T":
            (count,) = _U32.unpack_from(data, 1)
            oids = struct.unpack_from(f">{count}I", data, 6)
            if self._ours.intersection(oids):
                self.changes += 1
                self.rows.clear()
                self.truncated = True

    def _relate(self, oid: int, relation: Relation) -> None:
        if (relation.schema, relation.name) != (self.schema, self.table):
            self._ours.discard(oid)
            return
        self._ours.add(oid)
        missing = [key for key in self.keys if key not in relation.columns]
        if missing:
            raise ColumnMissing(table=self.table, columns=", ".join(missing))
        self._places = tuple(map(relation.columns.index, self.keys))
        if self._relation is not None and self._relation != relation:
            self._forget_values(relation)
        self._relation = relation

    def _forget_values(self, relation: Relation) -> None:
        """The table was altered between two changes: of rows seen before only the keys are still known."""
        for key, values in self.rows.items():
            if values is not None:
                made: Values = [UNCHANGED] * len(relation.columns)
                for place, value in zip(self._places, key, strict=True):
                    made[place] = value
                self.rows[key] = made

    def _change(self, kind: bytes, data: bytes) -> None:
        old: Values | None = None
        at = 5
        mark = data[at : at + 1]  # K: the key before, O: the whole row before, N: the row now
        if mark != b"N":
            old, at = _values(data, at + 1)
        before = self._key(old) if old is not None else None
        if kind == b"D":
            if before is not None:
                self.rows[before] = None
            return
        new, _ = _values(data, at + 1)
        if UNCHANGED in new and old is not None:
            known = range(len(new)) if mark == b"O" else self._places
            new = [old[place] if value is UNCHANGED and place in known else value for place, value in enumerate(new)]
        key = self._key(new)
        if UNCHANGED in new and (earlier := self.rows.get(key if before is None else before)) is not None:
            new = [earlier[place] if value is UNCHANGED else value for place, value in enumerate(new)]
        if before is not None and before != key:
            self.rows[before] = None
        self.rows[key] = new

    def _key(self, values: Values) -> Key:
        return tuple([values[place] for place in self._places])

    @property
    def columns(self) -> tuple[str, ...]:
        return self._relation.columns if self._relation is not None else ()

    def gone(self) -> Iterator[Key]:
        return (key for key, values in self.rows.items() if values is None)

    def present(self) -> Iterator[tuple[Key, Values]]:
        return ((key, values) for key, values in self.rows.items() if values is not None)
