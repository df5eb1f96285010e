"""Workbooks as people make them, and as they find ours: nothing is guessed, what a cell has lost is reported."""

import zipfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
import xlsxwriter

from jinqiao.dataplane.connectors import ReadPlan, open_source, open_target
from jinqiao.dataplane.connectors.excel_target import ExcelTarget
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.errors import (
    ConnectionOptionWrong,
    FileNotReadable,
    TableMissing,
    TargetRefused,
    TargetSchemaMismatch,
    TargetTableFull,
    TargetTableMissing,
)
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import Delivery
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType
from tests.dataplane.connectors.departments import item
from tests.dataplane.exchanges import exchange, order, read_table, rows_of, sqlite_at, write_table

TEXT = LogicalType.TEXT


def excel_at(path: Path, **options: Any) -> Connection:
    return Connection(engine=Engine.EXCEL, database=str(path), options=options)


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> None:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)


def texts(place: Connection, table: str, *names: str) -> list[dict[str, Any]]:
    with open_source(place) as source:
        batches = list(source.read(ReadPlan(table=table, columns=names)))
    return [row for batch in batches for row in batch.to_pylist()]


def test_each_sheet_that_holds_something_is_a_table(tmp_path: Path) -> None:
    workbook(tmp_path / "户籍.xlsx", {"人员": [["姓名"], ["张三"]], "空表": []})
    workbook(tmp_path / "年报.xlsx", {"一月": [["a"], [1]], "二月#补": [["b"], [2]]})
    (tmp_path / "~$户籍.xlsx").write_bytes(b"a lock that Excel leaves")
    (tmp_path / "读我.txt").write_text("no table", encoding="utf-8")
    with open_source(excel_at(tmp_path)) as source:
        assert [table.name for table in source.tables()] == ["年报#一月", "年报#二月#补", "户籍"]
        for missing in ("年报", "户籍#空表", "../户籍", "年报#三月"):
            with pytest.raises(TableMissing):
                source.schema(missing)
    assert texts(excel_at(tmp_path), "年报#二月#补", "b") == [{"b": "2"}]
    assert texts(excel_at(tmp_path), "户籍#人员", "姓名") == [{"姓名": "张三"}]
    assert texts(excel_at(tmp_path / "户籍.xlsx"), "户籍", "姓名") == [{"姓名": "张三"}]


def test_cells_become_text_without_a_guess(tmp_path: Path) -> None:
    values = [
        (12, "12"), (-0.5, "-0.5"), (1e-7, "0.0000001"), ("007", "007"), ("=1+1", "=1+1"),
        (True, "1"), (False, "0"), (date(2026, 1, 31), "2026-01-31"), (datetime(2026, 1, 31, 8, 5), "2026-01-31 08:05:00"),  # noqa: DTZ001
        (999_999_999_999_999, "999999999999999"), (" 两端 ", " 两端 "), ("NULL", "NULL"), ('""', '""'), (None, None),
    ]  # fmt: skip
    book = xlsxwriter.Workbook(str(tmp_path / "t.xlsx"), {"strings_to_formulas": False})
    sheet, day = book.add_worksheet(), book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
    sheet.write_row(0, 0, ["n", "v"])
    for row, (value, _) in enumerate(values, start=1):
        sheet.write_number(row, 0, row)
        if isinstance(value, date):
            sheet.write_datetime(row, 1, value, day)
        else:
            sheet.write(row, 1, value)
    book.close()

    assert [row["v"] for row in texts(excel_at(tmp_path), "t", "n", "v")] == [shown for _, shown in values]


def test_a_computed_number_keeps_its_digits_unless_the_connection_rounds_as_excel_shows(tmp_path: Path) -> None:
    workbook(tmp_path / "made.xlsx", {"a": [["v"], [0.5], [0.25]]})
    with zipfile.ZipFile(tmp_path / "made.xlsx") as made, zipfile.ZipFile(tmp_path / "t.xlsx", "w") as changed:
        for name in made.namelist():  # as Excel itself writes them; libraries write sixteen digits
            text = made.read(name)
            changed.writestr(
                name,
                text.replace(b"0.5</v>", b"0.30000000000000004</v>").replace(b"0.25</v>", b"0.3333333333333333</v>"),
            )

    assert texts(excel_at(tmp_path), "t", "v") == [{"v": "0.30000000000000004"}, {"v": "0.3333333333333333"}]
    assert texts(excel_at(tmp_path, digits=15), "t", "v") == [{"v": "0.3"}, {"v": "0.333333333333333"}]


