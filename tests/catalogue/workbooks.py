"""Filled forms as departments hand them in, written here without the platform's own export."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import xlsxwriter

from jinqiao.accounts.models import Organisation

GROUPS = (
    ("", ["信息资源名称"]),
    ("", ["信息资源代码"]),
    ("信息资源提供方", ["信息资源提供方", "提供方内部部门"]),
    ("", ["资源提供方代码"]),
    ("", ["信息资源摘要"]),
    ("信息资源格式", ["信息资源格式分类", "信息资源格式类型", "其他类型资源格式描述"]),
    (
        "信息资源大普查",
        ["数据存储总量（G）", "结构化信息记录总数（万）", "已共享的数据存储量（G）", "已共享结构化记录数（万）", "已开放的数据存储量（G）", "已开放结构化记录数（万）"],
    ),
    ("信息项信息", ["信息项名称", "数据类型", "数据长度"]),
    ("共享属性", ["共享类型", "共享条件"]),
    ("共享方式", ["共享方式分类", "共享方式类型"]),
    ("开放属性", ["是否向社会开放", "开放条件"]),
    ("", ["更新周期"]),
    ("", ["发布日期"]),
    ("", ["关联及类目名称"]),
)  # fmt: skip
LABELS = [label for _, labels in GROUPS for label in labels]


def material_columns() -> list[tuple[str, str]]:
    """Group and column of the real form."""
    path = Path(os.environ["JINQIAO_MATERIAL"]) / "catalogue" / "real_catalogue_excel_template_columns.csv"
    with path.open(encoding="utf-8-sig") as file:
        return [(row["group"], row["column"]) for row in csv.DictReader(file)]


def row(provider: Organisation, **cells: Any) -> dict[str, Any]:
    """A whole good row; `cells` by label change it."""
    return {
        "信息资源名称": "婚姻登记信息",
        "信息资源提供方": provider.name,
        "资源提供方代码": provider.credit_code,
        "信息资源摘要": "结婚、离婚登记的当前有效信息。",
        "信息资源格式分类": "数据库",
        "信息资源格式类型": "oracle",
        "数据存储总量（G）": 1.25,
        "结构化信息记录总数（万）": 3.5,
        "已共享的数据存储量（G）": 0,
        "已共享结构化记录数（万）": 0,
        "已开放的数据存储量（G）": 0,
        "已开放结构化记录数（万）": 0,
        "信息项名称": "男方姓名",
        "数据类型": "字符串型C",
        "数据长度": 60,
        "共享类型": "有条件共享",
        "共享条件": "用于资格核验，不得转交。",
        "共享方式分类": "共享平台方式",
        "共享方式类型": "接口",
        "是否向社会开放": "否",
        "更新周期": "每日",
        "发布日期": "2026-03-02",
        "关联及类目名称": "3070110403",
        **cells,
    }


def item_row(name: str, data_type: str = "字符串型C", length: Any = 60, **cells: Any) -> dict[str, Any]:
    """A row that continues the entry above, as where the cells of the entry are merged."""
    return {"信息项名称": name, "数据类型": data_type, "数据长度": length, **cells}


def form(
    rows: list[dict[str, Any]], *, labels: list[str] | None = None, title: str = "", margin: str = ""
) -> io.BytesIO:
    """The form with three rows of heads and merged groups; `labels` replaces the columns by a flat head of one row."""
    spool = io.BytesIO()
    book = xlsxwriter.Workbook(spool, {"strings_to_formulas": False, "strings_to_urls": False})
    sheet = book.add_worksheet("政务信息资源目录")
    if margin:
        sheet.set_header(f"&C{margin}")
    top = 0
    if title:
        sheet.write(0, 0, title)
        top = 1
    if labels is not None:
        for place, label in enumerate(labels):
            sheet.write_string(top, place, label)
        top += 1
    else:
        place = 0
        for group, names in GROUPS:
            if not group:
                sheet.merge_range(top, place, top + 1, place, names[0])
            else:
                sheet.merge_range(top, place, top, place + len(names) - 1, group)
                for at, name in enumerate(names):
                    sheet.write(top + 1, place + at, name)
            for at in range(len(names)):
                sheet.write(top + 2, place + at, "必填")
            place += len(names)
        top += 3
    for number, cells in enumerate(rows):
        for place, label in enumerate(labels or LABELS):
            value = cells.get(label, "")
            if value != "":
                sheet.write(top + number, place, value)
    book.close()
    spool.seek(0)
    return spool
