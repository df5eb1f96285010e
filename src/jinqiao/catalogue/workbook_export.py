"""Handing out the catalogue as the form: entries, the empty form, and a workbook with its errors marked."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import xlsxwriter
from django.utils.translation import gettext as _

from jinqiao.audit.trail import subject
from jinqiao.catalogue.enums import FormatClass, ItemType, SharingCategory, SharingMeans, SharingMeansClass, UpdateCycle
from jinqiao.catalogue.fields import SURVEY_FIELDS
from jinqiao.catalogue.formats import FORMAT_TYPES
from jinqiao.catalogue.models import DataItem, EntryVersion, ImportBatch
from jinqiao.catalogue.workbook_file import read_sheets, text_of
from jinqiao.catalogue.workbook_form import (
    CATEGORY_WORDS,
    COLUMNS,
    CYCLE_WORDS,
    FORMAT_WORDS,
    MEANS_CLASS_WORDS,
    MEANS_WORDS,
    OPEN_WORDS,
    SHEET,
    TYPE_WORDS,
    locate,
)
from jinqiao.workflow import actions as desk
from jinqiao.workflow import queries as desk_queries

_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")
_CELL_MOST = 32_767
_MERGED_UP_TO = 20_000
_LISTS_DOWN_TO = 5_000


def neutral(text: str) -> str:
    """Text that no spreadsheet takes for a formula; import takes the apostrophe off again."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA_SIGNS) else text


def export_entries(versions: Iterable[EntryVersion]) -> bytes:
    """Versions as a filled form, a row per data item. Load provider, class and items beforehand."""
    rows = [row for version in versions for row in rows_of(version)]
    return _form(rows)


def template() -> bytes:
    """The empty form with lists to choose from, and a sheet that explains its columns."""
    return _form([], explained=True)


def rows_of(version: EntryVersion) -> Iterator[dict[str, Any]]:
    """One row per item (one row where there is none), cells by field of the form."""
    entry = version.entry
    described: dict[str, Any] = {
        name: getattr(version, name)
        for name in (
            "name",
            "provider_section",
            "abstract",
            "format_type",
            "format_note",
            "open_condition",
            "released_on",
        )
    }
    described |= {name: getattr(version, name) or Decimal(0) for name in SURVEY_FIELDS}
    described |= {
        "code": entry.code or "",
        "provider": entry.provider.name,
        "provider_code": entry.provider.credit_code,
        "format_class": FORMAT_WORDS[FormatClass(version.format_class)] if version.format_class else "",
        "sharing_category": CATEGORY_WORDS[SharingCategory(version.sharing_category)]
        if version.sharing_category
        else "",
        "means_class": MEANS_CLASS_WORDS[SharingMeansClass(version.means_class)] if version.means_class else "",
        "means": MEANS_WORDS[SharingMeans(version.means)] if version.means else "",
        "is_open": OPEN_WORDS[version.is_open],
        "update_cycle": CYCLE_WORDS[UpdateCycle(version.update_cycle)] if version.update_cycle else "",
        "class_name": _class_words(version),
    }
    not_shared = version.sharing_category == SharingCategory.NOT_SHARED
    described["sharing_condition"] = version.refusal_basis if not_shared else version.sharing_condition
    items = list(version.items.all())
    for item in items:
        yield described | _item_cells(item)
    if not items:
        yield described


