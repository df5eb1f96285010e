"""Checks that know the whole run: `unique`, `reference`, `freshness`. Safe to be called from several threads."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.checks.cross import position_of
from jinqiao.dataplane.checks.keysets import Fingerprinter, KeySet
from jinqiao.dataplane.checks.rows import Parameters, Rows, value_type
from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.errors import CheckParametersWrong, CheckReferenceMissing
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType
from jinqiao.kernel.moments import CHINA, now


class Unique:
    """Rows whose value, or values together, came before in the run. A row where one of them is NULL is not judged."""

    def __init__(self, items: Sequence[GrantedItem], at: int, parameters: Parameters) -> None:
        others = [position_of(items, name, "unique") for name in parameters.get("with", ())]
        self._places = tuple(dict.fromkeys([at, *others]))
        self._prints, self._seen = Fingerprinter(len(self._places)), KeySet()
        self._lock = threading.Lock()

    def __call__(self, columns: Sequence[pa.Array]) -> Rows:
        bad = np.zeros(len(columns[self._places[0]]), np.bool_)
        with self._lock:
            prints = self._prints([columns[place] for place in self._places])
            bad[prints.rows] = self._seen.add(prints)
        return bad


@dataclass(frozen=True, slots=True)
class ReferenceColumn:
    """A column of another table of the source, whose values a rule wants to know before the rows are checked."""

    table: str
    column: str


class Reference:
    """Rows whose value is not among those of another table, as `learn` was told of them."""

    def __init__(self, items: Sequence[GrantedItem], at: int, parameters: Parameters) -> None:
        if not parameters["table"].strip() or not parameters["column"].strip():
            raise CheckParametersWrong(check="reference", parameter="table")
        self.wants = ReferenceColumn(parameters["table"], parameters["column"])
        self._at, self._type = at, value_type(items[at])
        self._prints, self._known = Fingerprinter(), KeySet()
        self._learnt = False
        self._lock = threading.Lock()

    def learn(self, values: pa.Array | None) -> None:
        """Values of the column, in as many pieces as there are; None says that there are no more."""
        with self._lock:
            self._learnt = True
            if values is not None and len(values):
                self._known.add(self._prints([fit(values, self._type).values]))

    def __call__(self, columns: Sequence[pa.Array]) -> Rows:
        if not self._learnt:
            raise CheckReferenceMissing(check="reference", table=self.wants.table, column=self.wants.column)
        bad = np.zeros(len(columns[self._at]), np.bool_)
        with self._lock:  # weights may grow
            prints = self._prints([columns[self._at]])
            bad[prints.rows] = ~self._known.has(prints)
        return bad


class Freshness:
    """Remembers the newest date or time of an item; wall-clock times are China's. The future does not count."""

    def __init__(self, items: Sequence[GrantedItem], at: int, parameters: Parameters) -> None:
        if items[at].type not in (LogicalType.DATE, LogicalType.DATETIME):
            raise CheckParametersWrong(check="freshness", parameter=items[at].item)
        hours = Decimal(str(parameters.get("days", 0))) * 24 + Decimal(str(parameters.get("hours", 0)))
        if not 0 <= hours < 1_000_000:
            raise CheckParametersWrong(check="freshness", parameter="days" if "days" in parameters else "hours")
        self._at = at
        self._allowed = timedelta(hours=float(hours))
        self._newest: datetime | None = None
        self._lock = threading.Lock()

    def __call__(self, columns: Sequence[pa.Array]) -> Rows:
        values = columns[self._at]
        present = now().astimezone(CHINA).replace(tzinfo=None)
        limit = pa.scalar(present.date() if pa.types.is_date(values.type) else present, values.type)
        newest = pc.max(values.filter(pc.less_equal(values, limit))).as_py()
        if newest is not None:
            self.see(newest)
        return np.zeros(len(values), np.bool_)

    def see(self, newest: date | datetime) -> None:
        """A date counts until the end of its day."""
        at = newest if isinstance(newest, datetime) else datetime.combine(newest, time.max)
        with self._lock:
            self._newest = at if self._newest is None else max(at, self._newest)

    @property
    def newest(self) -> str:
        return "" if self._newest is None else self._newest.isoformat()

    def stale(self, extracted_at: datetime) -> bool | None:
        """Whether the newest value is too old; None where no row had one."""
        if self._newest is None:
            return None
        return extracted_at.astimezone(CHINA).replace(tzinfo=None) - self._newest > self._allowed


RUNWIDE: Mapping[str, type[Unique | Reference | Freshness]] = {
    "unique": Unique,
    "reference": Reference,
    "freshness": Freshness,
}
