"""Checks that know the whole run: unique, reference, freshness; severities, thresholds and counts over threads."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jinqiao.dataplane.checks.checker import Checker
from jinqiao.dataplane.checks.references import learn_references
from jinqiao.dataplane.connectors import ReadPlan, open_source
from jinqiao.dataplane.errors import CheckReferenceMissing, ChecksStopped, ColumnMissing
from jinqiao.kernel.contracts.exchange import CheckRule, Finding, Severity
from jinqiao.kernel.moments import CHINA, now
from tests.dataplane.exchanges import PEOPLE, people, some_people

IDS, NAMES, BORN, UPDATED = PEOPLE
PLAN = ReadPlan(table="people", columns=("id",))


def rule(check: str, item: str = "姓名", /, **given: Any) -> CheckRule:
    settings = {name: given.pop(name) for name in ("severity", "stop_rows", "stop_share") if name in given}
    return CheckRule(check=check, item=item, parameters=given, **settings)


def rows(names: list[Any], ids: list[Any] | None = None) -> list[pa.Array]:
    return [pa.array(ids or list(range(len(names))), pa.int64()), pa.array(names, pa.string())]


def broken(checker: Checker, columns: list[pa.Array]) -> list[bool]:
    found: list[bool] = checker.check(columns, [None] * len(columns))[0].tolist()
    return found


def test_unique_remembers_the_whole_run() -> None:
    checker = Checker([rule("unique")], [IDS, NAMES])

    assert broken(checker, rows(["a", None, "a"])) == [False, False, True]
    assert broken(checker, rows(["b", None, "a"])) == [False, False, True]
    assert checker.remembers_rows


def test_unique_may_take_several_items_together() -> None:
    checker = Checker([rule("unique", **{"with": ["编号"]})], [IDS, NAMES])

    assert broken(checker, rows(["a", "a", "a"], [1, 2, 1])) == [False, False, True]


def test_unique_counts_the_same_however_many_threads_check() -> None:
    checker = Checker([rule("unique")], [IDS, NAMES])
    batches = [rows([f"n{(start + at) % 400}" for at in range(100)]) for start in range(0, 2000, 50)]
    with ThreadPoolExecutor(4) as pool:
        marks = list(pool.map(lambda batch: checker.check(batch, [None, None])[0], batches))

    assert sum(int((~mark).sum()) for mark in marks) == 400
    assert (checker.rows_checked, checker.rows_bad) == (4000, 3600)
    assert checker.findings()[0].rows == 3600


def test_rows_are_numbered_as_the_reader_says() -> None:
    checker = Checker([rule("required")], [IDS, NAMES])
    for first, names in ((1001, ["a", None]), (1, [None, "b"])):
        checker.check(rows(names), [None, None], first_row=first)

    assert checker.findings()[0].sample_rows == (1, 1002)


def test_a_warning_counts_and_lets_the_row_pass() -> None:
    checker = Checker([rule("required", severity=Severity.WARN)], [IDS, NAMES])

    assert broken(checker, rows(["a", None])) == [False, False]
    assert checker.findings() == (
        Finding(check="required", item="姓名", rows=1, sample_rows=(2,), severity=Severity.WARN),
    )
    assert checker.rows_bad == 0
    checker.finish(now())


def test_a_key_is_required_even_where_its_rule_only_warns() -> None:
    checker = Checker([rule("required", severity=Severity.WARN)], [IDS, NAMES], keys=["name"])

    assert broken(checker, rows(["a", None])) == [False, True]


def test_a_rule_that_stops_ends_the_run_after_all_was_counted() -> None:
    checker = Checker([rule("required", severity=Severity.STOP)], [IDS, NAMES])

    assert broken(checker, rows(["a", None])) == [False, True]
    assert broken(checker, rows([None, None])) == [True, True]
    with pytest.raises(ChecksStopped) as stopped:
        checker.finish(now())
    assert stopped.value.details == {"findings": "姓名/required: 3", "rules": 1}


@pytest.mark.parametrize(
    ("limit", "stops"),
    [({"stop_rows": 2}, False), ({"stop_rows": 1}, True), ({"stop_share": 0.5}, False), ({"stop_share": 0.4}, True),
     ({"stop_rows": 0, "severity": Severity.WARN}, True), ({"stop_rows": 5, "severity": Severity.STOP}, False), ({}, False)],
)  # fmt: skip
def test_a_rule_stops_the_run_above_its_own_limit(limit: dict[str, Any], stops: bool) -> None:
    checker = Checker([rule("required", **limit)], [IDS, NAMES])
    broken(checker, rows(["a", None, "b", None]))

    if stops:
        with pytest.raises(ChecksStopped):
            checker.finish(now())
    else:
        checker.finish(now())


def test_what_a_transform_could_not_make_is_its_own_finding() -> None:
    checker = Checker([rule("required")], [IDS, NAMES])
    refused = pa.array([True, False]).to_numpy(zero_copy_only=False)

    bad, reasons = checker.check(rows([None, None]), [None, None], [None, refused])

    assert bad.tolist() == [True, True]
    assert reasons == ["transform:姓名", "required:姓名"]


def test_parts_add_up_to_the_run_also_from_another_process() -> None:
    items = [IDS, NAMES, BORN]
    rules = [rule("required", stop_rows=2), rule("freshness", "出生日期", days=3)]
    batches = [
        [*rows([None, "a", None]), pa.array([date(2026, 3, 17)] * 3)],
        [*rows(["b", None]), pa.nulls(2, pa.date32())],
    ]
    earlier, later, whole = (Checker(rules, items) for _ in range(3))
    states = []
    for checker, batch in zip((earlier, later), batches, strict=True):
        part = checker.part()
        part.check(batch, [None] * 3)
        states.append(json.loads(json.dumps(part.state())))
        assert checker.rows_checked == 0
    for state in states:
        later.add(state)
    for batch in batches:
        whole.check(batch, [None] * 3)

    assert later.state() == whole.state()
    assert later.findings() == whole.findings()
    assert later.findings()[0].sample_rows == (1, 3, 5)
    for checker in (later, whole):
        with pytest.raises(ChecksStopped) as stopped:
            checker.finish(datetime(2026, 3, 18, 9, tzinfo=CHINA))
        assert stopped.value.details["findings"] == "姓名/required: 3"
    assert not whole.remembers_rows


def test_parts_remember_together() -> None:
    checker = Checker([rule("unique")], [IDS, NAMES])

    assert broken(checker.part(), rows(["a", "b"])) == [False, False]
    assert broken(checker.part(), rows(["b", "c"])) == [True, False]


# --- reference ----------------------------------------------------------------------------------------------------


def towns(path: Path, codes: list[Any]) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE towns (code TEXT)")
        connection.executemany("INSERT INTO towns VALUES (?)", [(code,) for code in codes])
    connection.close()


def test_a_reference_is_read_from_the_same_source(tmp_path: Path) -> None:
    connection = people(tmp_path / "a.db", some_people(1))
    towns(tmp_path / "a.db", ["620302", "620321", None])
    checker = Checker([rule("reference", table="towns", column="code")] * 2, [IDS, NAMES])

    with open_source(connection, "") as source:
        learn_references(checker, source, PLAN)

    assert broken(checker, rows(["620302", None, "620300", ""])) == [False, False, True, True]


def test_a_reference_to_an_empty_table_lets_nothing_pass(tmp_path: Path) -> None:
    connection = people(tmp_path / "a.db", some_people(1))
    towns(tmp_path / "a.db", [])
    checker = Checker([rule("reference", table="towns", column="code")], [IDS, NAMES])
    with open_source(connection, "") as source:
        learn_references(checker, source, PLAN)

    assert broken(checker, rows(["620302", None])) == [True, False]


def test_a_reference_compares_in_the_type_of_the_item(tmp_path: Path) -> None:
    connection = people(tmp_path / "a.db", some_people(1))
    towns(tmp_path / "a.db", ["007", "x"])
    checker = Checker([rule("reference", "编号", table="towns", column="code")], [IDS, NAMES])
    with open_source(connection, "") as source:
        learn_references(checker, source, PLAN)

    assert broken(checker, rows(["a", "b"], [7, 8])) == [False, True]


def test_a_reference_that_was_not_read_lets_no_row_be_checked(tmp_path: Path) -> None:
    checker = Checker([rule("reference", table="people", column="no_such")], [IDS, NAMES])

    with pytest.raises(CheckReferenceMissing):
        broken(checker, rows(["a"]))
    with open_source(people(tmp_path / "a.db", []), "") as source, pytest.raises(ColumnMissing):
        learn_references(checker, source, PLAN)


# --- freshness ----------------------------------------------------------------------------------------------------


def fresh(newest: list[Any], type_: pa.DataType, at: datetime, partial: bool = False, **given: Any) -> bool:
    """Whether the run may go on."""
    item = BORN if pa.types.is_date(type_) else UPDATED
    checker = Checker([rule("freshness", item.item, **given)], [item])
    checker.check([pa.array(newest, type_)], [None])
    try:
        checker.finish(at, partial=partial)
    except ChecksStopped:
        assert [found.check for found in checker.findings()] == ["freshness"]
        return False
    return True


def test_a_run_whose_newest_date_is_too_old_stops() -> None:
    at = datetime(2026, 3, 18, 9, tzinfo=CHINA)

    assert fresh([date(2026, 3, 15), None, date(2020, 1, 1)], pa.date32(), at, days=3)
    assert not fresh([date(2026, 3, 14)], pa.date32(), at, days=3)


def test_times_are_wall_clock_times_of_china() -> None:
    at = datetime(2026, 3, 10, 1, 0, tzinfo=UTC)  # 09:00 in China

    assert fresh([datetime.fromisoformat("2026-03-10T07:00")], pa.timestamp("us"), at, hours=2)
    assert not fresh([datetime.fromisoformat("2026-03-10T06:59")], pa.timestamp("us"), at, hours=2)


def test_the_future_does_not_make_a_table_fresh() -> None:
    present = now().astimezone(CHINA).replace(tzinfo=None)

    assert not fresh([present + timedelta(days=3), present - timedelta(days=9)], pa.timestamp("us"), now(), days=3)
    assert not fresh([datetime.fromisoformat("9999-01-01")], pa.timestamp("us"), now(), days=3)


def test_no_row_is_stale_unless_only_what_is_new_is_read() -> None:
    assert not fresh([], pa.date32(), now(), days=3)
    assert not fresh([None], pa.date32(), now(), days=3)
    assert fresh([], pa.date32(), now(), partial=True, days=3)


def test_freshness_that_warns_is_a_finding_and_lets_the_run_go_on() -> None:
    checker = Checker([rule("freshness", BORN.item, days=3, severity=Severity.WARN)], [BORN])
    checker.check([pa.array([date(2000, 1, 1)])], [None])
    checker.finish(now())

    (finding,) = checker.findings()
    assert (finding.check, finding.rows, finding.severity) == ("freshness", 0, Severity.WARN)
