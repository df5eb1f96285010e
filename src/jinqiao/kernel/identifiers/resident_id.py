"""Resident identity number 公民身份号码 (GB 11643-1999)."""

from dataclasses import dataclass
from datetime import date
from typing import Literal, Self

from jinqiao.kernel import moments
from jinqiao.kernel.identifiers.checking import check_form, compact
from jinqiao.kernel.identifiers.divisions import DivisionCode
from jinqiao.kernel.identifiers.errors import BirthDateWrong, CharacterWrong, CheckDigitWrong

KIND = "公民身份号码"
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_SIGNS = "10X98765432"


def check_sign(first_seventeen: str) -> str:
    return CHECK_SIGNS[sum(int(sign) * weight for sign, weight in zip(first_seventeen, WEIGHTS, strict=True)) % 11]


@dataclass(frozen=True, slots=True, repr=False)
class ResidentIdentityNumber:
    """Eighteen signs: division 6 (of the first registration), birth date 8, sequence 3, check 1. Not shown by `repr`."""

    value: str

    def __repr__(self) -> str:
        return "ResidentIdentityNumber(…)"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises LengthWrong, CharacterWrong, CheckDigitWrong, BirthDateWrong.

        The division is not checked against the table: withdrawn and never listed codes stand in valid numbers.
        """
        value = compact(text)
        check_form(value, KIND, 18, "0123456789X")
        if "X" in value[:17]:
            raise CharacterWrong(kind=KIND, position=value.index("X") + 1)
        if value[17] != check_sign(value[:17]):
            raise CheckDigitWrong(kind=KIND)
        try:
            born = date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
        except ValueError as problem:
            raise BirthDateWrong(kind=KIND) from problem
        if born.year < 1800 or born > moments.today():
            raise BirthDateWrong(kind=KIND)
        return cls(value)

    @property
    def birth_date(self) -> date:
        return date(int(self.value[6:10]), int(self.value[10:12]), int(self.value[12:14]))

    @property
    def gender(self) -> Literal["1", "2"]:
        """GB/T 2261.1: 1 male, 2 female."""
        return "1" if int(self.value[16]) % 2 else "2"

    @property
    def division(self) -> DivisionCode:
        """Where the number was given. Raises DivisionUnknown."""
        return DivisionCode.parse(self.value[:6])

    def __str__(self) -> str:
        return self.value
