"""A quarantine as a workbook for the provider's people, and the same workbook read again after they corrected it.

One row for each row set aside: its number in the run, what it broke, then the values of the items as they would be handed over
if they were right, before masks. Cells that broke a check are coloured. All cells are texts and stay texts when they are edited.

An empty cell is NULL. A text that is empty, or that a spreadsheet could take for a formula, or that is made of apostrophes, has
one apostrophe before it, which reading takes off: both ways are exact. A text that no cell can hold stands as UNSHOWN and keeps
its value while it is left alone.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import python_calamine
import xlsxwriter
from xlsxwriter.utility import xl_rowcol_to_cell

from jinqiao.dataplane.checks.quarantine import REASON, ROW, open_quarantine, run_of
from jinqiao.dataplane.connectors.excel_source import NO_VALUE, cell_text
from jinqiao.dataplane.errors import CorrectionsRefused
from jinqiao.kernel.catalogues import check_catalogue
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.errors import Language

ROWS_MOST = 20_000
UNSHOWN = "（内容过长或无法显示，保持不变请勿修改）"
_CELL_MOST = 32_767
_UNPACKED_MOST = 200 * 2**20
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")
_NOT_IN_XML = re.compile("[\0\ufffe\uffff]")
_ERROR_CELL = re.compile(rb"<(?:\w+:)?c\b(?=[^>]*\st=[\"']e[\"'])[^>]*\sr=[\"']([A-Z]+[0-9]+)[\"']")

WORDS: Mapping[Language, Mapping[str, str]] = {
    "zh": {
        "sheet": "隔离数据",
        "notes": "说明",
        "row": "行号",
        "reasons": "问题",
        "run": "运行编号",
        "rows": "隔离行数",
        "shown": "本表行数",
        "how": "在“隔离数据”中改正着色的单元格后重新提交。不要改动行号和表头；不再提交的行请整行删除。"
        "空单元格表示空值；只有一个撇号表示空文本；以撇号开头的文本，撇号不属于内容。",
    },
    "en": {
        "sheet": "Quarantine",
        "notes": "Notes",
        "row": "Row",
        "reasons": "Problems",
        "run": "Run",
        "rows": "Rows in quarantine",
        "shown": "Rows shown here",
        "how": "Correct the coloured cells of “Quarantine” and hand the workbook in again. Leave row numbers and headings as they "
        "are; delete rows that shall not be handed in. An empty cell is NULL, a single apostrophe an empty text; an apostrophe "
        "before a text does not belong to it.",
    },
}


def quarantine_workbook(
    sealed: bytes, identity: Identity, items: Sequence[GrantedItem], language: Language = "zh"
) -> bytes:
    """The first ROWS_MOST rows of a quarantine file as .xlsx, never on a disk in plain text. Raises ChunkDamaged."""
    kept = open_quarantine(sealed, identity)
    rows = kept.slice(0, ROWS_MOST)
    words = WORDS[language]
    names = [item.item for item in items if item.item in kept.column_names]
    spool = io.BytesIO()
    with xlsxwriter.Workbook(spool, {"in_memory": True}) as book:
        head = book.add_format(
            {"bold": True, "bg_color": "#EEF1F0", "text_wrap": True, "valign": "top", "num_format": "@"}
        )
        plain = book.add_format({"num_format": "@", "valign": "top"})
        wrong = book.add_format(
            {"num_format": "@", "valign": "top", "bg_color": "#F9D9D3", "border": 1, "border_color": "#B3392B"}
        )
        sheet = book.add_worksheet(words["sheet"])
        for place, name in enumerate([words["row"], words["reasons"], *names]):
            sheet.write_string(0, place, cell_of(name), head)
        columns = [rows.column(name).to_pylist() for name in names]
        for at, (number, broken) in enumerate(
            zip(rows.column(ROW).to_pylist(), rows.column(REASON).to_pylist(), strict=True), start=1
        ):
            reasons = reasons_of(broken)
            sheet.write_number(at, 0, number)
            sheet.write_string(at, 1, cell_of(reason_words(reasons, language)), plain)
            marked = {item for _, item in reasons}
            for place, (name, values) in enumerate(zip(names, columns, strict=True), start=2):
                style = wrong if name in marked else plain
                value = values[at - 1]
                if value is None:
                    sheet.write_blank(at, place, None, style)
                else:
                    sheet.write_string(at, place, cell_of(value), style)
        sheet.freeze_panes(1, 2)
        sheet.set_column(1, 1, 40)
        sheet.set_column(2, len(names) + 1, 22)
        notes = book.add_worksheet(words["notes"])
        notes.set_column(0, 1, 30)
        for at, (key, value) in enumerate(
            (("run", run_of(sealed)), ("rows", str(kept.num_rows)), ("shown", str(rows.num_rows)))
        ):
            notes.write_string(at, 0, words[key], head)
            notes.write_string(at, 1, value, plain)
        notes.write_string(4, 0, words["how"])
    return spool.getvalue()


def reasons_of(broken: str) -> list[tuple[str, str]]:
    """Check and item of each part of what the checker wrote."""
    return [(name, item) for name, _, item in (part.partition(":") for part in broken.split(";"))]


def reason_words(reasons: Sequence[tuple[str, str]], language: Language) -> str:
    title = "title" if language == "zh" else "title_en"
    parts = [f"{item}：{check_catalogue().get(name, {}).get(title, name)}" for name, item in reasons]
    return "；".join(parts) if language == "zh" else "; ".join(part.replace("：", ": ") for part in parts)


def cell_of(text: str) -> str:
    """A text as it stands in a cell."""
    bare = text.lstrip("'")
    written = f"'{text}" if not bare or bare.startswith(_FORMULA_SIGNS) else text
    return UNSHOWN if len(written) > _CELL_MOST or _NOT_IN_XML.search(text) else written


def text_of(cell: Any, kept: str | None) -> str | None:
    """What a cell says, NULL for an empty one; `kept` is what the row had there."""
    if cell == "":
        return None
    if not isinstance(cell, str):
        return cell_text(cell)
    if kept is not None and cell == UNSHOWN and cell_of(kept) == UNSHOWN:
        return kept
    if cell.startswith("'"):
        bare = cell.lstrip("'")
        if not bare or bare.startswith(_FORMULA_SIGNS):
            return cell[1:]
    return cell


@dataclass(frozen=True, slots=True)
class CorrectedTexts:
    """Rows of a corrected workbook that are to be handed in.

    `rows` has `_row` and a column of texts for each item; `cells` names, for each row and item, its cell (`C5`).
    """

    rows: pa.Table
    sheet_rows: tuple[int, ...]
    columns: Mapping[str, int]

    def cell(self, row: int, item: str) -> str:
        """Name of the cell of a row of `rows`; of the whole row where the item has no column."""
        at = self.sheet_rows[row]
        return str(xl_rowcol_to_cell(at, self.columns[item])) if item in self.columns else str(at + 1)


def read_corrections(
    workbook: bytes, sealed: bytes, identity: Identity, items: Sequence[GrantedItem]
) -> CorrectedTexts:
    """The corrected rows, each one of this quarantine. Raises CorrectionsRefused naming what is wrong with the workbook."""
    run, kept = run_of(sealed), open_quarantine(sealed, identity)
    cells, errors = _sheets(workbook, run)
    head = [str(cell).strip() for cell in cells[0]]
    named = head[2:]
    columns = {item.item: 2 + named.index(cell_of(item.item)) for item in items if named.count(cell_of(item.item)) == 1}
    absent = [item.item for item in items if item.item not in columns]
    if absent:
        raise CorrectionsRefused(reason=f"表头缺列或重复/columns missing or twice: {'、'.join(absent)}")
    places = {number: at for at, number in enumerate(kept.column(ROW).to_pylist())}
    before = {
        name: kept.column(name).to_pylist() if name in kept.column_names else [None] * kept.num_rows for name in columns
    }
    numbers: dict[int, None] = {}
    sheet_rows: list[int] = []
    texts: dict[str, list[str | None]] = {item.item: [] for item in items}
    problems = [f"{cell} 错误值/error value" for cell in errors]
    for at, row in enumerate(cells[1:], start=1):
        if all(cell == "" for cell in row):
            continue
        number = _number(row[0])
        if number not in places or number in numbers:
            problems.append(f"A{at + 1} 行号/row number")
            continue
        numbers[number] = None
        sheet_rows.append(at)
        for name, place in columns.items():
            text = text_of(row[place], before[name][places[number]])
            if text is not None and NO_VALUE in text and text != before[name][places[number]]:
                problems.append(
                    f"{xl_rowcol_to_cell(at, place)} 数字或日期失真，请按文本填写/number or date not exact, enter as text"
                )
            texts[name].append(text)
    if problems:
        raise refused(problems)
    if not numbers:
        raise CorrectionsRefused(reason="没有数据行/no rows")
    table = {
        ROW: pa.array(list(numbers), pa.int64()),
        **{name: pa.array(values, pa.string()) for name, values in texts.items()},
    }
    return CorrectedTexts(pa.table(table), tuple(sheet_rows), columns)


def refused(problems: Sequence[str], most: int = 20) -> CorrectionsRefused:
    """Cells and what is wrong with each: never what they hold."""
    more = f"；……({len(problems)})" if len(problems) > most else ""
    return CorrectionsRefused(reason="；".join(problems[:most]) + more)


def _number(cell: Any) -> int:
    try:
        return int(cell) if float(cell) == int(cell) else 0
    except (TypeError, ValueError, OverflowError):
        return 0


def _sheets(workbook: bytes, run: str) -> tuple[list[list[Any]], list[str]]:
    """Cells of the sheet with the rows, and its cells that hold errors. Raises CorrectionsRefused."""
    try:
        with zipfile.ZipFile(io.BytesIO(workbook)) as parts:
            # reading every part to its end proves that sizes are what they say
            if sum(part.file_size for part in parts.infolist()) > _UNPACKED_MOST or parts.testzip() is not None:
                raise CorrectionsRefused(reason="文件过大或损坏/too large or damaged")
            errors = [
                cell.decode()
                for part in parts.namelist()
                if part.startswith("xl/worksheets/") and part.endswith(".xml")
                for cell in _ERROR_CELL.findall(parts.read(part))
            ]
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(workbook))
        sheets = [book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names]
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        python_calamine.CalamineError,
        OSError,
        ValueError,
        RuntimeError,
    ):
        raise CorrectionsRefused(reason="不是 Excel 工作簿/not a workbook") from None
    labels = {words["run"] for words in WORDS.values()}
    for sheet in sheets:
        for row in sheet[:10]:
            if len(row) > 1 and row[0] in labels and str(row[1]) != run:
                raise CorrectionsRefused(reason="属于另一次运行/of another run")
    for sheet in sheets:
        if sheet and sheet[0] and sheet[0][0] in {words["row"] for words in WORDS.values()}:
            width = len(sheet[0])
            return [list(row) + [""] * (width - len(row)) for row in sheet], errors
    raise CorrectionsRefused(reason="没有“隔离数据”表/no sheet of rows")
