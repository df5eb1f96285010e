"""The checker of one run: applies the rules to every batch, counts findings, says which rows may go on."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa

from jinqiao.dataplane.checks.rows import CHECKS, Check, Rows, Unique
from jinqiao.dataplane.errors import CheckParametersWrong, CheckUnknown
from jinqiao.kernel.contracts.exchange import CheckRule, Finding
from jinqiao.kernel.contracts.grants import GrantedItem

SAMPLE_ROWS = 10


@cache
def catalogue() -> Mapping[str, Mapping[str, Any]]:
    """The catalogue of checks by name."""
    return tomllib.loads((files("jinqiao.kernel") / "texts" / "checks.toml").read_text(encoding="utf-8"))


@dataclass(slots=True)
class _Bound:
    """A rule with its function and the position of its item."""

    name: str
    item: str
    position: int
    check: Check | Unique
    parameters: Mapping[str, Any]


@dataclass(slots=True)
class _Count:
    rows: int = 0
    samples: list[int] = field(default_factory=list)


class Checker:
    """Rules bound to the items of a grant. `keys` are codes of items that match rows: they are required without a rule.

    Raises CheckUnknown and CheckParametersWrong before any row is read.
    """

    def __init__(self, rules: Sequence[CheckRule], items: Sequence[GrantedItem], keys: Sequence[str] = ()) -> None:
        self._items = tuple(items)
        self._rules = [self._bind(rule) for rule in rules]
        given = {(rule.name, rule.position) for rule in self._rules}
        for position, item in enumerate(items):
            if item.code in keys and ("required", position) not in given:
                self._rules.append(_Bound("required", item.item, position, _null_only, {}))
        self._counts: dict[tuple[str, str], _Count] = {}
        self.rows_checked = 0
        self.rows_bad = 0

    def _bind(self, rule: CheckRule) -> _Bound:
        entry = catalogue().get(rule.check)
        if entry is None or entry.get("implicit"):
            raise CheckUnknown(check=rule.check)
        positions = [at for at, item in enumerate(self._items) if rule.item in (item.item, item.code)]
        if not positions:
            raise CheckParametersWrong(check=rule.check, parameter=rule.item)
        allowed, needed = entry.get("parameters", {}), entry.get("needs", [])
        for name in (*needed, *rule.parameters):
            if name not in allowed or name not in rule.parameters:
                raise CheckParametersWrong(check=rule.check, parameter=name)
        check = Unique() if rule.check == "unique" else CHECKS[rule.check]
        return _Bound(rule.check, self._items[positions[0]].item, positions[0], check, rule.parameters)

    def check(self, columns: Sequence[pa.Array], misfits: Sequence[Rows | None]) -> tuple[Rows, list[str]]:
        """Bad rows of a batch, and for each of them, in their order, the checks it broke (`check:item`, joined by `;`).

        `columns` are the fitted columns of the items; `misfits` mark values that did not fit their type.
        """
        size = len(columns[0])
        broken: list[tuple[str, str, Rows]] = []
        for granted, misfit in zip(self._items, misfits, strict=True):
            if misfit is not None and misfit.any():
                broken.append(("type", granted.item, misfit))
        for rule in self._rules:
            bad = rule.check(columns[rule.position], rule.parameters)
            misfit = misfits[rule.position]
            if misfit is not None:
                bad = bad & ~misfit  # a value of the wrong type is one finding, not several
            if bad.any():
                broken.append((rule.name, rule.item, bad))
        any_bad = np.zeros(size, np.bool_)
        for name, item, bad in broken:
            count = self._counts.setdefault((name, item), _Count())
            rows = np.flatnonzero(bad)
            count.rows += len(rows)
            count.samples.extend(int(row) + self.rows_checked + 1 for row in rows[: SAMPLE_ROWS - len(count.samples)])
            any_bad |= bad
        self.rows_checked += size
        bad_rows = np.flatnonzero(any_bad)
        self.rows_bad += len(bad_rows)
        reasons = [";".join(f"{name}:{item}" for name, item, bad in broken if bad[row]) for row in bad_rows]
        return any_bad, reasons

    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, most rows first."""
        found = sorted(self._counts.items(), key=lambda pair: (-pair[1].rows, pair[0]))
        return tuple(
            Finding(check=name, item=item, rows=count.rows, sample_rows=tuple(count.samples))
            for (name, item), count in found
        )


def _null_only(values: pa.Array, parameters: Mapping[str, Any]) -> Rows:
    mask: Rows = values.is_null().to_numpy(zero_copy_only=False)
    return mask
