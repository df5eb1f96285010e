"""The checker of one run: applies the rules to every batch, counts findings, says which rows may go on and whether the run may.

    checker = Checker(order.checks, order.grant.items, keys)   # once for a run
    learn_references(checker, source, plan)                    # checks.references; only does something where a rule refers
    part = checker.part()                                      # for each split: counts of its own, what is remembered is shared
    bad, reasons = part.check(columns, misfits, refusals)      # for each batch
    checker.add(part.state())                                  # splits in their order; the state is JSON, kept with the split
    checker.finish(extracted_at)                               # raises ChecksStopped
    checker.findings()

Where there are no splits the checker itself checks the batches. Rows are numbered from 1 in the order in which they were read:
split after split, within a split in its order. A checker may be called from several threads; then each gives `first_row`.
"""

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jinqiao.dataplane.errors import CheckParametersWrong, ChecksStopped, CheckUnknown
from jinqiao.kernel.catalogues import check_catalogue, wrong_parameter
from jinqiao.kernel.contracts.exchange import CheckRule, Finding, Severity
from jinqiao.kernel.contracts.grants import GrantedItem

if TYPE_CHECKING:
    from jinqiao.dataplane.checks.cross import RowCheck
    from jinqiao.dataplane.checks.rows import Rows
    from jinqiao.dataplane.checks.runwide import Freshness, Reference

SAMPLE_ROWS = 10
TOLD_FINDINGS = 5
Key = tuple[str, str, Severity]


@dataclass(slots=True)
class _Count:
    rows: int = 0
    samples: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Bound:
    """A rule with its function."""

    rule: CheckRule
    item: str  # its name
    position: int
    check: "RowCheck"
    reference: "Reference | None" = None  # the same, where the rule is one of these
    freshness: "Freshness | None" = None

    @property
    def key(self) -> Key:
        return (self.rule.check, self.item, self.rule.severity)


