"""Organisation code 组织机构代码 (GB 11714-1997)."""

from dataclasses import dataclass
from typing import Self

from jinqiao.kernel.identifiers.checking import check_form, compact
from jinqiao.kernel.identifiers.errors import CheckDigitWrong

KIND = "组织机构代码"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


def check_sign(first_eight: str) -> str:
    rest = -sum(ALPHABET.index(sign) * weight for sign, weight in zip(first_eight, WEIGHTS, strict=True)) % 11
    return "X" if rest == 10 else str(rest)


@dataclass(frozen=True, slots=True, order=True)
class OrganisationCode:
    """Nine signs, the last a check sign; printed with a hyphen before it."""

    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises LengthWrong, CharacterWrong, CheckDigitWrong."""
        value = compact(text)
        check_form(value, KIND, 9, ALPHABET)
        if value[8] != check_sign(value[:8]):
            raise CheckDigitWrong(kind=KIND)
        return cls(value)

    @property
    def printed(self) -> str:
        return f"{self.value[:8]}-{self.value[8]}"

    def __str__(self) -> str:
        return self.value
