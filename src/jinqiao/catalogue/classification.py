"""Reading a classification table (code, name, parent_code) from CSV or a workbook, with errors by row and column."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinqiao.catalogue import errors, secrecy
from jinqiao.catalogue.guide_classes import GUIDE_CLASSES
from jinqiao.catalogue.models import ClassificationNode
from jinqiao.catalogue.workbook_file import read_sheets, text_of
from jinqiao.kernel.errors import InvalidInput
from jinqiao.kernel.identifiers.errors import ResourceCodeWrong
from jinqiao.kernel.identifiers.resource_code import CodeProfile

_HEADS = {
    "code": {"code", "代码", "分类码", "类目代码"},
    "name": {"name", "名称", "类目名称"},
    "parent_code": {"parent_code", "parent", "上级代码", "上级分类码", "父代码"},
}
_LABELS = {"code": "代码", "name": "名称", "parent_code": "上级代码"}


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One row of the table; `row` counts from 1 with the head, as spreadsheets do."""

    row: int
    code: str
    name: str
    parent_code: str


def read_table(content: bytes) -> list[NodeRow]:
    """Rows of a CSV (UTF-8 or GB 18030) or a workbook's first sheet. Raises ClassificationFileUnreadable, SecrecyMarked."""
    lines = _of_workbook(content) if content.startswith(b"PK\x03\x04") else _of_csv(content)
    if not lines:
        raise errors.ClassificationFileUnreadable
    heads = [cell.strip().casefold() for cell in lines[0]]
    at = {name: next((i for i, head in enumerate(heads) if head in words), None) for name, words in _HEADS.items()}
    if None in at.values():
        raise errors.ClassificationFileUnreadable
    rows: list[NodeRow] = []
    for number, cells in enumerate(lines[1:], start=2):
        values = {name: cells[i].strip() if i is not None and i < len(cells) else "" for name, i in at.items()}
        if any(values.values()):
            rows.append(NodeRow(number, values["code"], values["name"], values["parent_code"]))
    if not rows:
        raise errors.ClassificationFileUnreadable
    return rows


def marked_row(rows: Sequence[NodeRow]) -> int | None:
    """The first row that marks its content as secret."""
    return next((row.row for row in rows if secrecy.is_marked(row.name)), None)


def table_findings(rows: Sequence[NodeRow], known: Mapping[str, str]) -> list[InvalidInput]:
    """What is wrong with the rows; `known` are the codes and names that the platform holds."""
    profile = CodeProfile.load()
    found: list[InvalidInput] = []
    first_row: dict[str, int] = {}
    for row in rows:
        if not row.code:
            found.append(_finding(errors.NodeCodeMissing, row, "code"))
        elif row.code in first_row:
            found.append(_finding(errors.NodeCodeTwice, row, "code", first_row=first_row[row.code]))
        else:
            first_row[row.code] = row.row
            try:
                if profile.split(row.code) and "".join(profile.split(row.code)) != row.code:
                    found.append(_finding(errors.NodeCodeMalformed, row, "code"))
            except ResourceCodeWrong:
                found.append(_finding(errors.NodeCodeMalformed, row, "code"))
        if not row.name:
            found.append(_finding(errors.NodeNameMissing, row, "name"))
        for column in ("code", "name"):
            field: Any = ClassificationNode._meta.get_field(column)
            limit = field.max_length
            if len(getattr(row, column)) > limit:
                found.append(_finding(errors.NodeTextTooLong, row, column, limit=limit))
    for row in rows:
        if not row.parent_code:
            continue
        if row.parent_code not in first_row and row.parent_code not in known and row.parent_code not in GUIDE_CLASSES:
            found.append(_finding(errors.NodeParentUnknown, row, "parent_code"))
        elif row.code and (not row.code.startswith(row.parent_code) or row.code == row.parent_code):
            found.append(_finding(errors.NodeParentNotPrefix, row, "code"))
    return sorted(found, key=lambda finding: (finding.details["row"], finding.details["column"]))


def _finding(kind: type[InvalidInput], row: NodeRow, column: str, **details: Any) -> InvalidInput:
    return kind(row=row.row, column=_LABELS[column], label=_LABELS[column], field=column, **details)


def _of_csv(content: bytes) -> list[list[str]]:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" in text:
            raise errors.ClassificationFileUnreadable
        try:
            return list(csv.reader(io.StringIO(text, newline="")))
        except csv.Error as problem:
            raise errors.ClassificationFileUnreadable from problem
    raise errors.ClassificationFileUnreadable


def _of_workbook(content: bytes) -> list[list[str]]:
    sheets = read_sheets(content)
    return [[text_of(cell) for cell in line] for line in sheets[0].rows] if sheets else []
