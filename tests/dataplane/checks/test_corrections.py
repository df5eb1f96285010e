"""A quarantine goes to the provider's people as a workbook; corrected, its rows are checked again and delivered as a run."""

import io
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.checks import workbooks
from jinqiao.dataplane.checks.corrections import corrected_rows, resubmission
from jinqiao.dataplane.checks.quarantine import Quarantine, open_quarantine, run_of
from jinqiao.dataplane.checks.workbooks import UNSHOWN, quarantine_workbook, read_corrections
from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.errors import CorrectionsRefused, TableMissing
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import CheckRule, Delivery, Severity
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType
from tests.dataplane.exchanges import CONSUMER, PEOPLE, PROVIDER, exchange, hand_over, order, people, rows_of, sqlite_at

IDS, NAMES = PEOPLE[:2]
CHECKS = (CheckRule(check="required", item="姓名"), CheckRule(check="length", item="姓名", parameters={"max": 6}))


def sealed(names: list[Any], run: str = "RUN-1") -> bytes:
    """A quarantine of rows 1, 2, … whose name is wrong."""
    quarantine = Quarantine([IDS, NAMES])
    columns = [pa.array(range(len(names)), pa.int64()), pa.array(names, pa.string())]
    quarantine.add(columns, np.ones(len(names), np.bool_), ["required:姓名;length:姓名"] * len(names), 1)
    return quarantine.sealed(PROVIDER.public, run)


def edited(workbook: bytes, **cells: Any) -> bytes:
    """As somebody saves it with other values in some cells of its first sheet; None empties a cell."""
    book = openpyxl.load_workbook(io.BytesIO(workbook))
    for cell, value in cells.items():
        book.worksheets[0][cell] = value
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


def names_of(workbook: bytes, quarantine: bytes) -> list[str | None]:
    texts = read_corrections(workbook, quarantine, PROVIDER, [IDS, NAMES])
    names: list[str | None] = texts.rows.column("姓名").to_pylist()
    return names


def refusal(workbook: bytes, quarantine: bytes) -> str:
    with pytest.raises(CorrectionsRefused) as refused:
        corrected_rows(workbook, order(items=[IDS, NAMES], checks=CHECKS), sealed=quarantine, identity=PROVIDER)
    return str(refused.value.details["reason"])


def test_the_workbook_says_row_problems_and_values() -> None:
    book = openpyxl.load_workbook(io.BytesIO(quarantine_workbook(sealed(["李四", None]), PROVIDER, [IDS, NAMES])))

    assert [[cell.value for cell in row] for row in book.worksheets[0].iter_rows()] == [
        ["行号", "问题", "编号", "姓名"],
        [1, "姓名：必填；姓名：长度", "0", "李四"],
        [2, "姓名：必填；姓名：长度", "1", None],
    ]
    assert ["运行编号", "RUN-1"] in [[cell.value for cell in row] for row in book.worksheets[1].iter_rows()]


def test_the_workbook_speaks_english_when_asked() -> None:
    book = openpyxl.load_workbook(io.BytesIO(quarantine_workbook(sealed([None]), PROVIDER, [IDS, NAMES], "en")))

    assert [cell.value for cell in book.worksheets[0][1]] == ["Row", "Problems", "编号", "姓名"]
    assert book.worksheets[0]["B2"].value == "姓名: required; 姓名: length"
    assert names_of(quarantine_workbook(sealed(["a"]), PROVIDER, [IDS, NAMES], "en"), sealed(["a"])) == ["a"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", "'", "''", "=1+1", "'=1", "-5", "+86", "@x", "\t", "\r\n", " a ", "_x000D_", "\ufffe", "a\0b", "2026-01-01", "1E5", "x" * 40_000]
)  # fmt: skip