def annotated(batch: ImportBatch) -> bytes:
    """The workbook of a batch with its wrong cells red and commented, and a sheet that lists the errors.

    Raises workflow's AttachmentLost where the file is gone.
    """
    attachment = desk_queries.attachments(subject(batch)).get()
    with desk.open_attachment(attachment) as file:
        form = locate(read_sheets(file.read()))
    comments: dict[tuple[int, str], list[str]] = {}
    for error in batch.errors:
        comments.setdefault((error["row"] - 1, error["cell"]), []).append(f"{error['message']}{error['mend']}")
    spool, book = _new_book()
    sheet = book.add_worksheet(_sheet_name(form.sheet.name))
    plain = book.add_format({"text_wrap": True, "valign": "top"})
    wrong = book.add_format(
        {"text_wrap": True, "valign": "top", "bg_color": "#F9D9D3", "border": 1, "border_color": "#B3392B"}
    )
    days = book.add_format({"num_format": "yyyy-mm-dd"})
    head = book.add_format({"bold": True, "bg_color": "#EEF1F0", "text_wrap": True})
    by_place = {_place(cell): texts for (_, cell), texts in comments.items() if cell}
    for row, cells in enumerate(form.sheet.rows):
        for place, cell in enumerate(cells):
            texts = by_place.pop((row, place), None)
            style = wrong if texts else head if row < form.first_row else plain
            _write(sheet, row, place, cell, style, days)
            if texts:
                sheet.write_comment(row, place, "\n".join(texts), {"author": "", "x_scale": 2, "y_scale": 1.5})
    for (row, place), texts in by_place.items():
        sheet.write_blank(row, place, None, wrong)
        sheet.write_comment(row, place, "\n".join(texts), {"author": "", "x_scale": 2, "y_scale": 1.5})
    sheet.freeze_panes(form.first_row, 1)
    sheet.set_column(0, max(form.places.values()), 18)
    _list_errors(book, batch)
    book.close()
    return spool.getvalue()


def _list_errors(book: Any, batch: ImportBatch) -> None:
    sheet = book.add_worksheet(_("错误清单"))
    head = book.add_format({"bold": True, "bottom": 2})
    wrap = book.add_format({"text_wrap": True, "valign": "top"})
    for place, (word, width) in enumerate(
        ((_("位置"), 8), (_("行号"), 8), (_("列"), 22), (_("问题"), 40), (_("依据"), 34), (_("怎么改"), 50))
    ):
        sheet.set_column(place, place, width)
        sheet.write_string(0, place, word, head)
    for row, error in enumerate(batch.errors, start=1):
        values = (error["cell"], error["row"], error["column"], error["message"], error["clause"], error["mend"])
        for place, value in enumerate(values):
            if isinstance(value, int):
                sheet.write_number(row, place, value)
            else:
                sheet.write_string(row, place, neutral(value), wrap)
    if batch.error_count > len(batch.errors):
        left = batch.error_count - len(batch.errors)
        sheet.write_string(len(batch.errors) + 1, 3, _("还有%d处没有列出，先改好上面的。") % left)
    sheet.freeze_panes(1, 0)


def _class_words(version: EntryVersion) -> str:
    node = version.entry.node
    words = f"{node.code} {node.name}"
    return f"{words}；关联：{version.related_codes}" if version.related_codes else words


def _item_cells(item: DataItem) -> dict[str, Any]:
    length: Any = item.length if item.length is not None else ""
    if item.scale is not None:
        length = f"{item.length},{item.scale}"
    return {
        "item.name": item.name,
        "item.data_type": TYPE_WORDS[ItemType(item.data_type)] if item.data_type else "",
        "item.length": length,
    }


def _form(rows: Sequence[dict[str, Any]], *, explained: bool = False) -> bytes:
    merged = len(rows) <= _MERGED_UP_TO
    spool, book = _new_book(constant_memory=not merged)
    sheet = book.add_worksheet(SHEET)
    head = book.add_format(
        {"bold": True, "border": 1, "align": "center", "valign": "vcenter", "text_wrap": True, "bg_color": "#EEF1F0"}
    )
    days = book.add_format({"num_format": "yyyy-mm-dd"})
    for place, column in enumerate(COLUMNS):
        sheet.set_column(place, place, column.width)
    _write_heads(sheet, head, merged=merged)
    for number, row in enumerate(rows, start=3):
        for place, column in enumerate(COLUMNS):
            _write(sheet, number, place, row.get(column.field, ""), None, days)
    sheet.freeze_panes(3, 1)
    if explained:
        for place, column in enumerate(COLUMNS):
            if column.values:
                sheet.data_validation(
                    3,
                    place,
                    _LISTS_DOWN_TO,
                    place,
                    {"validate": "list", "source": list(column.values), "error_type": "warning"},
                )
        _explain(book)
    book.close()
    return spool.getvalue()


