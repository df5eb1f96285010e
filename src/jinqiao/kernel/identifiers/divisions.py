"""Administrative division codes 行政区划代码 (GB/T 2260; 9 and 12 digits with township and village).

Names and years come from the table of `python-stdnum`. A withdrawn code resolves to its successor by our own small table,
else by the division of the same name in the same province that took over in that year; else only the year is known.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Self

from jinqiao.kernel.identifiers.checking import compact
from jinqiao.kernel.identifiers.errors import CharacterWrong, DivisionUnknown, DivisionWithdrawn, LengthWrong

KIND = "行政区划代码"
LENGTHS = (2, 4, 6, 9, 12)
_LINE = re.compile(r'^(?:(?P<province>\d\d) province=|  (?P<rest>\d{4}) county=)"(?P<names>[^"]+)"')
_SPAN = re.compile(r"^\[(?P<start>\d*)-(?P<end>\d*)\](?P<name>.+)$")


@dataclass(frozen=True, slots=True)
class _Use:
    name: str
    start: int | None
    end: int | None


@cache
def _table() -> Mapping[str, tuple[_Use, ...]]:
    """Six digits → its uses, the oldest first."""
    table: dict[str, tuple[_Use, ...]] = {}
    province = ""
    for line in (files("stdnum.cn") / "loc.dat").read_text(encoding="utf-8").splitlines():
        found = _LINE.match(line)
        if not found:
            continue
        if found["province"]:
            province = found["province"]
            continue
        uses: list[_Use] = []
        for text in found["names"].split(","):
            span = _SPAN.match(text)
            if span:
                uses.append(_Use(span["name"], int(span["start"] or 0) or None, int(span["end"] or 0) or None))
            else:
                uses.append(_Use(text, None, None))
        table[province + found["rest"]] = tuple(uses)
    for code, name in _own("added").items():
        table.setdefault(code, (_Use(name, None, None),))
    return table


def six_digit_codes() -> frozenset[str]:
    """Every code of six digits that was ever given, in use or withdrawn."""
    return frozenset(_table())


@cache
def _own(part: str) -> Mapping[str, str]:
    """Our small table: `successors` and `added`."""
    text = (files("jinqiao.kernel") / "identifiers" / "divisions.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)[part])


@dataclass(frozen=True, slots=True, order=True)
class DivisionCode:
    """2, 4, 6, 9 or 12 digits. The first six must be in the table, in use or withdrawn."""

    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises LengthWrong, CharacterWrong, DivisionUnknown."""
        value = compact(text)
        if len(value) not in LENGTHS:
            raise LengthWrong(kind=KIND, wanted="2、4、6、9、12", got=len(value))
        for at, sign in enumerate(value, 1):
            if sign not in "0123456789":
                raise CharacterWrong(kind=KIND, position=at)
        code = cls(value)
        if code.six not in _table():
            raise DivisionUnknown(division=value)
        return code

    @property
    def six(self) -> str:
        return self.value[:6].ljust(6, "0")

    @property
    def province(self) -> str:
        return self.six[:2]

    @property
    def name(self) -> str:
        """Name of the province, city or county; of a withdrawn code the last it had."""
        return _table()[self.six][-1].name

    @property
    def withdrawn_in(self) -> int | None:
        """Last year in which the code was in use; None where it still is."""
        return _table()[self.six][-1].end

    @property
    def parent(self) -> "DivisionCode | None":
        """City of a county, province of a city; None for a province."""
        six = self.six
        if len(self.value) > 6 and self.value[6:].strip("0"):
            return DivisionCode(six)
        for up in (six[:4] + "00", six[:2] + "0000"):
            if up != six and up in _table():
                return DivisionCode(up)
        return None

    def resolve(self) -> "DivisionCode":
        """The code in use today: itself, or its successor. Raises DivisionWithdrawn where none is known."""
        year = self.withdrawn_in
        if year is None:
            return self
        known = _own("successors").get(self.six)
        if known:
            return DivisionCode(known).resolve()
        candidates = [
            code
            for code, uses in _table().items()
            if code[:2] == self.province
            and code != self.six
            and uses[-1].name == self.name
            and uses[-1].start is not None
            and year <= uses[-1].start <= year + 1
        ]
        if len(candidates) == 1:
            return DivisionCode(candidates[0]).resolve()
        raise DivisionWithdrawn(division=self.value, year=year)

    def __str__(self) -> str:
        return self.value
