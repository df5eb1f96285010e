"""From rows of the form to entries: grouped, read, and what is wrong with them, by row and column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from jinqiao.accounts.models import Organisation
from jinqiao.catalogue import completeness, errors
from jinqiao.catalogue.enums import ItemType, SharingCategory
from jinqiao.catalogue.fields import SURVEY_FIELDS, clean_entry, clean_items, plain_name
from jinqiao.catalogue.formats import known_type
from jinqiao.catalogue.models import ClassificationNode
from jinqiao.catalogue.workbook_file import text_of
from jinqiao.catalogue.workbook_form import (
    BY_FIELD,
    CATEGORY_WORDS,
    CYCLE_WORDS,
    FORMAT_WORDS,
    MEANS_CLASS_WORDS,
    MEANS_WORDS,
    OPEN_WORDS,
    SHOWN_IN,
    TYPE_WORDS,
    Form,
)
from jinqiao.kernel.errors import InvalidInput
from jinqiao.kernel.identifiers.credit_code import UnifiedSocialCreditCode
from jinqiao.kernel.identifiers.errors import IdentifierInvalid, ResourceCodeWrong
from jinqiao.kernel.identifiers.resource_code import CodeProfile

_FORMULA = re.compile(r"'+[=+\-@\t\r\n]")
_DATE = re.compile(r"([0-9]{4})\s*[-/.年]\s*([0-9]{1,2})\s*[-/.月]\s*([0-9]{1,2})\s*日?")
_LENGTH = re.compile(r"([0-9]{1,9})(?:\s*[,，]\s*([0-9]{1,4}))?")


@dataclass(frozen=True, slots=True)
class Line:
    """One row of content: its number from 0 and the raw cells by field."""

    row: int
    cells: Mapping[str, Any]

    def text(self, field: str) -> str:
        """A cell's text; an apostrophe that export put before a formula's sign is taken off."""
        text = text_of(self.cells.get(field, ""))
        return text[1:] if _FORMULA.match(text) else text


@dataclass(slots=True)
class Described:
    """One entry as the form describes it. `findings` say what is wrong, with the row (from 0) each stands in."""

    lines: list[Line]
    fields: dict[str, Any] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    code: str = ""
    node: ClassificationNode | None = None
    findings: list[tuple[int, InvalidInput]] = field(default_factory=list)

    @property
    def first_row(self) -> int:
        return self.lines[0].row

    @property
    def plain_name(self) -> str:
        return plain_name(self.fields.get("name") or "")


class Classes:
    """Classes of the tree by code and by name."""

    def __init__(self, nodes: Iterable[ClassificationNode], default: ClassificationNode | None) -> None:
        self.default = default
        self.by_code: dict[str, ClassificationNode] = {}
        self.by_name: dict[str, list[ClassificationNode]] = {}
        self._by_pk: dict[int, ClassificationNode] = {}
        for node in nodes:
            self.by_code[node.code] = node
            self._by_pk[node.pk] = node
            self.by_name.setdefault(plain_name(node.name), []).append(node)

    def find(self, text: str) -> ClassificationNode:
        """A class by code, by name, or by a path of names. Raises ClassMissing, ClassUnknown, ClassAmbiguous."""
        if not text:
            if self.default is None:
                raise errors.ClassMissing
            return self.default
        code = re.match(r"[0-9]+", text)
        if code is not None:
            if code.group() not in self.by_code:
                raise errors.ClassUnknown
            return self.by_code[code.group()]
        steps = [plain_name(step) for step in re.split(r"[/＞>›\\]|->", text) if plain_name(step)]
        found = (
            [node for node in self.by_name.get(steps[-1], ()) if self._hangs_below(node, steps[:-1])] if steps else []
        )
        if not found:
            raise errors.ClassUnknown
        if len(found) > 1:
            raise errors.ClassAmbiguous(choices="、".join(node.code for node in found[:8]))
        return found[0]

    def _hangs_below(self, node: ClassificationNode, steps: list[str]) -> bool:
        above: list[str] = []
        upper = self._by_pk.get(node.parent_id or 0)
        while upper is not None:
            above.append(plain_name(upper.name))
            upper = self._by_pk.get(upper.parent_id or 0)
        names = iter(above)
        return all(step in names for step in reversed(steps))


def group(form: Form) -> tuple[list[Described], list[tuple[int, InvalidInput]], int]:
    """Entries with their rows, findings about rows that belong to none, and how many rows hold anything."""
    entries: list[Described] = []
    astray: list[tuple[int, InvalidInput]] = []
    read = 0
    key = ("", "", "")
    seen: dict[tuple[str, str, str], int] = {}
    for row in range(form.first_row, len(form.sheet.rows)):
        raw = form.sheet.rows[row]
        line = Line(row, {name: raw[place] if place < len(raw) else "" for name, place in form.places.items()})
        if not any(line.text(name) for name in form.places):
            continue
        read += 1
        name, code, class_name = line.text("name"), line.text("code"), line.text("class_name")
        if not name:
            if entries:
                entries[-1].lines.append(line)
            else:
                astray.append((row, _at("name", errors.RowWithoutEntry())))
            continue
        new = (plain_name(name), code, class_name)
        if entries and new[0] == key[0] and new[1] in ("", key[1]) and new[2] in ("", key[2]):
            entries[-1].lines.append(line)
            continue
        key = new
        entries.append(Described([line]))
        if new in seen:
            entries[-1].findings.append((row, _at("name", errors.EntryTwice(first_row=seen[new] + 1))))
        seen.setdefault(new, row)
    return entries, astray, read


def describe(entry: Described, *, provider: Organisation, classes: Classes, on: date) -> None:
    """Read an entry's rows into fields and items, and find what is wrong."""
    _check_rows_agree(entry)
    first = entry.lines[0]
    _check_provider(entry, provider)
    raw = _entry_fields(entry, first)
    _read_class(entry, first, classes, raw)
    entry.fields, found = clean_entry(raw)
    rows = [line for line in entry.lines if any(line.text(name) for name in BY_FIELD if BY_FIELD[name].of_item)]
    raw_items = [_item(entry, line, position) for position, line in enumerate(rows, start=1)]
    entry.items, item_findings = clean_items(raw_items)
    values = entry.fields
    if values.get("format_class") and values.get("format_type"):
        values["format_type"] = known_type(values["format_class"], values["format_type"]) or values["format_type"]
    found += item_findings
    wrong = {(finding.details.get("field"), finding.details.get("item")) for _, finding in entry.findings}
    wrong |= {(finding.details.get("field"), finding.details.get("item")) for finding in found}
    for finding in completeness.findings(values, entry.items, on=on, graded=False):
        # one fault is named once: a value outside its list is not missing as well
        if (finding.details.get("field"), finding.details.get("item")) not in wrong:
            found.append(finding)
    for finding in found:
        item = finding.details.get("item")
        entry.findings.append((rows[item - 1].row if item else first.row, finding))