@given(st.lists(st.none() | TEXTS, min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_workbook_that_is_left_alone_says_what_was_kept(values: list[str | None]) -> None:
    quarantine = sealed(values)
    workbook = quarantine_workbook(quarantine, PROVIDER, [IDS, NAMES])

    assert open_quarantine(quarantine, PROVIDER).column("姓名").to_pylist() == values
    assert names_of(workbook, quarantine) == values


def test_no_text_becomes_a_formula() -> None:
    workbook = quarantine_workbook(sealed(["=HYPERLINK(1)", "+1", "-1", "@x", "\t=1"]), PROVIDER, [IDS, NAMES])

    for row in openpyxl.load_workbook(io.BytesIO(workbook)).worksheets[0].iter_rows(min_row=2, min_col=4):
        assert row[0].data_type == "s"
        assert row[0].value.startswith("'")
        assert row[0].number_format == "@"


def test_what_people_enter_is_read_as_text() -> None:
    quarantine = sealed(["a"] * 6)
    workbook = quarantine_workbook(quarantine, PROVIDER, [IDS, NAMES])

    changed = edited(workbook, D2="张三", D3=12, D4=date(2020, 1, 2), D5=None, D6="-5", D7="'=1")

    assert names_of(changed, quarantine) == ["张三", "12", "2020-01-02", None, "-5", "=1"]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"A2": 7}, "A2 行号"),
        ({"A2": None}, "A2 行号"),
        ({"A3": 1}, "A3 行号"),
        ({"A3": "x"}, "A3 行号"),
        ({"D1": "名字"}, "姓名"),
        ({"C1": "姓名"}, "姓名"),
        ({"D2": 123456789012345678}, "D2 数字"),
        ({"D2": "#N/A"}, "D2 错误值"),
        ({"D2": "张三", "D3": None}, "D3 姓名：必填/required"),
        ({"D2": "张三", "D3": "1234567"}, "D3 姓名：长度/length"),
        ({"C2": "x", "D2": "a", "D3": "b"}, "C2 编号：类型/type"),
        ({"A1": "第几行"}, "没有"),
    ],
)
def test_what_is_wrong_is_said_by_cell(cells: dict[str, Any], reason: str) -> None:
    quarantine = sealed(["a", "b"])
    said = refusal(edited(quarantine_workbook(quarantine, PROVIDER, [IDS, NAMES]), **cells), quarantine)

    assert reason in said
    assert "张三" not in said


def test_a_workbook_of_another_run_is_refused() -> None:
    assert "另一次运行" in refusal(quarantine_workbook(sealed(["a"], "RUN-2"), PROVIDER, [IDS, NAMES]), sealed(["a"]))
    assert run_of(sealed(["a"], "RUN-2")) == "RUN-2"


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\xd0\xcf\x11\xe0" + bytes(600)])
def test_what_is_no_workbook_is_refused(data: bytes) -> None:
    assert "不是 Excel" in refusal(data, sealed(["a"]))


def test_a_workbook_that_unpacks_too_far_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "_UNPACKED_MOST", 1000)

    assert "过大" in refusal(quarantine_workbook(sealed(["a"]), PROVIDER, [IDS, NAMES]), sealed(["a"]))


def test_a_workbook_without_rows_is_refused() -> None:
    quarantine = sealed(["a"])
    assert "没有数据行" in refusal(
        edited(quarantine_workbook(quarantine, PROVIDER, [IDS, NAMES]), A2=None, B2=None, C2=None, D2=None), quarantine
    )


def test_a_cell_that_could_not_be_shown_may_be_replaced() -> None:
    quarantine = sealed(["x" * 40_000])
    workbook = quarantine_workbook(quarantine, PROVIDER, [IDS, NAMES])

    assert openpyxl.load_workbook(io.BytesIO(workbook)).worksheets[0]["D2"].value == UNSHOWN
    assert names_of(edited(workbook, D2="短"), quarantine) == ["短"]