def test_what_a_cell_cannot_be_trusted_to_hold_goes_to_quarantine(tmp_path: Path) -> None:
    """An identity number typed as a number, an error, a day before the calendars agree: set aside with the row's number."""
    book = xlsxwriter.Workbook(str(tmp_path / "t.xlsx"))
    sheet, day = book.add_worksheet(), book.add_format({"num_format": "yyyy-mm-dd"})
    sheet.write_row(0, 0, ["id", "number", "born"])
    for row in range(1, 6):
        sheet.write_number(row, 0, row)
        sheet.write_string(row, 1, f"62030219000101001{row}")
        sheet.write_datetime(row, 2, date(1900, 3, row), day)
    sheet.write_number(1, 1, 620302190001010015)
    sheet.write_formula(2, 1, "=1/0", None, "#DIV/0!")
    sheet.write_number(3, 2, 60, day)
    book.close()
    items = [item("id", LogicalType.INTEGER), item("number", TEXT), item("born", LogicalType.DATE)]
    asked = order(items=items, source_table="t", target_table="t", quarantine_limit=1.0)

    manifest, _ = exchange(asked, excel_at(tmp_path), sqlite_at(tmp_path / "got.db"), Spool(tmp_path / "spool"))

    found = {(finding.item, finding.rows, finding.sample_rows) for finding in manifest.findings}
    assert found == {("number", 2, (1, 2)), ("born", 1, (3,))}
    assert rows_of(tmp_path / "got.db", "t") == [
        (4, "620302190001010014", "1900-03-04"),
        (5, "620302190001010015", "1900-03-05"),
    ]


def test_a_large_number_is_one_where_the_column_is_declared_a_double(tmp_path: Path) -> None:
    workbook(tmp_path / "t.xlsx", {"a": [["v"], [1e300], [5]]})
    place = excel_at(tmp_path, types={"t": {"v": "double"}})

    with open_source(place) as source:
        (column,) = source.schema("t").columns
        assert column.type is LogicalType.DOUBLE
        assert [row["v"] for row in read_table(source, "t", (column,)).to_pylist()] == [1e300, 5.0]


def test_a_title_above_the_names_is_passed_over_when_the_connection_says_so(tmp_path: Path) -> None:
    workbook(
        tmp_path / "t.xlsx", {"a": [["2026年人口统计表"], [], ["姓名", "人数"], ["张三", 3], [None, None], ["李四", 4]]}
    )

    assert texts(excel_at(tmp_path, header_row=3), "t", "姓名", "人数") == [
        {"姓名": "张三", "人数": "3"},
        {"姓名": "李四", "人数": "4"},
    ]
    with pytest.raises(FileNotReadable) as caught:
        texts(excel_at(tmp_path), "t", "2026年人口统计表")
    assert caught.value.details["state"] == "row 3"


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([["a", "a"], [1, 2]], "header"),
        ([["a", None, "b"], [1, 2, 3]], "header"),
        ([["a"], [1, 2]], "row 2"),
    ],
)
def test_a_sheet_that_is_no_table_is_not_readable(tmp_path: Path, rows: list[list[Any]], state: str) -> None:
    workbook(tmp_path / "t.xlsx", {"a": rows})

    with pytest.raises(FileNotReadable) as caught:
        texts(excel_at(tmp_path), "t", "a")

    assert caught.value.details["state"] == state


def test_merged_cells_among_the_rows_are_refused(tmp_path: Path) -> None:
    book = xlsxwriter.Workbook(str(tmp_path / "t.xlsx"))
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, ["区县", "姓名"])
    sheet.merge_range(1, 0, 2, 0, "永昌县")
    sheet.write_column(1, 1, ["张三", "李四"])
    book.close()

    with pytest.raises(FileNotReadable) as caught:
        texts(excel_at(tmp_path), "t", "姓名")

    assert caught.value.details["state"] == "merged cells"


def test_a_file_that_is_no_workbook_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "b.xls").write_bytes("姓名,年龄\n".encode("gb18030"))
    for name in ("a", "b"):
        with pytest.raises(FileNotReadable):
            texts(excel_at(tmp_path / f"{name}.xlsx" if name == "a" else tmp_path / "b.xls"), name, "a")


@pytest.mark.parametrize(
    "options",
    [{"header_row": 0}, {"header_row": "2"}, {"digits": True}, {"types": {"t": {"v": "money"}}}, {"types": 1}],
)
def test_an_option_that_makes_no_sense_is_named(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConnectionOptionWrong) as caught:
        open_source(excel_at(tmp_path, **options))

    assert caught.value.details["option"] == next(iter(options))


