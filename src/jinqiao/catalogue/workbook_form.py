"""The form that departments fill in for the catalogue: 27 columns under three rows of heads, one row per data item.

Columns, order and values are those of the form in real use; the groups are its merged heads. Where form and standard differ
the form wins (docs, decision on the catalogue form).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinqiao.catalogue import errors
from jinqiao.catalogue.enums import FormatClass, ItemType, SharingCategory, SharingMeans, SharingMeansClass, UpdateCycle
from jinqiao.catalogue.workbook_file import Sheet, column_letter, text_of

SHEET = "政务信息资源目录"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `field` is what it fills: of an entry, of an item (`item.…`), or of neither (`provider`, `code`, …)."""

    field: str
    group: str
    label: str
    required: bool = True
    values: tuple[str, ...] = ()
    width: int = 14

    @property
    def of_item(self) -> bool:
        return self.field.startswith("item.")


TYPE_WORDS: dict[ItemType, str] = {
    ItemType.CHARACTER: "字符串型C",
    ItemType.NUMERIC: "数值型N",
    ItemType.CURRENCY: "货币型Y",
    ItemType.DATE: "日期型D",
    ItemType.DATETIME: "日期时间型T",
    ItemType.LOGICAL: "逻辑型L",
    ItemType.MEMO: "备注型M",
    ItemType.GENERAL: "通用型G",
    ItemType.DOUBLE: "双精度型B",
    ItemType.INTEGER: "整型I",
    ItemType.FLOAT: "浮点型F",
    ItemType.BLOB: "二进制blob",
    ItemType.TEXT: "长文本text",
}

CATEGORY_WORDS = dict(zip(SharingCategory, ("无条件共享", "有条件共享", "不予共享"), strict=True))
FORMAT_WORDS = dict(
    zip(FormatClass, ("电子文件", "电子表格", "数据库", "图形图像", "流媒体", "自描述格式", "服务接口"), strict=True)
)
MEANS_CLASS_WORDS = {SharingMeansClass.PLATFORM: "共享平台方式", SharingMeansClass.OTHER: "邮件或介质"}
MEANS_WORDS = dict(zip(SharingMeans, ("数据库", "文件", "接口", "邮件", "介质交换"), strict=True))
CYCLE_WORDS = dict(zip(UpdateCycle, ("实时", "每日", "每周", "每月", "每季度", "每半年", "每年", "其他"), strict=True))
OPEN_WORDS = {True: "是", False: "否"}

_FORMAT, _SURVEY, _ITEM = "信息资源格式", "信息资源大普查", "信息项信息"

COLUMNS: tuple[Column, ...] = (
    Column("name", "", "信息资源名称", width=26),
    Column("code", "", "信息资源代码", required=False, width=18),
    Column("provider", "信息资源提供方", "信息资源提供方", width=22),
    Column("provider_section", "信息资源提供方", "提供方内部部门", required=False),
    Column("provider_code", "", "资源提供方代码", width=22),
    Column("abstract", "", "信息资源摘要", width=36),
    Column("format_class", _FORMAT, "信息资源格式分类", values=tuple(FORMAT_WORDS.values())),
    Column("format_type", _FORMAT, "信息资源格式类型"),
    Column("format_note", _FORMAT, "其他类型资源格式描述", required=False),
    Column("volume_gb", _SURVEY, "数据存储总量（G）"),
    Column("records_10k", _SURVEY, "结构化信息记录总数（万）"),
    Column("shared_volume_gb", _SURVEY, "已共享的数据存储量（G）"),
    Column("shared_records_10k", _SURVEY, "已共享结构化记录数（万）"),
    Column("open_volume_gb", _SURVEY, "已开放的数据存储量（G）"),
    Column("open_records_10k", _SURVEY, "已开放结构化记录数（万）"),
    Column("item.name", _ITEM, "信息项名称", width=22),
    Column("item.data_type", _ITEM, "数据类型", values=tuple(TYPE_WORDS.values())),
    Column("item.length", _ITEM, "数据长度", width=10),
    Column("sharing_category", "共享属性", "共享类型", values=tuple(CATEGORY_WORDS.values())),
    Column("sharing_condition", "共享属性", "共享条件", width=30),
    Column("means_class", "共享方式", "共享方式分类", values=tuple(MEANS_CLASS_WORDS.values())),
    Column("means", "共享方式", "共享方式类型", values=tuple(MEANS_WORDS.values())),
    Column("is_open", "开放属性", "是否向社会开放", values=("是", "否")),
    Column("open_condition", "开放属性", "开放条件", required=False, width=20),
    Column("update_cycle", "", "更新周期", values=tuple(CYCLE_WORDS.values()), width=10),
    Column("released_on", "", "发布日期"),
    Column("class_name", "", "关联及类目名称", required=False, width=24),
)

