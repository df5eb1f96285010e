import csv
from datetime import date
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from stdnum.cn import ric, uscc

from jinqiao.kernel.identifiers import credit_code, organisation_code, resident_id
from jinqiao.kernel.identifiers.credit_code import UnifiedSocialCreditCode
from jinqiao.kernel.identifiers.divisions import DivisionCode
from jinqiao.kernel.identifiers.errors import (
    BirthDateWrong,
    CharacterWrong,
    CheckDigitWrong,
    DivisionUnknown,
    DivisionWithdrawn,
    IdentifierInvalid,
    LengthWrong,
    PartUnknown,
    ProfileUnknown,
    ResourceCodeWrong,
)
from jinqiao.kernel.identifiers.organisation_code import OrganisationCode
from jinqiao.kernel.identifiers.resident_id import ResidentIdentityNumber
from jinqiao.kernel.identifiers.resource_code import CodeProfile

credit_bodies = st.builds(
    lambda department, kind, division, body: department + kind + division + body,
    st.sampled_from(sorted(set(credit_code.DEPARTMENTS))),
    st.sampled_from("1239"),
    st.sampled_from(["620300", "620302", "110101"]),
    st.text(credit_code.ALPHABET, min_size=9, max_size=9),
)
numbers = st.builds(
    lambda born, sequence: f"620302{born:%Y%m%d}{sequence:03d}",
    st.dates(date(1900, 1, 1), date(2025, 12, 31)),
    st.integers(0, 999),
)


@pytest.mark.parametrize(
    "text",
    ["116203001234567883", "11620300000000019Q", "11620300 0000-0001 9q", "１１６２０３００１２３４５６７８８３"],
)
def test_a_credit_code_is_read_as_people_write_it(text: str) -> None:
    code = UnifiedSocialCreditCode.parse(text)
    assert code.department == "机构编制"
    assert code.division == "620300"
    assert OrganisationCode.parse(str(code.organisation_code)) == code.organisation_code


@given(credit_bodies)
def test_credit_codes_agree_with_the_library(body: str) -> None:
    code = UnifiedSocialCreditCode.parse(body + credit_code.check_sign(body))
    assert uscc.calc_check_digit(body) == str(code)[-1]
    assert UnifiedSocialCreditCode.parse(str(code)) == code


@given(credit_bodies, st.integers(0, 17), st.sampled_from(credit_code.ALPHABET))
def test_one_wrong_sign_of_a_credit_code_is_always_found(body: str, at: int, sign: str) -> None:
    value = body + credit_code.check_sign(body)
    assume(value[at] != sign)
    with pytest.raises(IdentifierInvalid):
        UnifiedSocialCreditCode.parse(value[:at] + sign + value[at + 1 :])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", LengthWrong),
        ("11620300123456788", LengthWrong),
        ("11620300123456788O", CharacterWrong),
        ("B16203001234567883", PartUnknown),
        ("1162030A1234567883", PartUnknown),
        ("116203001234567884", CheckDigitWrong),
    ],
)
def test_what_is_wrong_with_a_credit_code_is_said(text: str, error: type[IdentifierInvalid]) -> None:
    with pytest.raises(error):
        UnifiedSocialCreditCode.parse(text)


@pytest.mark.parametrize("text", ["12345678-8", "123456788"])
def test_an_organisation_code_has_its_check_digit(text: str) -> None:
    assert OrganisationCode.parse(text).printed == "12345678-8"
    with pytest.raises(CheckDigitWrong):
        OrganisationCode.parse("123456789")


@given(st.text("0123456789ABCDEFGH", min_size=8, max_size=8))
def test_an_organisation_code_composed_parses(body: str) -> None:
    value = body + organisation_code.check_sign(body)
    assert str(OrganisationCode.parse(value)) == value


@given(numbers)
def test_resident_numbers_agree_with_the_library(body: str) -> None:
    number = ResidentIdentityNumber.parse(body + resident_id.check_sign(body))
    assert str(number)[-1] == ric.calc_check_digit(str(number))
    assert number.birth_date == date(int(body[6:10]), int(body[10:12]), int(body[12:14]))
    assert number.gender == ("1" if int(body[16]) % 2 else "2")
    assert number.division.name == "金川区"


@given(numbers, st.integers(0, 17), st.sampled_from("0123456789"))
def test_one_wrong_sign_of_a_resident_number_is_always_found(body: str, at: int, sign: str) -> None:
    value = body + resident_id.check_sign(body)
    assume(value[at] != sign)
    with pytest.raises(IdentifierInvalid):
        ResidentIdentityNumber.parse(value[:at] + sign + value[at + 1 :])


