"""Cases that are measured in turns, kept one by one in a file, and the tables that are made of what was kept.

A file of measurements holds one JSON object a line, written as soon as it is known. Tables are made of all that the file holds of
the same code, rows and machine: a benchmark that the clock ended still gives a table, which says how many rounds stand behind
each of its lines, and the same command goes on with what is left.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.exchange import places, report
from benchmarks.exchange.measuring import CommandFailed, Measured

MEMORY_MIB = 300
Outcome = tuple[int, str]  # rows of a table and the sum of their incomes


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement of one case, or why there is none. `base` names the case that it is divided by."""

    code: str
    machine: str
    rows: int
    series: str
    by: str
    case: str
    base: str
    goal: float | None
    is_ours: bool
    seconds: float = 0.0
    peak_mib: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)  # what ours says of itself, without its list of chunks
    problem: str = ""


class Kept:
    """The measurements of one code, number of rows and machine; without a file they are only in memory."""

    def __init__(self, path: Path | None, code: str, machine: str, rows: int) -> None:
        self._path, self.code, self.machine, self.rows = path, code, machine, rows
        self.lines: list[Line] = []
        if path is not None and path.is_file():
            found = (Line(**json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines() if text.strip())
            self.lines = [line for line in found if (line.code, line.machine, line.rows) == (code, machine, rows)]

    def add(self, line: Line) -> None:
        self.lines.append(line)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")

    def of(self, series: str, case: str) -> list[Line]:
        return [line for line in self.lines if (line.series, line.case) == (series, case)]


@dataclass(slots=True)
class Case:
    """`run` is measured, `prepare` before it is not. `arrived` reads what is there afterwards. `base` is its own name if empty."""

    name: str
    run: Callable[[], Measured]
    prepare: Callable[[], None]
    arrived: Callable[[], Outcome]
    goal: float | None = None
    is_ours: bool = False
    set_aside: int = 0  # rows that the checks of the case keep back
    base: str = ""


@dataclass(slots=True)
class Series:
    """Cases that are measured in turns."""

    title: str
    cases: list[Case]
    expected: Outcome
    by: str = "× the limit"

    def measure(self, rounds: int, kept: Kept, ends_at: float = float("inf")) -> None:
        """Until every case has its rounds, a failed one excepted; no case is begun after `ends_at` (of the monotonic clock)."""
        for number in range(1, rounds + 1):
            for case in self.cases:
                done = kept.of(self.title, case.name)
                if len(done) >= number or any(line.problem for line in done):
                    continue
                if time.monotonic() >= ends_at:
                    return
                line = self._once(case, kept)
                kept.add(line)
                shown = line.problem or f"{line.seconds:.2f} s"
                print(f"  {number}/{rounds} {case.name}: {shown}", file=sys.stderr, flush=True)

    def _once(self, case: Case, kept: Kept) -> Line:
        case.prepare()
        about = Line(kept.code, kept.machine, kept.rows, self.title, self.by, case.name, case.base or case.name, case.goal, case.is_ours)  # fmt: skip
        try:
            done = case.run()
        except CommandFailed as failed:
            return _with(about, problem=str(failed))
        rows, income = case.arrived()
        if rows != self.expected[0] - case.set_aside or (not case.set_aside and income != self.expected[1]):
            wanted, sum_ = self.expected
            return _with(about, problem=f"{rows:,} rows with {income} arrived instead of {wanted:,} with {sum_}")
        told = {name: value for name, value in places.told(done).items() if name != "chunks"} if case.is_ours else {}
        return _with(about, seconds=done.seconds, peak_mib=done.peak_mib, told=told)


def _with(line: Line, **changes: Any) -> Line:
    return Line(**(asdict(line) | changes))


# -- tables


@dataclass(frozen=True, slots=True)
class Row:
    """A case with all its measurements."""

    case: str
    lines: list[Line]

    @property
    def problem(self) -> str:
        return next((line.problem for line in self.lines if line.problem), "")

    @property
    def seconds(self) -> float:
        return statistics.median(line.seconds for line in self.lines)

    @property
    def peak_mib(self) -> float:
        return max(line.peak_mib for line in self.lines)

    @property
    def told(self) -> list[dict[str, Any]]:
        return [line.told for line in self.lines if line.told]


class Table:
    """What was kept of one series. Cases stand in the order in which they were measured first."""

    def __init__(self, title: str, lines: Sequence[Line]) -> None:
        self.title, self.lines = title, lines
        names = dict.fromkeys(line.case for line in lines)
        self.rows = {name: Row(name, [line for line in lines if line.case == name]) for name in names}

    def ratio(self, row: Row) -> float | None:
        base = self.rows.get(row.lines[0].base)
        return None if base is None or base.problem or row.problem else row.seconds / base.seconds

    def shown(self) -> str:
        shown = []
        for row in self.rows.values():
            first, rounds = row.lines[0], len(row.lines)
            if row.problem:
                shown.append([row.case, rounds, "failed", "", "", "", ""])
                continue
            inside = f"{statistics.median(one['seconds']['total'] for one in row.told):.2f}" if row.told else ""
            memory = report.verdict(row.peak_mib, MEMORY_MIB if first.is_ours else None, "{:.0f}")
            ratio = self.ratio(row)
            by = "" if ratio is None else report.verdict(ratio, first.goal)
            shown.append([row.case, rounds, f"{row.seconds:.2f}", inside, f"{first.rows / row.seconds:,.0f}", by, memory])  # fmt: skip
        return report.table(("", "rounds", "s", "in the engine s", "rows/s", self.lines[0].by, "peak MiB"), shown)

    def details(self) -> Iterator[str]:
        for row in self.rows.values():
            if row.problem:
                yield f"- {row.case} failed: {row.problem}"
            elif row.told:
                last = row.told[-1]
                yield f"- {row.case}: {places.stages(row.told)}; {last['form']}, {last['snapshot']}, {last['readers']} readers"

    def missed(self) -> list[str]:
        """Ours that miss a goal in time or memory."""
        missed = []
        for row in self.rows.values():
            goal, ratio = row.lines[0].goal, self.ratio(row)
            slow = goal is not None and ratio is not None and ratio > goal
            if row.lines[0].is_ours and not row.problem and (slow or row.peak_mib > MEMORY_MIB):
                missed.append(row.case)
        return missed

    def failed(self) -> list[str]:
        return [row.case for row in self.rows.values() if row.problem]


def tables(kept: Kept) -> list[Table]:
    titles = dict.fromkeys(line.series for line in kept.lines)
    return [Table(title, [line for line in kept.lines if line.series == title]) for title in titles]
