"""What an entry lacks before it can go on: the guide's core fields and how they depend on each other, and what 条例 adds.

Pure functions over mappings of model values (see `fields`), so that forms, workbooks and the last check before publication
ask the same questions. Sources: 政务信息资源目录编制指南（试行）; 政务数据共享条例 第十三至十五条.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from jinqiao.catalogue import errors
from jinqiao.catalogue.enums import (
    FormatClass,
    ItemType,
    PersonalInformation,
    SharingCategory,
    SharingMeans,
    SharingMeansClass,
)
from jinqiao.catalogue.fields import label
from jinqiao.catalogue.formats import (
    FORMAT_TYPES,
    MEANS_OF_CLASS,
    OTHER_TYPE,
    PLATFORM_MEANS_OF_FORMAT,
    STRUCTURED,
    WITH_LENGTH,
    known_type,
)
from jinqiao.catalogue.models import DataItem
from jinqiao.kernel.errors import InvalidInput
from jinqiao.kernel.identifiers.errors import ResourceCodeWrong
from jinqiao.kernel.identifiers.resource_code import CodeProfile

CORE_FIELDS = ("name", "abstract", "format_class", "format_type", "sharing_category", "update_cycle")
GRADING_FIELDS = ("data_class", "data_level")

# 「婚姻登记系统」 says where data lie, not what they are
_SYSTEM_NAME = re.compile(r"(?:系统|平台|数据库|软件|APP)$", re.IGNORECASE)
# a law, an administrative regulation or a decision of the State Council by name; a department's own 办法 or 规定 is none
_LAW = re.compile(r"(?<!办)法(?:》|[（(]|第)|条例|国务院|(?<![依违合非执司立办])法$")

Entry = Mapping[str, Any]
Items = Sequence[Mapping[str, Any]]


def findings(entry: Entry, items: Items, *, on: date, graded: bool = True) -> list[InvalidInput]:
    """All that keeps the entry from going to review. `graded` False leaves out what the workbook form has no column for."""
    found = [_of(errors.FieldMissing, field) for field in CORE_FIELDS if not entry.get(field)]
    if graded:
        found += [_of(errors.GradingMissing, field) for field in GRADING_FIELDS if not entry.get(field)]
    if entry.get("name") and _SYSTEM_NAME.search(entry["name"]):
        found.append(_of(errors.NameIsSystem, "name"))
    released_on = entry.get("released_on")
    if released_on is not None and released_on > on:
        found.append(_of(errors.DateInFuture, "released_on"))
    found += _of_format(entry)
    found += _of_sharing(entry)
    found += _of_means(entry)
    found += _of_related(entry)
    found += _of_items(entry, items)
    return found


def unassessed(entry: Entry, required: frozenset[str]) -> list[InvalidInput]:
    """The assessments that a rule set requires before the head signs and that are not there (条例 第十三条)."""
    missing: list[InvalidInput] = []
    for requirement, done, conclusion in (
        ("secrecy_risk_assessment", "secrecy_risk_assessed", "secrecy_risk_conclusion"),
        ("personal_information_assessment", "personal_information_assessed", "personal_information_conclusion"),
    ):
        if requirement in required and not (entry.get(done) and entry.get(conclusion)):
            missing.append(_of(errors.AssessmentsMissing, done))
    if "personal_information_assessment" in required and not entry.get("personal_information"):
        missing.append(_of(errors.FieldMissing, "personal_information"))
    return missing


def _of(kind: type[InvalidInput], field: str, **details: Any) -> InvalidInput:
    return kind(field=field, label=label(field), **details)


def _of_item(kind: type[InvalidInput], field: str, position: int) -> InvalidInput:
    return kind(field=field, label=label(field, of=DataItem), item=position)


def _of_format(entry: Entry) -> list[InvalidInput]:
    format_class, format_type = entry.get("format_class"), entry.get("format_type")
    if not format_class or not format_type:
        return []
    if known_type(format_class, format_type) is None:
        choices = "、".join(FORMAT_TYPES[FormatClass(format_class)])
        word = FormatClass(format_class).label
        return [_of(errors.FormatMismatch, "format_type", format_class=word, choices=choices)]
    if (format_class == FormatClass.SELF_DESCRIBING or format_type == OTHER_TYPE) and not entry.get("format_note"):
        return [_of(errors.FormatNoteMissing, "format_note")]
    return []


def _of_sharing(entry: Entry) -> list[InvalidInput]:
    category = entry.get("sharing_category")
    if category == SharingCategory.CONDITIONAL and not entry.get("sharing_condition"):
        return [_of(errors.ConditionMissing, "sharing_condition")]
    if category != SharingCategory.NOT_SHARED:
        return []
    found: list[InvalidInput] = []
    if not entry.get("refusal_basis"):
        found.append(_of(errors.BasisMissing, "refusal_basis"))
    elif not _LAW.search(entry["refusal_basis"]):
        found.append(_of(errors.BasisNotLaw, "refusal_basis"))
    if entry.get("is_open"):
        found.append(_of(errors.OpenButNotShared, "is_open"))
    return found


def _of_means(entry: Entry) -> list[InvalidInput]:
    means_class, means = entry.get("means_class"), entry.get("means")
    if not means_class or not means:
        if entry.get("sharing_category") == SharingCategory.NOT_SHARED:
            return []
        missing = [field for field in ("means_class", "means") if not entry.get(field)]
        return [_of(errors.MeansMissing, field) for field in missing]
    suiting = MEANS_OF_CLASS[SharingMeansClass(means_class)]
    if means not in suiting:
        return [_of(errors.MeansMismatch, "means", choices=_words(suiting))]
    if means_class == SharingMeansClass.PLATFORM and entry.get("format_class"):
        suiting = PLATFORM_MEANS_OF_FORMAT[FormatClass(entry["format_class"])]
        if means not in suiting:
            return [_of(errors.MeansFormatMismatch, "means", choices=_words(suiting))]
    return []


def _words(means: Sequence[SharingMeans]) -> str:
    return "、".join(str(one.label) for one in means)


def related_codes(text: str) -> list[str]:
    """Codes in a cell or field, separated by commas, semicolons, 、 or spaces."""
    return [code for code in re.split(r"[,，、;；\s]+", text) if code]


def _of_related(entry: Entry) -> list[InvalidInput]:
    profile = CodeProfile.load()
    for code in related_codes(entry.get("related_codes") or ""):
        try:
            profile.parse(code)
        except ResourceCodeWrong:
            return [_of(errors.RelatedCodeMalformed, "related_codes")]
    return []


_WEIGHT = {"": 0, PersonalInformation.NONE: 0, PersonalInformation.ORDINARY: 1, PersonalInformation.SENSITIVE: 2}


def _of_items(entry: Entry, items: Items) -> list[InvalidInput]:
    if not items:
        needed = entry.get("format_class") in STRUCTURED
        return [errors.ItemsMissing(field="items", label=DataItem._meta.verbose_name)] if needed else []
    found: list[InvalidInput] = []
    stated = entry.get("personal_information")
    heaviest = max(_WEIGHT[item.get("personal_information") or ""] for item in items)
    if stated and _WEIGHT[stated] < heaviest:
        found.append(_of(errors.PersonalInformationUnderstated, "personal_information"))
    for position, item in enumerate(items, start=1):
        data_type = item.get("data_type")
        if not data_type:
            found.append(_of_item(errors.FieldMissing, "data_type", position))
        elif ItemType(data_type) in WITH_LENGTH and not item.get("length"):
            found.append(_of_item(errors.ItemLengthMissing, "length", position))
    return found
