"""Resource code 政务信息资源代码: its structure is data (`kernel/codes/*.toml`), since localities differ."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinqiao.kernel.identifiers.checking import compact
from jinqiao.kernel.identifiers.errors import ProfileUnknown, ResourceCodeWrong

DEFAULT_PROFILE = "guide-2017"


@dataclass(frozen=True, slots=True)
class ResourceCode:
    """A resource code in its parts. `front` is the classification code, `levels` its segments from 类 on."""

    value: str
    front: str
    levels: tuple[str, ...]
    sequence: int

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class CodeProfile:
    """Structure of the resource code of a region."""

    name: str
    title: str
    levels: tuple[str, ...]
    lengths: tuple[int, ...]
    detail_most: int
    detail_required: bool
    classes: frozenset[str]
    separator: str
    sequence_digits: int
    sequence_most: int

    @staticmethod
    def load(name: str = DEFAULT_PROFILE) -> "CodeProfile":
        """Raises ProfileUnknown."""
        return _load(name)

    def split(self, front: str) -> tuple[str, ...]:
        """Segments of a classification code, of a whole one or of an upper node's. Raises ResourceCodeWrong."""
        front = compact(front)
        if not re.fullmatch(r"[0-9]+", front):
            raise ResourceCodeWrong(part="分类码", profile=self.title)
        if front[: self.lengths[0]] not in self.classes:
            raise ResourceCodeWrong(part=self.levels[0], profile=self.title)
        parts: list[str] = []
        at = 0
        for level, length in zip(self.levels, self.lengths, strict=False):
            part = front[at : at + length]
            if not part:
                return tuple(parts)
            if len(part) != length:
                raise ResourceCodeWrong(part=level, profile=self.title)
            parts.append(part)
            at += length
        detail = front[at:]
        if len(detail) > self.detail_most:
            raise ResourceCodeWrong(part=self.levels[-1], profile=self.title)
        return (*parts, detail) if detail else tuple(parts)

    def compose(self, node_code: str, sequence: int) -> str:
        """The code of the `sequence`-th resource (from 1) under a classification node. Raises ResourceCodeWrong."""
        parts = self.split(node_code)
        self._check_whole(parts)
        number = str(sequence).zfill(self.sequence_digits)
        if sequence < 1 or len(number) > self.sequence_most:
            raise ResourceCodeWrong(part="顺序码", profile=self.title)
        return f"{''.join(parts)}{self.separator}{number}"

    def parse(self, code: str) -> ResourceCode:
        """Split at the last separator. Raises ResourceCodeWrong."""
        value = compact(code)
        front, separator, number = value.rpartition(self.separator)
        if not separator:
            raise ResourceCodeWrong(part="分隔符", profile=self.title)
        parts = self.split(front)
        self._check_whole(parts)
        least = self.sequence_digits
        if not re.fullmatch(r"[0-9]+", number) or not least <= len(number) <= self.sequence_most or int(number) < 1:
            raise ResourceCodeWrong(part="顺序码", profile=self.title)
        return ResourceCode(value, "".join(parts), parts, int(number))

    def _check_whole(self, parts: tuple[str, ...]) -> None:
        wanted = len(self.lengths) + self.detail_required
        if len(parts) < wanted:
            raise ResourceCodeWrong(part=self.levels[len(parts)], profile=self.title)


@cache
def _load(name: str) -> CodeProfile:
    folder = files("jinqiao.kernel") / "codes"
    if name not in {file.name.removesuffix(".toml") for file in folder.iterdir()}:
        raise ProfileUnknown(profile=name)
    data = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
    return CodeProfile(
        **data
        | {"levels": tuple(data["levels"]), "lengths": tuple(data["lengths"]), "classes": frozenset(data["classes"])}
    )
