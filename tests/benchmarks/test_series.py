"""Measurements are kept one by one, so that a benchmark goes on where the clock ended it, and its tables say what stands behind them."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.exchange.measuring import CommandFailed, Measured
from benchmarks.exchange.series import Case, Kept, Series, tables

ROWS = (1_000, "5.00")


def took(seconds: float, done: list[str], name: str) -> Callable[[], Measured]:
    def run() -> Measured:
        done.append(name)
        return Measured(
            seconds, 50 << 20, 0, '{"seconds": {"total": 1.5}, "form": "arrow", "snapshot": "one", "readers": 1}', ""
        )

    return run


def series(done: list[str], **changed: Callable[[], Measured]) -> Series:
    cases = [
        Case(name, changed.get(name, took(seconds, done, name)), lambda: None, lambda: ROWS, goal, goal is not None, base="limit")
        for name, seconds, goal in (("limit", 2.0, None), ("ours", 5.0, 2.0), ("peer", 8.0, None))
    ]  # fmt: skip
    return Series("copies", cases, ROWS)


def kept(folder: Path, code: str = "abc") -> Kept:
    return Kept(folder / "kept.jsonl", code, "a machine", 1_000)


def test_an_interrupted_benchmark_goes_on_in_turns(tmp_path: Path) -> None:
    done: list[str] = []

    def end() -> Measured:
        raise KeyboardInterrupt

    series(done).measure(1, kept(tmp_path))
    try:
        series(done, ours=end).measure(2, kept(tmp_path))
    except KeyboardInterrupt:
        assert done == ["limit", "ours", "peer", "limit"]
    series(done).measure(2, kept(tmp_path))

    assert done == ["limit", "ours", "peer"] * 2
    assert [len(kept(tmp_path).of("copies", name)) for name in ("limit", "ours", "peer")] == [2, 2, 2]


def test_a_table_says_how_many_rounds_stand_behind_each_line(tmp_path: Path) -> None:
    measurements = kept(tmp_path)
    series([]).measure(1, measurements)
    series([], ours=took(5.0, [], "")).measure(2, measurements, ends_at=0)
    (table,) = tables(kept(tmp_path))
    lines = table.shown().splitlines()

    assert lines[2].startswith("| limit | 1 | 2.00 |")
    assert lines[3].startswith("| ours | 1 | 5.00 | 1.50 | 200 | **2.50** (> 2) |")
    assert table.missed() == ["ours"]


def test_measurements_of_other_code_are_not_mixed_in(tmp_path: Path) -> None:
    series([]).measure(2, kept(tmp_path))

    assert not kept(tmp_path, "def").lines


def test_a_case_that_failed_is_told_and_not_tried_again(tmp_path: Path) -> None:
    tries: list[str] = []

    def fail() -> Measured:
        tries.append("peer")
        raise CommandFailed("it ended with 1")

    series([], peer=fail).measure(3, kept(tmp_path))
    (table,) = tables(kept(tmp_path))

    assert tries == ["peer"]
    assert table.failed() == ["peer"]
    assert "| peer | 1 | failed |" in table.shown()
