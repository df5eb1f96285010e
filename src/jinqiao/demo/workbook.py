"""The demo's entries as a department hands them in: the 27-column form, three header rows, one row per data item.

Written here from the form's description, not by the catalogue's own exporter: what is imported is a form that others made.
"""

import tomllib
from collections.abc import Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

import xlsxwriter

from jinqiao.demo.profile import credit_code, profile

TYPES = {"C": "字符串型C", "N": "数值型N", "D": "日期型D", "T": "日期时间型T", "I": "整型I"}
CYCLES = {"realtime": "实时", "daily": "每日", "weekly": "每周", "monthly": "每月", "yearly": "每年"}
CATEGORIES = {"1": "无条件共享", "2": "有条件共享", "3": "不予共享"}

# group (empty: the column stands alone over both rows) and column
COLUMNS: tuple[tuple[str, str], ...] = (
    ("", "信息资源名称"), ("", "信息资源代码"), ("信息资源提供方", "信息资源提供方"), ("信息资源提供方", "提供方内部部门"),
    ("", "资源提供方代码"), ("", "信息资源摘要"), ("信息资源格式", "信息资源格式分类"), ("信息资源格式", "信息资源格式类型"),
    ("信息资源格式", "其他类型资源格式描述"), ("信息资源大普查", "数据存储总量（G）"), ("信息资源大普查", "结构化信息记录总数（万）"),
    ("信息资源大普查", "已共享的数据存储量（G）"), ("信息资源大普查", "已共享结构化记录数（万）"),
    ("信息资源大普查", "已开放的数据存储量（G）"), ("信息资源大普查", "已开放结构化记录数（万）"), ("信息项信息", "信息项名称"),
    ("信息项信息", "数据类型"), ("信息项信息", "数据长度"), ("共享属性", "共享类型"), ("共享属性", "共享条件"),
    ("共享方式", "共享方式分类"), ("共享方式", "共享方式类型"), ("开放属性", "是否向社会开放"), ("开放属性", "开放条件"),
    ("", "更新周期"), ("", "发布日期"), ("", "关联及类目名称"),
)  # fmt: skip


@cache
def entries() -> Sequence[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((files("jinqiao.demo") / "entries.toml").read_text(encoding="utf-8"))[
        "entries"
    ]
    return found


def workbook_of(organisation: str) -> bytes:
    """The workbook that one department hands in, by its key in the profile."""
    body = profile()["organisations"][organisation]
    return workbook([entry for entry in entries() if entry["provider"] == organisation], body)


def workbook(chosen: Sequence[dict[str, Any]], organisation: dict[str, Any]) -> bytes:
    out = BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    sheet = book.add_worksheet("政务信息资源目录")
    head = book.add_format({"bold": True, "align": "center", "valign": "vcenter", "text_wrap": True, "border": 1})
    cell = book.add_format({"border": 1, "valign": "vcenter", "text_wrap": True})
    day = book.add_format({"border": 1, "num_format": "yyyy-mm-dd"})
    sheet.merge_range(0, 0, 0, len(COLUMNS) - 1, "政务信息资源目录编制表", head)
    _headers(sheet, head)
    row = 3
    for entry in chosen:
        last = row + len(entry["items"]) - 1
        common = _common(entry, organisation)
        for column, value in common.items():
            form = day if isinstance(value, date) else cell
            if last > row:
                sheet.merge_range(row, column, last, column, value, form)
            else:
                sheet.write(row, column, value, form)
        for name, _code, kind, length, _flags in entry["items"]:
            sheet.write_string(row, 15, name, cell)
            sheet.write_string(row, 16, TYPES[kind], cell)
            sheet.write_number(row, 17, length, cell)
            row += 1
    sheet.set_column(0, len(COLUMNS) - 1, 16)
    sheet.freeze_panes(3, 1)
    book.close()
    return out.getvalue()


def _headers(sheet: Any, head: Any) -> None:
    column = 0
    while column < len(COLUMNS):
        group = COLUMNS[column][0]
        if not group:
            sheet.merge_range(1, column, 2, column, COLUMNS[column][1], head)
            column += 1
            continue
        width = 1
        while column + width < len(COLUMNS) and COLUMNS[column + width][0] == group:
            width += 1
        sheet.merge_range(1, column, 1, column + width - 1, group, head)
        for at in range(column, column + width):
            sheet.write(2, at, COLUMNS[at][1], head)
        column += width


def _common(entry: dict[str, Any], organisation: dict[str, Any]) -> dict[int, Any]:
    code = credit_code("11" + organisation["region"], organisation["number"])
    values: list[Any] = [
        entry["name"], "", organisation["name"], entry["section"], code, entry["abstract"], "数据库", "SQLite", "",
        0.5, 10, 0, 0, 0, 0, None, None, None, CATEGORIES[entry["category"]], entry["condition"], "共享平台方式",
        "数据库", "否", "", CYCLES[entry["cycle"]], date(2026, 2, 24), "",
    ]  # fmt: skip
    return {column: value for column, value in enumerate(values) if value is not None}
