"""The checker counts findings by row number, never by value, and keeps bad rows for their provider alone."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jinqiao.dataplane.checks.checker import SAMPLE_ROWS, Checker
from jinqiao.dataplane.checks.quarantine import Quarantine, open_quarantine
from jinqiao.dataplane.errors import CheckParametersWrong, CheckUnknown
from jinqiao.kernel.catalogues import check_catalogue
from jinqiao.kernel.contracts.exchange import CheckRule, Finding
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.crypto.identity import Identity
from tests.dataplane.exchanges import CONSUMER, PEOPLE, PROVIDER

IDS, NAMES = PEOPLE[:2]


def columns(ids: list[Any], names: list[Any]) -> list[pa.Array]:
    return [pa.array(ids, pa.int64()), pa.array(names, pa.string())]


def test_findings_are_counted_over_all_batches() -> None:
    checker = Checker([CheckRule(check="required", item="姓名")], [IDS, NAMES])

    first, reasons = checker.check(columns([1, 2], ["a", None]), [None, None])
    checker.check(columns([3], [""]), [None, None])

    assert first.tolist() == [False, True]
    assert reasons == ["required:姓名"]
    assert checker.findings() == (Finding(check="required", item="姓名", rows=2, sample_rows=(2, 3)),)
    assert (checker.rows_checked, checker.rows_bad) == (3, 2)


def test_samples_are_few() -> None:
    checker = Checker([CheckRule(check="required", item="name")], [IDS, NAMES])

    for _ in range(3):
        checker.check(columns(list(range(20)), [None] * 20), [None, None])

    (finding,) = checker.findings()
    assert (finding.rows, len(finding.sample_rows)) == (60, SAMPLE_ROWS)


def test_a_value_of_another_type_is_one_finding_of_type() -> None:
    checker = Checker([CheckRule(check="required", item="id")], [IDS, NAMES])

    bad, reasons = checker.check(columns([None, None], ["a", "b"]), [np.array([True, False]), None])

    assert bad.tolist() == [True, True]
    assert reasons == ["type:编号", "required:编号"]


def test_keys_are_required_without_a_rule_but_may_be_empty_texts() -> None:
    checker = Checker([], [IDS, NAMES], keys=["name"])

    bad, _ = checker.check(columns([1, 2], ["", None]), [None, None])

    assert bad.tolist() == [False, True]


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (CheckRule(check="no_such_check", item="姓名"), CheckUnknown),
        (CheckRule(check="type", item="姓名"), CheckUnknown),
        (CheckRule(check="required", item="没有这一项"), CheckParametersWrong),
        (CheckRule(check="pattern", item="姓名"), CheckParametersWrong),
        (CheckRule(check="required", item="姓名", parameters={"min": 1}), CheckParametersWrong),
        (CheckRule(check="required", item="姓名", version=2), CheckUnknown),
        (CheckRule(check="required", item="姓名", stop_share=1.5), CheckParametersWrong),
        (CheckRule(check="required", item="姓名", stop_rows=-1), CheckParametersWrong),
        (CheckRule(check="length", item="姓名", parameters={"max": "many"}), CheckParametersWrong),
        (CheckRule(check="range", item="编号", parameters={"min": "one"}), CheckParametersWrong),
        (CheckRule(check="pattern", item="姓名", parameters={"pattern": "("}), CheckParametersWrong),
        (CheckRule(check="freshness", item="姓名", parameters={"days": 1}), CheckParametersWrong),
        (CheckRule(check="reference", item="姓名", parameters={"table": " ", "column": "a"}), CheckParametersWrong),
        (
            CheckRule(check="cross_column", item="姓名", parameters={"operator": "lt", "other": "编号"}),
            CheckParametersWrong,
        ),
        (CheckRule(check="sum_of", item="编号", parameters={"items": ["姓名"]}), CheckParametersWrong),
        (CheckRule(check="unique", item="编号", parameters={"with": ["没有"]}), CheckParametersWrong),
    ],
)
def test_a_wrong_rule_is_refused_before_any_row(rule: CheckRule, error: type[Exception]) -> None:
    with pytest.raises(error):
        Checker([rule], [IDS, NAMES])


def test_quarantine_opens_for_the_provider_only() -> None:
    quarantine = Quarantine([IDS, NAMES])
    raw = [pa.array(["1", "two"]), pa.array([b"\xff", "李四".encode()], pa.binary())]
    quarantine.add(raw, np.array([False, True]), ["type:编号"], first_row=7)

    sealed = quarantine.sealed(PROVIDER.public, "RUN-1")

    assert open_quarantine(sealed, PROVIDER).to_pylist() == [
        {"_row": 8, "_broken": "type:编号", "编号": "two", "姓名": "李四"}
    ]
    assert "李四".encode() not in sealed
    for stranger in (CONSUMER, Identity.generate("guomi")):
        with pytest.raises(SealBroken):
            open_quarantine(sealed, stranger)


NAME, BORN = "姓名", "出生日期"
EVERY_RULE = [
    CheckRule(check="length", item=NAME, parameters={"min": 1, "max": 2}),
    CheckRule(check="pattern", item=NAME, parameters={"pattern": "a+"}),
    CheckRule(check="code_list", item=NAME, parameters={"values": ["1"]}),
    CheckRule(check="code_list", item=NAME, parameters={"table": "GB/T 3304"}),
    CheckRule(check="identity_number", item=NAME),
    CheckRule(check="credit_code", item=NAME),
    CheckRule(check="organisation_code", item=NAME),
    CheckRule(check="range", item=BORN, parameters={"min": "1900-01-01"}),
    CheckRule(check="unique", item=NAME),
    CheckRule(check="unique", item="编号", parameters={"with": [NAME, BORN]}),
    CheckRule(check="cross_column", item=BORN, parameters={"operator": "le", "other": "更新时间"}),
    CheckRule(check="required_if", item=BORN, parameters={"when": NAME, "values": ["x"]}),
    CheckRule(check="empty_if", item=BORN, parameters={"when": NAME, "values": ["x"]}),
    CheckRule(check="sum_of", item="编号", parameters={"items": ["编号"]}),
    CheckRule(check="identity_agrees", item=BORN, parameters={"number": NAME, "part": "birth_date"}),
    CheckRule(check="identity_agrees", item="编号", parameters={"number": NAME, "part": "sex"}),
    CheckRule(check="freshness", item=BORN, parameters={"days": 3}),
    CheckRule(check="required", item=NAME),
]


@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_but_a_required_value_is_missed_where_there_is_nothing(rows: int) -> None:
    checker = Checker(EVERY_RULE, PEOPLE)
    nothing = [pa.nulls(rows, type_) for type_ in (pa.int64(), pa.string(), pa.date32(), pa.timestamp("us"))]

    bad, _ = checker.check(nothing, [None] * 4)

    assert bad.tolist() == [True] * rows
    assert [found.check for found in checker.findings()] == ["required"] * (rows > 0)
    assert {rule.check for rule in EVERY_RULE} == {
        name for name, entry in check_catalogue().items() if not entry.get("implicit")
    } - {"reference"}