class Checker:
    """Rules bound to the items of a grant. `keys` are codes of items that match rows: they are required without a rule.

    Raises CheckUnknown and CheckParametersWrong before any row is read.
    """

    def __init__(self, rules: Sequence[CheckRule], items: Sequence[GrantedItem], keys: Sequence[str] = ()) -> None:
        self._items = tuple(items)
        self._rules = [self._bind(rule) for rule in rules]
        given = {bound.position for bound in self._rules if _sets_aside_missing(bound.rule)}
        for position, item in enumerate(items):
            if item.code in keys and position not in given:
                self._rules.append(
                    _Bound(CheckRule(check="required", item=item.code), item.item, position, _null_at(position))
                )
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Key, _Count] = {}
        self._rule_rows = [0] * len(self._rules)
        self.rows_checked = 0
        self.rows_bad = 0

    def part(self) -> "Checker":
        """A checker of the same rules with counts of its own; what `unique`, `reference` and `freshness` know is shared."""
        part = copy.copy(self)
        part._begin()
        return part

    def _bind(self, rule: CheckRule) -> _Bound:
        entry = check_catalogue().get(rule.check)
        if entry is None or entry.get("implicit"):
            raise CheckUnknown(check=rule.check)
        if rule.version not in (0, entry["version"]):
            raise CheckUnknown(check=f"{rule.check}@{rule.version}")
        # most orders have no rules, and a command pays for what it imports
        from jinqiao.dataplane.checks.cross import CROSS_CHECKS, position_of
        from jinqiao.dataplane.checks.rows import VALUE_CHECKS
        from jinqiao.dataplane.checks.runwide import RUNWIDE, Freshness, Reference

        at = position_of(self._items, rule.item, rule.check)
        wrong = wrong_parameter(entry, rule.parameters)
        if wrong is None:
            wrong = _wrong_limit(rule)
        if wrong is not None:
            raise CheckParametersWrong(check=rule.check, parameter=wrong)
        check: RowCheck
        if rule.check in VALUE_CHECKS:
            judge = VALUE_CHECKS[rule.check](self._items[at], rule.parameters)
            check = lambda columns: judge(columns[at])  # noqa: E731 -- `at` and `judge` belong to this rule
        elif rule.check in CROSS_CHECKS:
            check = CROSS_CHECKS[rule.check](self._items, at, rule.parameters)
        else:
            check = RUNWIDE[rule.check](self._items, at, rule.parameters)
        return _Bound(
            rule,
            self._items[at].item,
            at,
            check,
            reference=check if isinstance(check, Reference) else None,
            freshness=check if isinstance(check, Freshness) else None,
        )

    # -- what the pipeline must know

    @property
    def remembers_rows(self) -> bool:
        """Whether a rule judges a row by the rows before it: then a run that ended early begins anew, split by split from none."""
        return any(bound.rule.check == "unique" for bound in self._rules)

    @property
    def references(self) -> "tuple[Reference, ...]":
        """Rules that want to `learn` the values of another table before the first batch."""
        return tuple(bound.reference for bound in self._rules if bound.reference is not None)

    # -- rows

    def check(
        self,
        columns: Sequence[pa.Array],
        misfits: "Sequence[Rows | None]",
        refusals: "Sequence[Rows | None]" = (),
        *,
        first_row: int | None = None,
    ) -> "tuple[Rows, list[str]]":
        """Bad rows of a batch, and for each of them, in their order, the checks it broke (`check:item`, joined by `;`).

        `columns` are the fitted columns of the items; `misfits` mark values that did not fit their type, `refusals` those
        that a transform could not make. `first_row` is the number of the batch's first row in the run; without it, batches
        follow one another in the order of the calls.
        """
        size = len(columns[0])
        broken: list[tuple[Key, Rows]] = []
        unknown: list[Rows | None] = list(misfits)
        for at, granted in enumerate(self._items):
            refused = refusals[at] if refusals else None
            for name, marked in (("type", misfits[at]), ("transform", refused)):
                if marked is not None and marked.any():
                    broken.append(((name, granted.item, Severity.QUARANTINE), marked))
            if refused is not None:
                misfit = unknown[at]
                unknown[at] = refused if misfit is None else misfit | refused
        for place, bound in enumerate(self._rules):
            bad = bound.check(columns)
            misfit = unknown[bound.position]
            if misfit is not None:
                bad = bad & ~misfit  # a value of the wrong type is one finding, not several
            if bad.any():
                broken.append((bound.key, bad))
                with self._lock:
                    self._rule_rows[place] += int(np.count_nonzero(bad))
        return self._count(size, broken, first_row)

    def _count(self, size: int, broken: "list[tuple[Key, Rows]]", first_row: int | None) -> "tuple[Rows, list[str]]":
        any_bad = np.zeros(size, np.bool_)
        aside = [(key, bad) for key, bad in broken if key[2] is not Severity.WARN]
        for _, bad in aside:
            any_bad |= bad
        bad_rows = np.flatnonzero(any_bad)
        with self._lock:
            first = self.rows_checked + 1 if first_row is None else first_row
            for key, bad in broken:
                count = self._counts.setdefault(key, _Count())
                rows = np.flatnonzero(bad)
                count.rows += len(rows)
                count.samples.extend((rows[: SAMPLE_ROWS - len(count.samples)] + first).tolist())
            self.rows_checked += size
            self.rows_bad += len(bad_rows)
        if not len(bad_rows):
            return any_bad, []
        reasons: list[list[str]] = [[] for _ in range(len(bad_rows))]
        for (name, item, _), bad in aside:
            for row in np.flatnonzero(bad[bad_rows]).tolist():
                reasons[row].append(f"{name}:{item}")
        return any_bad, [";".join(names) for names in reasons]

    # -- the run

    def finish(self, extracted_at: datetime, *, partial: bool = False) -> None:
        """All rows were checked: raises ChecksStopped where a rule ends the run.

        `partial` is a run that reads only what is new: that it read no row is no matter for `freshness` then.
        """
        stopped: list[str] = []
        for bound, rows in zip(self._rules, self._rule_rows, strict=True):
            if bound.freshness is not None:
                if self._is_stale(bound.freshness, extracted_at, partial):
                    with self._lock:
                        self._counts.setdefault(bound.key, _Count())
                    if bound.rule.severity is not Severity.WARN:
                        stopped.append(f"{bound.item}/{bound.rule.check}")
            elif rows and self._stops(bound.rule, rows):
                stopped.append(f"{bound.item}/{bound.rule.check}: {rows}")
        if stopped:
            raise ChecksStopped(findings="；".join(stopped[:TOLD_FINDINGS]), rules=len(stopped))

    def _is_stale(self, check: "Freshness", extracted_at: datetime, partial: bool) -> bool:
        stale = check.stale(extracted_at)
        return (not partial) if stale is None else stale

    def _stops(self, rule: CheckRule, rows: int) -> bool:
        if rule.severity is Severity.STOP and rule.stop_rows is None and rule.stop_share is None:
            return True
        over_rows = rule.stop_rows is not None and rows > rule.stop_rows
        over_share = rule.stop_share is not None and rows > rule.stop_share * self.rows_checked
        return over_rows or over_share

    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, most rows first. A stale run is a finding of `freshness` with no rows."""
        with self._lock:
            found = sorted(self._counts.items(), key=lambda pair: (-pair[1].rows, pair[0]))
            return tuple(
                Finding(
                    check=name,
                    item=item,
                    rows=count.rows,
                    sample_rows=tuple(sorted(count.samples)),
                    version=check_catalogue()[name]["version"],
                    severity=severity,
                )
                for (name, item, severity), count in found
            )

    # -- parts

    def state(self) -> dict[str, Any]:
        """Counts and newest dates as JSON values; what `remembers_rows` needs is not among them."""
        with self._lock:
            return {
                "checked": self.rows_checked,
                "bad": self.rows_bad,
                "counts": [[*key[:2], key[2].value, count.rows, count.samples] for key, count in self._counts.items()],
                "rules": list(self._rule_rows),
                "newest": [bound.freshness.newest if bound.freshness is not None else "" for bound in self._rules],
            }

    def add(self, state: Mapping[str, Any]) -> None:
        """What a part of the same rules counted, also in an earlier process. Its row numbers come after those of before."""
        with self._lock:
            for name, item, severity, rows, samples in state["counts"]:
                count = self._counts.setdefault((name, item, Severity(severity)), _Count())
                count.rows += rows
                room = SAMPLE_ROWS - len(count.samples)
                count.samples.extend(row + self.rows_checked for row in sorted(samples)[:room])
            for place, (bound, newest) in enumerate(zip(self._rules, state["newest"], strict=True)):
                self._rule_rows[place] += state["rules"][place]
                if newest and bound.freshness is not None:
                    bound.freshness.see(datetime.fromisoformat(newest))
            self.rows_checked += state["checked"]
            self.rows_bad += state["bad"]


def _sets_aside_missing(rule: CheckRule) -> bool:
    return rule.check == "required" and rule.severity is not Severity.WARN


def _wrong_limit(rule: CheckRule) -> str | None:
    if rule.stop_share is not None and not 0 <= rule.stop_share <= 1:
        return "stop_share"
    if rule.stop_rows is not None and rule.stop_rows < 0:
        return "stop_rows"
    return None


def _null_at(position: int) -> "RowCheck":
    return lambda columns: columns[position].is_null().to_numpy(zero_copy_only=False)
