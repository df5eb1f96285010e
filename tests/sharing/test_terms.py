"""Items, row conditions and masks against the entry's version."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.catalogue.models import DataItem
from jinqiao.sharing import terms
from jinqiao.sharing.errors import (
    ItemsMissing,
    ItemsUnknown,
    MaskNotFitting,
    MaskUnknown,
    RowFilterItemUnknown,
    RowFilterMalformed,
    RowFilterOperatorNotFitting,
    RowFilterValueNotFitting,
)
from tests.sharing.factories import ITEMS

KNOWN = {
    code: DataItem(
        position=position,
        code=code,
        name=name,
        data_type=data_type,
        length=length,
        scale=scale,
        personal_information=pi,
    )
    for position, (code, name, data_type, length, scale, pi) in enumerate(ITEMS, start=1)
}


def condition(item, operator, *values):
    return {"item": item, "operator": operator, "values": list(values)}


def test_chosen_items_come_once_each_in_the_order_of_the_version():
    assert terms.chosen_items(["qh", "xm", "qh"], KNOWN) == ["xm", "qh"]


def test_an_item_that_the_version_does_not_have_is_refused_by_name():
    with pytest.raises(ItemsUnknown) as caught:
        terms.chosen_items(["xm", "geheim"], KNOWN)
    assert caught.value.details == {"items": "geheim"}


@pytest.mark.parametrize("codes", ["xm", [1], ["xm", None]])
def test_items_are_a_list_of_codes(codes):
    with pytest.raises(ItemsUnknown):
        terms.chosen_items(codes, KNOWN)


def test_no_items_is_no_choice():
    with pytest.raises(ItemsMissing):
        terms.chosen_items([], KNOWN)


@pytest.mark.parametrize(
    ("given_condition", "canonical"),
    [
        (condition("djrq", "ge", " 2020-01-01 "), ["2020-01-01"]),
        (condition("je", "le", "1200.50"), ["1200.5"]),
        (condition("je", "eq", "1E3"), ["1000"]),
        (condition("je", "eq", "100"), ["100"]),
        (condition("yx", "eq", "是"), ["1"]),
        (condition("qh", "in", "620302", "620321", "620302"), ["620302", "620321"]),
        (condition("xm", "prefix", "张"), ["张"]),
    ],
)
def test_values_of_conditions_are_kept_in_canonical_form(given_condition, canonical):
    [checked] = terms.checked_row_filter([given_condition], KNOWN)
    assert checked["values"] == canonical


@pytest.mark.parametrize(
    ("given_condition", "error"),
    [
        (condition("geheim", "eq", "1"), RowFilterItemUnknown),
        (condition("qh", "like", "6203"), RowFilterOperatorNotFitting),
        (condition("djrq", "prefix", "2020"), RowFilterOperatorNotFitting),
        (condition("yx", "ge", "1"), RowFilterOperatorNotFitting),
        (condition("djrq", "eq", "2020年1月1日"), RowFilterValueNotFitting),
        (condition("je", "ge", "很多"), RowFilterValueNotFitting),
        (condition("je", "ge", "NaN"), RowFilterValueNotFitting),
        (condition("je", "ge", "1E400"), RowFilterValueNotFitting),
        (condition("yx", "eq", "2"), RowFilterValueNotFitting),
        (condition("qh", "eq", "620302", "620321"), RowFilterValueNotFitting),
        (condition("qh", "eq"), RowFilterValueNotFitting),
        (condition("qh", "eq", ""), RowFilterValueNotFitting),
        (condition("qh", "eq", "a\x00b"), RowFilterValueNotFitting),
        ({"item": "qh", "operator": "eq"}, RowFilterMalformed),
        ({"item": "qh", "operator": "eq", "values": "620302"}, RowFilterMalformed),
        ({"item": "qh", "operator": "eq", "values": [620302]}, RowFilterMalformed),
        ("qh = '620302'", RowFilterMalformed),
    ],
)
def test_a_condition_that_does_not_fit_is_refused(given_condition, error):
    with pytest.raises(error):
        terms.checked_row_filter([given_condition], KNOWN)


def test_the_error_of_a_condition_names_the_item_and_never_the_value():
    with pytest.raises(RowFilterValueNotFitting) as caught:
        terms.checked_row_filter([condition("djrq", "eq", "620302199001010015")], KNOWN)
    assert "620302199001010015" not in str(caught.value.details) + caught.value.text().message


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=4))
def test_a_number_stays_the_same_number_and_is_written_only_one_way(number):
    [once] = terms.checked_row_filter([condition("je", "eq", str(number))], KNOWN)
    [twice] = terms.checked_row_filter([once], KNOWN)
    assert Decimal(once["values"][0]) == number
    assert twice == once


def test_the_providers_conditions_narrow_and_never_drop_those_asked_for():
    asked = terms.checked_row_filter([condition("qh", "eq", "620302")], KNOWN)
    added = terms.checked_row_filter([condition("djrq", "ge", "2020-01-01"), condition("qh", "eq", "620302")], KNOWN)
    assert terms.joined_row_filters(asked, added) == [asked[0], added[0]]


def test_masks_are_of_granted_text_items_only():
    assert terms.checked_masks({"sfzh": "identity_number"}, ["xm", "sfzh"], KNOWN) == {
        "xm": "none",
        "sfzh": "identity_number",
    }
    with pytest.raises(ItemsUnknown):
        terms.checked_masks({"qh": "hidden"}, ["xm"], KNOWN)
    with pytest.raises(MaskUnknown):
        terms.checked_masks({"xm": "blur"}, ["xm"], KNOWN)
    with pytest.raises(MaskNotFitting):
        terms.checked_masks({"djrq": "hidden"}, ["djrq"], KNOWN)


def test_sensitive_items_of_a_query_are_masked_unless_said_otherwise_and_a_batch_is_not():
    codes = list(KNOWN)
    assert terms.default_masks("interface", codes, KNOWN) == {"sfzh": "identity_number"}
    assert terms.default_masks("batch", codes, KNOWN) == {}


@pytest.mark.parametrize(
    ("name", "personal", "mask"),
    [
        ("申请人姓名", "ordinary", "name"),
        ("联系电话", "ordinary", "phone"),
        ("户籍地址", "ordinary", "none"),
        ("诊断结论", "sensitive", "hidden"),
        ("区划代码", "none", "none"),
    ],
)
def test_a_mask_is_suggested_from_what_the_item_is(name, personal, mask):
    assert terms.suggested_mask(DataItem(name=name, data_type="C", personal_information=personal)) == mask