BY_FIELD: dict[str, Column] = {column.field: column for column in COLUMNS}

SHOWN_IN: dict[str, str] = {
    "refusal_basis": "sharing_condition",
    "related_codes": "class_name",
    "node": "class_name",
    "item.scale": "item.length",
    "items": "item.name",
    "item.code": "item.name",
}
"""Fields without a column of their own and the column whose cell is named when they are wrong."""


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text).replace("(", "（").replace(")", "）").strip("*＊")


_BY_LABEL = {_squeezed(column.label): column for column in COLUMNS}
_GROUPS = {_squeezed(column.group) for column in COLUMNS if column.group}
_IGNORED = {"序号"}
_NEEDED = {"必填", "选填", "（必填）", "（选填）"}
_LOOK_ROWS = 20
_RECOGNISED_FROM = 8


@dataclass(frozen=True, slots=True)
class Form:
    """Where the form stands: its sheet, the first row of content (from 0), the place of each field's column (from 0)."""

    sheet: Sheet
    first_row: int
    places: Mapping[str, int]
    heads: Mapping[int, str]
    unknown: tuple[int, ...] = ()

    def cell(self, row: int, field: str) -> str:
        """A1-style name of a field's cell, `row` from 0; empty where the field has no column."""
        place = self.places.get(SHOWN_IN.get(field, field))
        return "" if place is None else f"{column_letter(place)}{row + 1}"


def locate(sheets: Sequence[Sheet]) -> Form:
    """Find the form. Columns that are not of the form stand in `unknown`. Raises FormNotFound, ColumnsMissing."""
    for sheet in sheets:
        for top in range(min(_LOOK_ROWS, len(sheet.rows))):
            if any(_squeezed(text_of(cell)) == "信息资源名称" for cell in sheet.rows[top]):
                form = _read_heads(sheet, top)
                if form is not None:
                    return form
    raise errors.FormNotFound


def _read_heads(sheet: Sheet, top: int) -> Form | None:
    lines = [[_squeezed(text_of(cell)) for cell in row] for row in sheet.rows[top : top + 3]]
    height = 1
    if len(lines) > 1 and sum(word in _BY_LABEL for word in lines[1]) >= 3:
        height = 2
    if len(lines) > height and {word for word in lines[height] if word} & _NEEDED:
        height += 1
    heads = lines[: min(height, 2)]
    width = max(len(line) for line in heads)
    places: dict[str, int] = {}
    unknown: list[int] = []
    words: dict[int, str] = {}
    for place in range(width):
        stack = [line[place] for line in reversed(heads) if place < len(line) and line[place]]
        column = next((_BY_LABEL[word] for word in stack if word in _BY_LABEL), None)
        if stack:
            words[place] = stack[0]
        if column is not None and column.field not in places:
            places[column.field] = place
        elif stack and stack[0] not in _IGNORED | _GROUPS | _NEEDED:
            unknown.append(place)
    if len(places) < _RECOGNISED_FROM:
        return None
    missing = [column.label for column in COLUMNS if column.field not in places and column.field != "class_name"]
    if missing:
        raise errors.ColumnsMissing(columns="、".join(missing))
    return Form(sheet, top + height, places, words, tuple(unknown))