def _write_heads(sheet: Any, head: Any, *, merged: bool) -> None:
    """Three rows: groups, columns, required or optional. Beyond the size that fits in memory the cells stay unmerged."""
    if not merged:
        for place, column in enumerate(COLUMNS):
            sheet.write_string(0, place, column.group or column.label, head)
        for place, column in enumerate(COLUMNS):
            sheet.write_string(1, place, column.label if column.group else "", head)
    else:
        place = 0
        while place < len(COLUMNS):
            column = COLUMNS[place]
            if not column.group:
                sheet.merge_range(0, place, 1, place, column.label, head)
                place += 1
                continue
            last = place
            while last + 1 < len(COLUMNS) and COLUMNS[last + 1].group == column.group:
                last += 1
            sheet.merge_range(0, place, 0, last, column.group, head)
            for at in range(place, last + 1):
                sheet.write_string(1, at, COLUMNS[at].label, head)
            place = last + 1
    for place, column in enumerate(COLUMNS):
        sheet.write_string(2, place, "必填" if column.required else "选填", head)


def _explain(book: Any) -> None:
    sheet = book.add_worksheet("填写说明")
    head = book.add_format({"bold": True, "bottom": 2})
    wrap = book.add_format({"text_wrap": True, "valign": "top"})
    sheet.set_column(0, 0, 26)
    sheet.set_column(1, 1, 8)
    sheet.set_column(2, 2, 90)
    for place, word in enumerate(("列", "要求", "怎么填")):
        sheet.write_string(0, place, word, head)
    for row, column in enumerate(COLUMNS, start=1):
        sheet.write_string(row, 0, column.label)
        sheet.write_string(row, 1, "必填" if column.required else "选填")
        sheet.write_string(row, 2, _HOW.get(column.field, "") + "、".join(column.values), wrap)
    types = "；".join(f"{FORMAT_WORDS[kind]}：{'、'.join(names) or '任填'}" for kind, names in FORMAT_TYPES.items())
    sheet.write_string(len(COLUMNS) + 2, 0, "信息资源格式类型")
    sheet.write_string(len(COLUMNS) + 2, 2, types, wrap)


_HOW = {
    "name": "写数据本身，不写系统名。同一项目录的各行可以合并，也可以每行都填。",
    "code": "新目录不填，发布时平台编码；修改已有的，照抄它的代码。",
    "provider": "本机构全称。",
    "provider_code": "本机构的统一社会信用代码，18位。",
    "format_type": "与格式分类相配，见下表。",
    "format_note": "格式类型是“其他”或自描述格式时必填。",
    "volume_gb": "只填数字，不带单位，没有或不清楚的填0。",
    "records_10k": "只填数字，不带单位，没有或不清楚的填0。",
    "item.length": "整数；带小数的写成“总长,小数位”，例如16,4；日期等没有长度的不填。",
    "sharing_condition": "有条件共享写使用用途和范围；不予共享写法律、行政法规或国务院决定的名称和条款；无条件共享不填。",
    "released_on": "年-月-日，不晚于今天。",
    "class_name": "分类码或类目名称；有关联资源的，后面写“；关联：代码、代码”。空着的按导入时选的分类。",
}


def _new_book(*, constant_memory: bool = False) -> tuple[io.BytesIO, Any]:
    spool = io.BytesIO()
    options = {
        "constant_memory": constant_memory,
        "in_memory": not constant_memory,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    return spool, xlsxwriter.Workbook(spool, options)


def _write(sheet: Any, row: int, place: int, value: Any, style: Any, days: Any) -> None:
    if value is None or value == "":
        if style is not None:
            sheet.write_blank(row, place, None, style)
    elif isinstance(value, bool):
        sheet.write_string(row, place, OPEN_WORDS[value], style)
    elif isinstance(value, datetime):
        sheet.write_datetime(row, place, datetime.combine(value.date(), time()), days)
    elif isinstance(value, date):
        sheet.write_datetime(row, place, datetime.combine(value, time()), days)
    elif isinstance(value, int | float | Decimal):
        sheet.write_number(row, place, float(value), style)
    else:
        text = text_of(value)
        # what came from a workbook may carry the apostrophe already
        sheet.write_string(row, place, neutral(text)[:_CELL_MOST], style)


def _place(cell: str) -> tuple[int, int]:
    letters = cell.rstrip("0123456789")
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - 64
    return int(cell[len(letters) :]) - 1, column - 1


def _sheet_name(name: str) -> str:
    return "".join("_" if sign in "[]:*?/\\" else sign for sign in name)[:31].strip("'") or SHEET
