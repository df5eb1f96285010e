"""Each check against values that keep and values that break it; GB 11643 and GB 32100 against independent implementations."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import uscc

from jinqiao.dataplane.checks.cross import CROSS_CHECKS
from jinqiao.dataplane.checks.rows import VALUE_CHECKS
from jinqiao.dataplane.connectors.values import arrow_type
from jinqiao.dataplane.errors import CheckParametersWrong
from jinqiao.dataplane.staging.digests import logical_type
from jinqiao.kernel.catalogues import check_catalogue
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Column
from jinqiao.kernel.identifiers import organisation_code


def broken(check: str, values: list[Any], type_: pa.DataType | None = None, /, **parameters: Any) -> list[bool]:
    column = pa.array(values, type_ or pa.string())
    item = GrantedItem(item="值", code="value", column="value", type=logical_type(column.type))
    assert arrow_type(Column(name="value", type=item.type)) == column.type
    judge = VALUE_CHECKS[check](item, parameters)
    # a slice of a longer column: offsets must be respected
    padded = pa.concat_arrays([column[:1], column]).slice(1)
    result: list[bool] = judge(padded).tolist()
    assert result == judge(column).tolist()
    return result


def test_every_check_of_the_catalogue_has_its_function() -> None:
    assert set(check_catalogue()) == {
        *VALUE_CHECKS, *CROSS_CHECKS, "unique", "reference", "freshness", "type", "transform",
    }  # fmt: skip


def test_required_means_more_than_blanks() -> None:
    assert broken("required", ["a", "", " ", "\u3000", None]) == [False, True, True, True, True]
    assert broken("required", [0, None], pa.int64()) == [False, True]


def test_length_counts_characters() -> None:
    assert broken("length", ["𠮷田", "张", "欧阳娜娜", None], min=2, max=3) == [False, True, True, False]


def test_a_pattern_covers_the_whole_value() -> None:
    assert broken("pattern", ["AB12", "AB12x", "xAB12", None], pattern="[A-Z]{2}[0-9]{2}") == [False, True, True, False]
    with pytest.raises(CheckParametersWrong):
        broken("pattern", ["a"], pattern="(")


def test_a_code_list_names_what_is_allowed() -> None:
    assert broken("code_list", ["1", "3", None], values=["1", "2"]) == [False, True, False]
    assert broken("code_list", [1, 3, None], pa.int64(), values=[1, 2]) == [False, True, False]


def test_a_range_includes_its_ends() -> None:
    assert broken("range", [0, 1, 9, 10, None], pa.int64(), min=1, max=9) == [True, False, False, True, False]
    dates = pa.array(["1899-12-31", "1900-01-01"]).cast(pa.date32()).to_pylist()
    assert broken("range", dates, pa.date32(), min="1900-01-01") == [True, False]
    with pytest.raises(CheckParametersWrong):
        broken("range", [1], pa.int64(), min="one")


def id_number(seventeen: str) -> str:
    weights = [pow(2, 17 - at, 11) for at in range(17)]
    total = sum(int(digit) * weight for digit, weight in zip(seventeen, weights, strict=True))
    return seventeen + "10X98765432"[total % 11]


@given(division=st.integers(110000, 659999), born=st.dates(), sequence=st.integers(0, 999))
def test_identity_numbers_with_the_right_check_digit_pass(division: int, born: Any, sequence: int) -> None:
    number = id_number(f"{division}{born.year:04d}{born:%m%d}{sequence:03d}")
    other = number[:-1] + ("1" if number[-1] != "1" else "2")

    assert broken("identity_number", [number, other]) == [born.year < 1800, True]


@pytest.mark.parametrize(
    "seventeen",
    ["62030219900230001", "62030219901301001", "62030219900100001", "62030219000229001", "62030200000101001"],
)
def test_identity_numbers_with_no_such_day_break(seventeen: str) -> None:
    assert broken("identity_number", [id_number(seventeen)]) == [True]


def test_what_is_no_identity_number_breaks() -> None:
    values = ["", "62030219900101001", "６２0302199001010015", "a" * 18, "五" * 6, None]

    assert broken("identity_number", values) == [True, True, True, True, True, False]


@given(st.text("0123456789ABCDEFGHJKLMNPQRTUWXYIOSVZ", min_size=18, max_size=18))
def test_credit_codes_agree_with_another_implementation(code: str) -> None:
    fixed = "91620300" + code[8:17]
    codes = ["91620300" + code[8:]]
    if not set(fixed) & set("IOSVZ"):
        codes.append(fixed + uscc.calc_check_digit(fixed))

    assert broken("credit_code", codes) == [not uscc.is_valid(candidate) for candidate in codes]


def test_credit_codes_of_every_kind_of_body_pass() -> None:
    assert broken("credit_code", ["91110000600037341L", "12100000400006194K", None, "9111000060003734IL"]) == [
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("body", ["12345678", "00000000", "D2143569", "MA0ABCD1"])
def test_organisation_codes_agree_with_the_kernel(body: str) -> None:
    good = body + organisation_code.check_sign(body)
    other = body + ("1" if good[-1] != "1" else "2")

    assert broken("organisation_code", [good, f"{body}-{good[-1]}", other, body, good.lower() + "a", None]) == [
        False, False, True, True, True, False,
    ]  # fmt: skip


def test_code_lists_may_be_columns_of_code_tables() -> None:
    assert broken("code_list", ["01", "57", "HA", None], table="GB/T 3304") == [False, True, True, False]
    assert broken("code_list", ["01", "HA"], table="GB/T 3304", column="alpha") == [True, False]
    assert broken("code_list", ["620302", "622201"], table="GB/T 2260", column="current") == [False, True]


@pytest.mark.parametrize(
    ("check", "type_", "parameters"),
    [
        ("code_list", pa.int64(), {"values": ["x"]}),
        ("code_list", pa.string(), {"table": "GB/T 3304", "column": "no_such"}),
        ("code_list", pa.string(), {"table": "GB/T 3304", "values": ["01"]}),
        ("length", pa.string(), {"min": 3, "max": 2}),
        ("length", pa.string(), {"min": -1}),
        ("range", pa.bool_(), {"min": 0}),
        ("range", pa.date32(), {"max": "2026-02-30"}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(check: str, type_: pa.DataType, parameters: dict[str, Any]) -> None:
    with pytest.raises(CheckParametersWrong):
        broken(check, [None], type_, **parameters)
