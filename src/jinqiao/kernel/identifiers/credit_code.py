"""Unified social credit code 统一社会信用代码 (GB 32100-2015)."""

from dataclasses import dataclass
from typing import Self

from jinqiao.kernel.identifiers.checking import check_form, compact
from jinqiao.kernel.identifiers.errors import CheckDigitWrong, PartUnknown
from jinqiao.kernel.identifiers.organisation_code import OrganisationCode

KIND = "统一社会信用代码"
ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # without I, O, Z, S, V
DEPARTMENTS = {
    "1": "机构编制",
    "2": "外交",
    "3": "司法行政",
    "4": "文化",
    "5": "民政",
    "6": "旅游",
    "7": "宗教",
    "8": "工会",
    "9": "工商",
    "A": "军委改革和编制",
    "N": "农业",
    "Y": "其他",
}


def check_sign(first_seventeen: str) -> str:
    """The eighteenth sign: weights 3^(i-1) mod 31 (GB/T 17710)."""
    total = sum(ALPHABET.index(sign) * pow(3, at, 31) for at, sign in enumerate(first_seventeen))
    return ALPHABET[-total % 31]


@dataclass(frozen=True, slots=True, order=True)
class UnifiedSocialCreditCode:
    """Eighteen signs: registering department 1, class of body 1, division 6, body 9, check 1."""

    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises LengthWrong, CharacterWrong, PartUnknown, CheckDigitWrong."""
        value = compact(text)
        check_form(value, KIND, 18, ALPHABET)
        if value[0] not in DEPARTMENTS:
            raise PartUnknown(kind=KIND, part="登记管理部门代码")
        if not value[2:8].isdigit():
            raise PartUnknown(kind=KIND, part="登记管理机关行政区划码")
        if value[17] != check_sign(value[:17]):
            raise CheckDigitWrong(kind=KIND)
        return cls(value)

    @property
    def department(self) -> str:
        return DEPARTMENTS[self.value[0]]

    @property
    def body_class(self) -> str:
        """Class of body within the department: with 1, 1 机关, 2 事业单位, 3 群团, 9 其他."""
        return self.value[1]

    @property
    def division(self) -> str:
        return self.value[2:8]

    @property
    def organisation_code(self) -> OrganisationCode:
        """The body's own code. Raises CheckDigitWrong: some bodies carry one whose check digit never fitted."""
        return OrganisationCode.parse(self.value[8:17])

    def __str__(self) -> str:
        return self.value
