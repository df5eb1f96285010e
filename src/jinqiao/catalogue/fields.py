"""Values of an entry and its items as handed in: brought into the shape in which they are kept.

`clean_entry` and `clean_items` take plain mappings (from a form, a workbook, the API) and give mappings of model values with
the findings about what does not fit. What is missing is not their question: see `completeness`.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import models

from jinqiao.catalogue import errors
from jinqiao.catalogue.models import DataItem, EntryVersion
from jinqiao.kernel.errors import InvalidInput

ENTRY_FIELDS: tuple[str, ...] = (
    "name", "provider_section", "abstract", "format_class", "format_type", "format_note", "sharing_category",
    "sharing_condition", "refusal_basis", "means_class", "means", "is_open", "open_condition", "update_cycle",
    "released_on", "related_codes", "data_class", "data_level", "secrecy_risk_assessed", "secrecy_risk_conclusion",
    "personal_information", "personal_information_assessed", "personal_information_conclusion", "volume_gb",
    "records_10k", "shared_volume_gb", "shared_records_10k", "open_volume_gb", "open_records_10k",
)  # fmt: skip
"""What the provider says about an entry; everything else in a version the platform sets itself."""

ITEM_FIELDS: tuple[str, ...] = (
    "name", "code", "data_type", "length", "scale", "is_key", "is_required", "personal_information", "code_table",
    "description",
)  # fmt: skip

SURVEY_FIELDS: tuple[str, ...] = (
    "volume_gb", "records_10k", "shared_volume_gb", "shared_records_10k", "open_volume_gb", "open_records_10k",
)  # fmt: skip

_ITEM_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def label(field: str, *, of: type[models.Model] = EntryVersion) -> Any:
    """The word for a field, in the reader's language."""
    return of._meta.get_field(field).verbose_name  # type: ignore[union-attr]


def clean_entry(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[InvalidInput]]:
    """Model values of the fields given, and what does not fit. Raises UnknownField."""
    return _clean(EntryVersion, ENTRY_FIELDS, fields, {})


def clean_items(items: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[InvalidInput]]:
    """Model values of data items in order, and what does not fit. Items without a code get one from their name's pinyin."""
    cleaned: list[dict[str, Any]] = []
    findings: list[InvalidInput] = []
    names: set[str] = set()
    given = {str(item.get("code") or "").strip().casefold() for item in items}
    codes: set[str] = set()
    for position, item in enumerate(items, start=1):
        values, found = _clean(DataItem, ITEM_FIELDS, item, {"item": position})
        findings += found
        name, code = values.setdefault("name", ""), values.setdefault("code", "")
        if not name:
            findings.append(_of_item(errors.FieldMissing, "name", position))
        elif name in names:
            findings.append(_of_item(errors.ItemNameTwice, "name", position))
        names.add(name)
        if not code and name:
            code = values["code"] = proposed_code(name, codes | given)
        elif code and not _ITEM_CODE.fullmatch(code):
            findings.append(_of_item(errors.ItemCodeMalformed, "code", position))
        if code and code.casefold() in codes:
            findings.append(_of_item(errors.ItemCodeTwice, "code", position))
        codes.add(code.casefold())
        length, scale = values.get("length"), values.get("scale")
        if scale is not None and (length is None or scale > length):
            findings.append(_of_item(errors.ItemScale, "scale", position))
        cleaned.append(values)
    return cleaned, findings


def proposed_code(name: str, taken: set[str]) -> str:
    """A column name from the pinyin initials of an item's name: 主体名称 → ZTMC, ZTMC_2 where that is taken."""
    from pypinyin import Style, lazy_pinyin  # its dictionaries take a quarter of a second to load

    letters = "".join(
        lazy_pinyin(name, style=Style.FIRST_LETTER, errors=lambda run: re.sub(r"[^A-Za-z0-9_]+", "", run))
    )
    stem = re.sub(r"[^A-Z0-9_]+", "", letters.upper())[:56] or "ITEM"
    if stem[0].isdigit():
        stem = f"F{stem}"
    code, number = stem, 1
    while code.casefold() in taken:
        number += 1
        code = f"{stem}_{number}"
    return code


def plain_name(name: str) -> str:
    """A name without spaces and punctuation, in one form: names that agree in it count as the same (编制指南)."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(sign for sign in folded if unicodedata.category(sign)[0] in "LN")


def _clean(
    model: type[models.Model], known: Sequence[str], given: Mapping[str, Any], place: Mapping[str, Any]
) -> tuple[dict[str, Any], list[InvalidInput]]:
    values: dict[str, Any] = {}
    findings: list[InvalidInput] = []
    for name, value in given.items():
        if name not in known:
            raise errors.UnknownField(field=name)
        field: Any = model._meta.get_field(name)
        try:
            values[name] = _value(field, value)
        except InvalidInput as finding:
            finding.details.update(field=name, label=field.verbose_name, **place)
            findings.append(finding)
    return values, findings


def _value(field: Any, value: Any) -> Any:
    if isinstance(field, models.BooleanField):
        return value in (True, "1", "on", "true", "True")
    if isinstance(field, models.DecimalField):
        return _decimal(value, digits=field.max_digits or 0, places=field.decimal_places or 0)
    if isinstance(field, models.PositiveSmallIntegerField):
        return _whole(value, most=32_767)
    if isinstance(field, models.PositiveIntegerField):
        return _whole(value, most=2_147_483_647)
    if isinstance(field, models.DateField):
        return _date(value)
    return _text(field, "" if value is None else str(value))


def _text(field: Any, text: str) -> str:
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).strip()
    if any(unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t" for sign in text):
        raise errors.UnusableCharacter
    if field.choices and text and text not in dict(field.flatchoices):
        raise errors.ValueNotInList(choices="、".join(str(word) for _, word in field.flatchoices))
    if field.max_length and len(text) > field.max_length:
        raise errors.TooLong(limit=field.max_length, length=len(text))
    return text


def _decimal(value: Any, *, digits: int, places: int) -> Decimal | None:
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value).strip())
        if not number.is_finite() or number < 0 or number >= Decimal(10) ** (digits - places):
            raise errors.NotANumber
        return number.quantize(Decimal(1).scaleb(-places))
    except InvalidOperation:
        raise errors.NotANumber from None


def _whole(value: Any, *, most: int) -> int | None:
    if value is None or value == "":
        return None
    text = str(value).strip()
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > most:
        raise errors.NotANumber
    return int(text)


def _date(value: Any) -> date | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError:
        raise errors.NotADate from None


def _of_item(kind: type[InvalidInput], field: str, position: int) -> InvalidInput:
    return kind(field=field, label=label(field, of=DataItem), item=position)