def test_values_of_every_type_are_kept_and_come_back() -> None:
    kinds = (
        LogicalType.DECIMAL,
        LogicalType.DOUBLE,
        LogicalType.BOOLEAN,
        LogicalType.DATE,
        LogicalType.DATETIME,
        LogicalType.BINARY,
    )
    items = [
        GrantedItem(item=f"项{kind}", code=kind.value, column=kind.value, type=kind, precision=20, scale=4)
        for kind in kinds
    ]
    instant = date(1890, 1, 2)
    columns = [
        pa.array(["0.0010"]).cast(pa.decimal128(20, 4)), pa.array([0.1]), pa.array([True]), pa.array([instant]),
        pa.array([instant]).cast(pa.timestamp("us")), pa.array([b"\xff\0"], pa.binary()),
    ]  # fmt: skip
    quarantine = Quarantine(items)
    quarantine.add(columns, np.ones(1, np.bool_), ["required:项x"], 1)
    data = quarantine.sealed(PROVIDER.public, "RUN-1")

    found = corrected_rows(
        quarantine_workbook(data, PROVIDER, items), order(items=items, key_columns=()), sealed=data, identity=PROVIDER
    )

    assert [column.chunk(0) for column in found.rows.columns] == columns


def test_octets_that_are_no_text_are_kept_readable() -> None:
    quarantine = Quarantine([NAMES])
    quarantine.add([pa.array([b"\xffab", b"ok"], pa.binary())], np.ones(2, np.bool_), ["type:姓名"] * 2, 1)

    assert quarantine.table().column("姓名").to_pylist() == ["\\xffab", "ok"]


def test_corrected_rows_are_a_run_of_their_own(tmp_path: Path) -> None:
    source = people(
        tmp_path / "a.db",
        [(1, "张三", None, None), (2, "", None, None), (3, None, None, None), (4, "李四", None, None)],
    )
    target, spool = sqlite_at(tmp_path / "b.db"), Spool(tmp_path / "spool")
    first = order("RUN-1", checks=CHECKS, quarantine_limit=0.6)
    exchange(first, source, target, spool)
    quarantine = spool.outgoing("RUN-1").quarantine()
    assert quarantine is not None
    workbook = quarantine_workbook(quarantine, PROVIDER, PEOPLE)
    book = openpyxl.load_workbook(io.BytesIO(workbook))
    book.worksheets[0].delete_rows(3)  # row 3 is left out
    saved = io.BytesIO()
    book.save(saved)
    second = order("RUN-2", checks=CHECKS, delivery=Delivery.UPSERT, expected_columns=())

    with open_source(source, "") as opened:
        found = corrected_rows(
            edited(saved.getvalue(), D2="王五"), second, sealed=quarantine, identity=PROVIDER, source=opened
        )
        asked, corrected = resubmission(second, found, opened)
        manifest = pipeline.extract(asked, corrected, spool=spool)
    hand_over(spool, "RUN-2", manifest)
    with open_target(target, "") as taken:
        counts = pipeline.deliver(second, manifest, taken, spool=spool, identity=CONSUMER)

    assert (manifest.rows, manifest.rows_quarantined, manifest.run_id) == (1, 0, "RUN-2")
    assert (counts.inserted, counts.deleted) == (1, 0)
    assert [row[:2] for row in rows_of(tmp_path / "b.db", "residents")] == [(1, "张三"), (2, "王五"), (4, "李四")]


def test_rules_of_the_whole_table_do_not_stop_a_few_corrected_rows(tmp_path: Path) -> None:
    quarantine = sealed(["a"])
    rules = (
        CheckRule(check="freshness", item="出生日期", parameters={"days": 1}),
        CheckRule(check="required", item="姓名", severity=Severity.WARN),
    )
    asked = order(items=[IDS, NAMES, PEOPLE[2]], checks=rules)
    data = Quarantine([IDS, NAMES, PEOPLE[2]])
    data.add([pa.array([1]), pa.array([""]), pa.array(["1990-01-01"])], np.ones(1, np.bool_), ["required:姓名"], 1)
    quarantine = data.sealed(PROVIDER.public, "RUN-1")

    found = corrected_rows(
        quarantine_workbook(quarantine, PROVIDER, asked.grant.items), asked, sealed=quarantine, identity=PROVIDER
    )
    changed, source = resubmission(asked, found)

    assert [finding.check for finding in found.findings] == ["required"]
    assert [rule.check for rule in changed.checks] == ["required"]
    with pytest.raises(TableMissing):
        source.schema("another")