@pytest.mark.parametrize("birth", ["19000229", "20261332", "29990101", "17991231"])
def test_a_birth_date_that_cannot_be_is_refused(birth: str) -> None:
    body = f"620302{birth}001"
    with pytest.raises(BirthDateWrong):
        ResidentIdentityNumber.parse(body + resident_id.check_sign(body))


def test_a_resident_number_is_never_shown_by_accident() -> None:
    number = ResidentIdentityNumber.parse("110101190001010006")
    assert "1101" not in repr([number])
    with pytest.raises(CheckDigitWrong) as caught:
        ResidentIdentityNumber.parse("110101190001010007")
    assert "1101" not in f"{caught.value} {caught.value.details} {caught.value.text()}"
    with pytest.raises(CharacterWrong):
        ResidentIdentityNumber.parse("11010119000101X006")


def test_every_county_of_2023_is_known(material: Path) -> None:
    # In the yearly list of the statistics bureau stand zones and a city without counties under codes that GB/T 2260 lacks.
    not_of_the_standard = {"421171", "430473", "460321", "460322", "460323", "620201", "632857"}
    with (material / "codes" / "gb2260_areas.csv").open(encoding="utf-8") as file:
        counties = [row["code"] for row in csv.DictReader(file) if not 71 <= int(row["code"][4:]) <= 79]
    assert len(counties) > 2800
    for code in set(counties) - not_of_the_standard:
        assert DivisionCode.parse(code).name


@pytest.mark.parametrize(
    ("code", "name", "parent"),
    [
        ("620300", "金昌市", "620000"),
        ("620302", "金川区", "620300"),
        ("620321", "永昌县", "620300"),
        ("620321100", "永昌县", "620321"),
        ("620321100001", "永昌县", "620321"),
        ("6203", "金昌市", "620000"),
    ],
)
def test_a_division_has_its_name_and_its_parent(code: str, name: str, parent: str) -> None:
    division = DivisionCode.parse(code)
    assert (division.name, str(division.parent)) == (name, parent)
    assert division.resolve() == division


def test_a_province_has_no_parent() -> None:
    assert DivisionCode.parse("62").parent is None
    assert DivisionCode.parse("620000").parent is None


@pytest.mark.parametrize(
    ("old", "new"),
    [("622325", "620321"), ("620824", "620881"), ("622126", "620922"), ("622121", "620902"), ("622725", "620881")],
)
def test_a_withdrawn_division_leads_to_its_successor(old: str, new: str) -> None:
    assert DivisionCode.parse(old).withdrawn_in is not None
    assert str(DivisionCode.parse(old).resolve()) == new


def test_where_no_successor_is_known_the_year_is_said() -> None:
    with pytest.raises(DivisionWithdrawn) as caught:
        DivisionCode.parse("620320").resolve()
    assert caught.value.details["year"] == 1984


@pytest.mark.parametrize(
    ("text", "error"),
    [("62030", LengthWrong), ("62030A", CharacterWrong), ("629999", DivisionUnknown), ("", LengthWrong)],
)
def test_what_is_wrong_with_a_division_is_said(text: str, error: type[IdentifierInvalid]) -> None:
    with pytest.raises(error):
        DivisionCode.parse(text)


@given(st.from_regex(r"\A[123][0-9]{5}[0-9]{1,24}\Z"), st.integers(1, 10**12 - 1))
def test_a_resource_code_composed_parses_into_its_parts(node: str, sequence: int) -> None:
    profile = CodeProfile.load()
    code = profile.parse(profile.compose(node, sequence))
    assert (code.front, code.sequence) == (node, sequence)
    assert [len(level) for level in code.levels[:3]] == [1, 2, 3]
    assert "".join(code.levels) == node


@pytest.mark.parametrize(
    "text",
    [
        "",
        "307011",
        "3070110403",
        "307011/1",
        "4070110403/1",
        "30701A0403/1",
        "3070110403/",
        "3070110403/0",
        "/1",
        "30701104-03/x",
    ],
)
def test_a_resource_code_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ResourceCodeWrong):
        CodeProfile.load().parse(text)


def test_the_real_classification_nodes_make_codes(material: Path) -> None:
    profile = CodeProfile.load()
    with (material / "catalogue" / "national_tree_gansu_307011.csv").open(encoding="utf-8") as file:
        nodes = [row["code"] for row in csv.DictReader(file)]
    assert len(nodes) > 50
    for node in nodes:
        assert "".join(profile.split(node)) == node
        if len(node) > 6:
            assert profile.parse(profile.compose(node, 1)).front == node


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ProfileUnknown):
        CodeProfile.load("../rules/rules-2025")