COLUMNS = (
    Column(name="编号", type=LogicalType.INTEGER, nullable=False, primary_key=True),
    Column(name="证号", type=TEXT, length=18),
    Column(name="金额", type=LogicalType.DECIMAL, precision=38, scale=2),
    Column(name="日期", type=LogicalType.DATE),
    Column(name="时间", type=LogicalType.DATETIME),
    Column(name="是否", type=LogicalType.BOOLEAN),
)
ROWS = [
    (1, "620302190001010015", Decimal("12.50"), date(2026, 1, 31), datetime(2026, 1, 31, 8, 5, 9), True),  # noqa: DTZ001
    (2, "=1+1", Decimal("1234567890123456.78"), date(1899, 12, 31), datetime(2026, 1, 1, 0, 0, 0, 1), False),  # noqa: DTZ001
    (2**53 + 1, "", Decimal("0.00"), None, None, None),
    (4, '""', None, date(1900, 2, 28), datetime(1900, 3, 1), None),  # noqa: DTZ001
]  # fmt: skip


def as_rows(rows: list[tuple[Any, ...]]) -> pa.Table:
    schema = arrow_schema(COLUMNS)
    return pa.Table.from_arrays(
        [pa.array(v, f.type) for v, f in zip(zip(*rows, strict=True), schema, strict=True)], schema=schema
    )


def test_people_find_numbers_dates_and_texts_in_the_workbook_that_they_get(tmp_path: Path) -> None:
    with open_target(excel_at(tmp_path)) as target:
        write_table(target, "人口", COLUMNS, ["编号"], as_rows(ROWS))

    sheet = openpyxl.load_workbook(tmp_path / "人口.xlsx")["人口"]
    assert [[cell.value for cell in row] for row in sheet.iter_rows()] == [
        ["编号", "证号", "金额", "日期", "时间", "是否"],
        [1, "620302190001010015", 12.5, datetime(2026, 1, 31), datetime(2026, 1, 31, 8, 5, 9), True],  # noqa: DTZ001
        [2, "=1+1", "1234567890123456.78", "1899-12-31", "2026-01-01 00:00:00.000001", False],
        ["9007199254740993", '""', 0, None, None, None],
        [4, '""""', None, "1900-02-28", datetime(1900, 3, 1), None],  # noqa: DTZ001
    ]
    assert {cell.data_type for cell in sheet["B"]} == {"s"}
    with open_source(excel_at(tmp_path)) as source:
        assert read_table(source, "人口", COLUMNS).to_pylist() == as_rows(ROWS).to_pylist()


def test_a_workbook_with_other_sheets_is_not_replaced(tmp_path: Path) -> None:
    workbook(tmp_path / "t.xlsx", {"a": [["编号"], [1]], "b": [["x"], [2]]})
    before = (tmp_path / "t.xlsx").read_bytes()
    columns = COLUMNS[:1]

    with open_target(excel_at(tmp_path)) as target:
        with pytest.raises(TargetSchemaMismatch):
            write_table(target, "t", columns, ["编号"], pa.table({"编号": [1]}))
        with pytest.raises(TargetTableMissing):
            write_table(target, "../t", columns, ["编号"], pa.table({"编号": [1]}))

    assert (tmp_path / "t.xlsx").read_bytes() == before


def test_more_rows_than_a_sheet_has_are_refused_before_anything_is_staged(tmp_path: Path) -> None:
    columns = COLUMNS[:1]
    with open_target(excel_at(tmp_path)) as target, pytest.raises(TargetTableFull) as caught:
        write_table(target, "t", columns, ["编号"], pa.table({"编号": pa.array(range(1_048_576), pa.int64())}))

    assert caught.value.details["limit"] == 1_048_575
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_there_count_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = COLUMNS[:1]
    with open_target(excel_at(tmp_path)) as target:
        write_table(target, "t", columns, ["编号"], pa.table({"编号": [1, 2]}))
        before = (tmp_path / "t.xlsx").read_bytes()
        monkeypatch.setattr(ExcelTarget, "room", 3)
        with pytest.raises(TargetTableFull):
            write_table(target, "t", columns, [], pa.table({"编号": [3, 4]}), batch_id="t.2", delivery=Delivery.APPEND)

    assert (tmp_path / "t.xlsx").read_bytes() == before


def test_a_row_without_any_value_is_refused(tmp_path: Path) -> None:
    with open_target(excel_at(tmp_path)) as target, pytest.raises(TargetRefused):
        write_table(target, "t", COLUMNS[1:2], [], pa.table({"证号": pa.array([None], pa.string())}))


def test_what_is_written_aside_stays_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait in a file while a workbook is made: never in a folder that other accounts read."""
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    monkeypatch.setattr("tempfile.tempdir", None)
    folder = tmp_path / "files"
    folder.mkdir()
    with open_target(excel_at(folder)) as target:
        write_table(target, "t", COLUMNS, ["编号"], as_rows(ROWS))

    assert list(elsewhere.iterdir()) == []
    assert [path.name for path in folder.iterdir() if path.suffix == ".xlsx"] == ["t.xlsx"]
    assert zipfile.is_zipfile(folder / "t.xlsx")