def column_of(finding: InvalidInput) -> str:
    """The field of the column in which a finding is shown."""
    name = str(finding.details.get("field", ""))
    name = f"item.{name}" if "item" in finding.details else name
    return SHOWN_IN.get(name, name)


def _at(name: str, finding: InvalidInput) -> InvalidInput:
    column = BY_FIELD[SHOWN_IN.get(name, name)]
    finding.details.setdefault("field", name)
    finding.details.setdefault("label", column.label)
    return finding


def _check_rows_agree(entry: Described) -> None:
    first = entry.lines[0]
    for line in entry.lines[1:]:
        for name, column in BY_FIELD.items():
            if column.of_item or name == "name":
                continue
            text = line.text(name)
            if text and text != first.text(name):
                finding = errors.RowsDiffer(first_row=first.row + 1, label=column.label)
                entry.findings.append((line.row, _at(name, finding)))


def _check_provider(entry: Described, provider: Organisation) -> None:
    first = entry.lines[0]
    name, code = first.text("provider"), first.text("provider_code")
    if not name:
        entry.findings.append((first.row, _at("provider", errors.FieldMissing())))
    elif plain_name(name) not in {plain_name(provider.name), plain_name(provider.short_name)}:
        entry.findings.append((first.row, _at("provider", errors.ProviderNotOwn(provider=provider.name))))
    if not code:
        entry.findings.append((first.row, _at("provider_code", errors.FieldMissing())))
        return
    try:
        same = UnifiedSocialCreditCode.parse(code).value == provider.credit_code
    except IdentifierInvalid:
        same = False
    if not same:
        finding = errors.ProviderCodeDiffers(provider_code=provider.credit_code)
        entry.findings.append((first.row, _at("provider_code", finding)))


