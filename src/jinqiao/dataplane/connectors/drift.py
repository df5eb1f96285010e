"""Drift: a table is no longer what the exchange was set up for. Found before anything is read or written, and named.

    hold_source(table, expected, now, choice) -> Drift     the source, against the columns it had when the task was set up
    target_drift(wanted, there, …) -> Drift                the target, against what the batch brings
    source_drift(expected, now) -> Drift

What only makes more room is no drift: a column that became wider holds every value that it held.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from jinqiao.dataplane.errors import SourceSchemaChanged
from jinqiao.kernel.contracts.exchange import DriftChoice
from jinqiao.kernel.contracts.tables import Column, LogicalType

_WIDER = {
    LogicalType.INTEGER: (LogicalType.INTEGER,),
    LogicalType.DOUBLE: (LogicalType.DOUBLE,),
    LogicalType.BOOLEAN: (LogicalType.BOOLEAN, LogicalType.INTEGER),
    LogicalType.DATE: (LogicalType.DATE,),
    LogicalType.DATETIME: (LogicalType.DATETIME,),
    LogicalType.BINARY: (LogicalType.BINARY,),
    LogicalType.TEXT: (LogicalType.TEXT,),
}
_INT64_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Drift:
    """Names of columns. Empty everywhere: nothing drifted."""

    missing: tuple[str, ...] = ()  # wanted, and not there (any more)
    retyped: tuple[
        str, ...
    ] = ()  # there, and cannot hold every wanted value (target), or is of another type now (source)
    extra_required: tuple[str, ...] = ()  # of the target: must be filled, and the batch does not fill them
    added: tuple[str, ...] = ()  # of the source: new since the task was set up

    def __bool__(self) -> bool:
        return bool(self.missing or self.retyped or self.extra_required or self.added)

    def named(self) -> dict[str, str]:
        """As details of an error: each list joined, `-` where empty."""
        lists = {
            "missing": self.missing,
            "retyped": self.retyped,
            "extra": self.extra_required,
            "added": self.added,
        }
        return {name: ", ".join(columns) or "-" for name, columns in lists.items()}


def holds_exactly(there: Column, wanted: Column) -> bool:
    """Can a column take every value of the wanted one, unchanged?"""
    if wanted.type is LogicalType.DECIMAL:
        if there.type is not LogicalType.DECIMAL:
            return False
        if there.precision is None or wanted.precision is None:
            return there.precision is None
        scale, wanted_scale = there.scale or 0, wanted.scale or 0
        return scale >= wanted_scale and there.precision - scale >= wanted.precision - wanted_scale
    if there.type not in _WIDER[wanted.type]:
        return False
    if wanted.type is LogicalType.TEXT and there.length is not None and wanted.length is not None:
        return there.length >= wanted.length
    return True


def widens_exactly(there: Column, wanted: Column) -> bool:
    """May the column `there` become `wanted` with every value that it holds unchanged?

    Longer text, wider decimals, whole numbers as 64 bits or as decimals, truth as a number, a date as midnight of that day.
    """
    if holds_exactly(wanted, there):
        return True
    if wanted.type is LogicalType.DECIMAL and there.type is LogicalType.INTEGER:
        return wanted.precision is not None and wanted.precision - (wanted.scale or 0) >= _INT64_DIGITS
    return wanted.type is LogicalType.DATETIME and there.type is LogicalType.DATE


def target_drift(
    wanted: Collection[Column],
    there: Collection[Column],
    required: Collection[str] = (),
    loses: Callable[[Column, Column], bool] = lambda _there, _wanted: False,
) -> Drift:
    """What the target's table lacks for these columns.

    `required`: names of its columns that must be filled. `loses(there, wanted)`: does the engine lose something that the
    logical types do not show?
    """
    known = {column.name: column for column in there}
    given = {column.name for column in wanted}
    retyped = [
        column.name
        for column in wanted
        if column.name in known and (not holds_exactly(known[column.name], column) or loses(known[column.name], column))
    ]
    return Drift(
        missing=tuple(column.name for column in wanted if column.name not in known),
        retyped=tuple(retyped),
        extra_required=tuple(name for name in required if name not in given),
    )


def source_drift(expected: Collection[Column], now: Collection[Column]) -> Drift:
    """What became of the source's columns: gone, of a type that does not fit into the old one, new."""
    known = {column.name: column for column in now}
    before = {column.name: column for column in expected}
    return Drift(
        missing=tuple(name for name in before if name not in known),
        retyped=tuple(name for name, column in before.items() if name in known and not _fits(known[name], column)),
        added=tuple(name for name in known if name not in before),
    )


def _fits(now: Column, before: Column) -> bool:
    if before.type is LogicalType.TEXT and before.length is not None and now.length is None:
        return False
    return holds_exactly(before, now)


def hold_source(
    table: str, expected: Collection[Column], now: Collection[Column], choice: DriftChoice, needed: Collection[str] = ()
) -> Drift:
    """The drift of a source that may be worked with; nothing expected: nothing is watched.

    REFUSE stops at any drift. ADAPT goes on: a column that is gone arrives as NULL, one of another type is fitted value by
    value, a new one is not read; only columns that are `needed` (keys, watermark, row filter) must be there.
    Raises SourceSchemaChanged naming every column.
    """
    if not expected:
        return Drift()
    drift = source_drift(expected, now)
    stops = bool(drift) if choice is DriftChoice.REFUSE else bool(set(drift.missing) & set(needed))
    if stops:
        raise SourceSchemaChanged(table=table, **drift.named())
    return drift
