from datetime import date
from typing import Any

import pytest

from jinqiao.catalogue import completeness
from jinqiao.catalogue.fields import clean_entry, clean_items, plain_name
from tests.catalogue.factories import FIELDS, ITEMS

ON = date(2026, 3, 18)


def found(items: Any = ITEMS, **changes: Any) -> list[str]:
    values, wrong = clean_entry({**FIELDS, **changes})
    cleaned, item_wrong = clean_items(items)
    return [finding.code for finding in [*wrong, *item_wrong, *completeness.findings(values, cleaned, on=ON)]]


def test_a_whole_entry_lacks_nothing() -> None:
    assert found() == []


@pytest.mark.parametrize(
    "field", ["name", "abstract", "format_class", "format_type", "sharing_category", "update_cycle"]
)
def test_every_core_field_is_needed(field: str) -> None:
    assert found(**{field: ""})[0] == "catalogue.field.missing"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"data_level": ""}, "catalogue.field.grading_missing"),
        ({"name": "户籍管理平台"}, "catalogue.name.is_system"),
        ({"released_on": "2026-03-19"}, "catalogue.field.date_in_future"),
        ({"format_class": "1", "format_type": "mp4", "means": "file"}, "catalogue.format.mismatch"),
        ({"format_type": "其他"}, "catalogue.format.note_missing"),
        ({"format_class": "6", "format_type": "DICOM", "means": "file"}, "catalogue.format.note_missing"),
        ({"sharing_condition": ""}, "catalogue.sharing.condition_missing"),
        ({"sharing_category": "3", "refusal_basis": ""}, "catalogue.sharing.basis_missing"),
        (
            {"sharing_category": "3", "refusal_basis": "市场监督管理投诉举报处理办法第五条"},
            "catalogue.sharing.basis_not_law",
        ),
        ({"sharing_category": "3", "refusal_basis": "依法不予共享"}, "catalogue.sharing.basis_not_law"),
        ({"means": ""}, "catalogue.sharing.means_missing"),
        ({"means_class": "other"}, "catalogue.sharing.means_mismatch"),
        ({"means": "file"}, "catalogue.sharing.means_format_mismatch"),
        ({"format_class": "2", "format_type": "xlsx"}, "catalogue.sharing.means_format_mismatch"),
        ({"related_codes": "没有斜杠"}, "catalogue.related.malformed"),
        ({"personal_information": "none"}, "catalogue.items.personal_information_understated"),
        ({"items": []}, "catalogue.items.missing"),
        ({"items": [{"name": "甲", "data_type": "C"}]}, "catalogue.items.length_missing"),
        ({"items": [{"name": "甲", "data_type": "N", "length": 2, "scale": 4}]}, "catalogue.items.scale"),
        ({"abstract": "含\x07控制符"}, "catalogue.field.unusable_character"),
        ({"volume_gb": "-1"}, "catalogue.field.not_a_number"),
        ({"volume_gb": "NaN"}, "catalogue.field.not_a_number"),
        ({"volume_gb": "99999999999999"}, "catalogue.field.not_a_number"),
    ],
)
def test_one_fault_gives_one_finding(changes: dict[str, Any], code: str) -> None:
    codes = found(**changes)
    assert code in codes
    assert len(set(codes)) <= 2


@pytest.mark.parametrize(
    "basis",
    [
        "《中华人民共和国统计法》第二十五条",
        "中华人民共和国统计法第二十五条",
        "个人所得税法",
        "《征信业管理条例》",
        "国务院关于某事项的决定",
    ],
)
def test_a_law_by_name_is_a_basis(basis: str) -> None:
    assert found(sharing_category="3", refusal_basis=basis) == []


def test_what_is_not_shared_needs_no_means_and_is_not_open() -> None:
    basis = "《中华人民共和国统计法》第二十五条"
    assert found(sharing_category="3", refusal_basis=basis, means="", means_class="") == []
    assert found(sharing_category="3", refusal_basis=basis, is_open=True) == ["catalogue.sharing.open_but_not_shared"]


def test_codes_of_items_come_from_their_pinyin_and_do_not_collide() -> None:
    items, wrong = clean_items([{"name": name} for name in ("主体名称", "主体名册", "2026年数", "★", "ID号")])
    assert wrong == []
    assert [item["code"] for item in items] == ["ZTMC", "ZTMC_2", "F2026NS", "ITEM", "IDH"]


def test_names_agree_but_for_spaces_punctuation_and_width() -> None:
    assert plain_name("企业 注册（登记）信息Ａ") == plain_name("企业注册登记信息a")


def test_both_assessments_are_asked_for_where_the_rule_set_does() -> None:
    required = frozenset({"secrecy_risk_assessment", "personal_information_assessment", "head_signature"})
    assert len(completeness.unassessed({}, required)) == 3
    assert completeness.unassessed({}, frozenset()) == []