def _entry_fields(entry: Described, first: Line) -> dict[str, Any]:
    raw: dict[str, Any] = {
        name: first.text(name)
        for name in ("name", "provider_section", "abstract", "format_type", "format_note", "open_condition")
    }
    raw["format_class"] = _word(entry, first, "format_class", FORMAT_WORDS)
    raw["sharing_category"] = category = _word(entry, first, "sharing_category", CATEGORY_WORDS)
    raw["means_class"] = _word(entry, first, "means_class", MEANS_CLASS_WORDS)
    raw["means"] = _word(entry, first, "means", MEANS_WORDS, {"服务接口": "接口", "库表": "数据库", "介质": "介质交换"})
    raw["update_cycle"] = _word(
        entry, first, "update_cycle", CYCLE_WORDS, {"每季": "每季度", "季度": "每季度", "半年": "每半年"}
    )
    raw["is_open"] = _word(entry, first, "is_open", OPEN_WORDS)
    if not first.text("is_open"):
        entry.findings.append((first.row, _at("is_open", errors.FieldMissing())))
    condition = first.text("sharing_condition")
    not_shared = category == SharingCategory.NOT_SHARED
    raw["refusal_basis"] = condition if not_shared else ""
    raw["sharing_condition"] = "" if not_shared else condition
    released_on = _date(first.cells.get("released_on", ""))
    if released_on is None:
        missing = not first.text("released_on")
        entry.findings.append((first.row, _at("released_on", errors.FieldMissing() if missing else errors.NotADate())))
    raw["released_on"] = released_on
    for name in SURVEY_FIELDS:
        raw[name] = first.text(name)
        if not raw[name]:
            entry.findings.append((first.row, _at(name, errors.FieldMissing())))
    return raw


def _read_class(entry: Described, first: Line, classes: Classes, raw: dict[str, Any]) -> None:
    entry.code = first.text("code")
    texts, codes = [], []
    for piece in re.split(r"[;；\n]", first.text("class_name")):
        related = re.match(r"\s*关联[^:：0-9]*[:：]?", piece)
        if related is not None:
            codes += completeness.related_codes(piece[related.end() :])
        elif piece.strip():
            texts.append(piece.strip())
    raw["related_codes"] = "、".join(codes)
    try:
        entry.node = classes.find(texts[0] if texts else "")
        CodeProfile.load().compose(entry.node.code, 1)
    except ResourceCodeWrong:
        entry.findings.append((first.row, _at("class_name", errors.ClassTooHigh(node=str(entry.node)))))
    except InvalidInput as finding:
        entry.findings.append((first.row, _at("class_name", finding)))


def _word(
    entry: Described, line: Line, name: str, words: Mapping[Any, str], also: Mapping[str, str] | None = None
) -> Any:
    """The value behind a word of a list; what is outside the list is a finding and counts as empty."""
    text = re.sub(r"\s+", "", line.text(name))
    text = (also or {}).get(text, text)
    if not text:
        return ""
    for value, word in words.items():
        if text == word:
            return value
    entry.findings.append((line.row, _at(name, errors.ValueNotInList(choices="、".join(words.values())))))
    return ""


_TYPES: dict[str, ItemType] = {}
for _choice, _words in TYPE_WORDS.items():
    _bare = _words.removesuffix(_choice.value)
    for _spelling in (_words, _bare, _choice.value, f"{_bare}({_choice.value})", f"{_bare}（{_choice.value}）"):
        _TYPES[_spelling.casefold()] = _choice
_TYPES.update({"字符型": ItemType.CHARACTER, "字符型c": ItemType.CHARACTER, "浮动型f": ItemType.FLOAT})


def _item(entry: Described, line: Line, position: int) -> dict[str, Any]:
    word = re.sub(r"\s+", "", line.text("item.data_type")).casefold()
    data_type = _TYPES.get(word)
    if word and data_type is None:
        finding = errors.ValueNotInList(choices="、".join(TYPE_WORDS.values()), field="data_type", item=position)
        finding.details["label"] = BY_FIELD["item.data_type"].label
        entry.findings.append((line.row, finding))
    length = scale = None
    text = line.text("item.length")
    if text:
        found = _LENGTH.fullmatch(text)
        if found is None:
            malformed = errors.ItemLengthMalformed(field="length", item=position, label=BY_FIELD["item.length"].label)
            entry.findings.append((line.row, malformed))
        else:
            length, scale = found.group(1), found.group(2)
            # a length of nought is how forms say that the type has none
            length = None if int(length) == 0 else length
    return {
        "name": line.text("item.name"),
        "data_type": data_type.value if data_type else "",
        "length": length,
        "scale": scale,
    }


def _date(value: Any) -> date | None:
    if isinstance(value, date):  # an instant is a date too
        return date(value.year, value.month, value.day)
    text = text_of(value)
    found = _DATE.fullmatch(text) or re.fullmatch(r"([0-9]{4})([0-9]{2})([0-9]{2})", text)
    if found is None:
        return None
    try:
        return date(*(int(part) for part in found.groups()))
    except ValueError:
        return None
