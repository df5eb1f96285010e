"""Commitments of persons: one person, one text, however the number is written."""

import pytest

from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.subjects import canonical_number, commitment

NUMBER = "11010119000101001X"


@pytest.mark.parametrize(
    "written", [NUMBER, NUMBER.lower(), " 110101 19000101 001X ", "１１０１０１１９０００１０１００１Ｘ"]
)
def test_a_number_is_the_same_however_it_is_written(written: str) -> None:
    assert canonical_number(written) == NUMBER


def test_a_number_of_fifteen_digits_is_the_one_of_eighteen_that_followed() -> None:
    assert canonical_number("110101000101001") == "110101190001010014"


def test_what_is_no_number_stays_itself() -> None:
    assert canonical_number("护照E123") == "护照E123"
    assert canonical_number("") == ""


@pytest.mark.parametrize("name", ["international", "guomi"])
def test_a_commitment_names_its_key_and_differs_by_key_and_by_person(name: str) -> None:
    one, other = suite(name).keyed(b"a" * 32), suite(name).keyed(b"b" * 32)
    made = commitment("k1", one, NUMBER)
    assert made.startswith("k1:")
    assert len(made) == 3 + 64
    assert NUMBER not in made
    assert len({made, commitment("k1", other, NUMBER), commitment("k1", one, "110101190001010028")}) == 3
