"""Errors of both planes: one root, five families, leaves owned by the packages that raise them.

    JinqiaoError
    ├─ InvalidInput   what was handed in cannot be taken as it is      (HTTP 400)
    ├─ NotAllowed     the caller may not do this                       (HTTP 403)
    ├─ NotFound       there is no such thing, or it may not be seen    (HTTP 404)
    ├─ WrongState     the thing is not in a state that allows it       (HTTP 409)
    └─ Unavailable    something needed is down; trying again may help  (HTTP 503)

An error carries a stable `code` and `details` (names, counts, ids: never row values, never secrets). Its words stand in
`kernel/texts/errors/<area>.toml`, in two languages, filled from the details, and are rendered at the edge.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Literal

Language = Literal["zh", "en"]


@dataclass(frozen=True, slots=True)
class ErrorText:
    """What a reader sees: what happened, by which clause (short name, may be empty), what the reader can do."""

    message: str
    clause: str
    mend: str


class _Missing(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


@cache
def error_texts() -> Mapping[str, Mapping[str, str]]:
    """All error texts by code, from `kernel/texts/errors/*.toml`."""
    texts: dict[str, Mapping[str, str]] = {}
    for file in sorted((files("jinqiao.kernel") / "texts" / "errors").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            for code, text in tomllib.loads(file.read_text(encoding="utf-8")).items():
                if code in texts:
                    raise ValueError(f"error code {code} has two texts; the second is in {file.name}")
                texts[code] = text
    return texts


class JinqiaoError(Exception):
    """Root of all errors that the platform itself raises.

    `code` is `area.thing.reason`; clients and tests match on it. `retryable` says whether the same call, unchanged, may
    succeed later. `clause` overrides the clause of the text where a rule set decides which article applies.
    """

    code: ClassVar[str] = "internal.unexpected"
    retryable: ClassVar[bool] = False
    http_status: ClassVar[int] = 500

    def __init__(self, *, clause: str = "", **details: Any) -> None:
        self.clause = clause
        self.details = details
        super().__init__(self.code)

    def text(self, language: Language = "zh") -> ErrorText:
        """The words for a reader, filled from the details."""
        entry = error_texts().get(self.code)
        if entry is None:
            return ErrorText(self.code, self.clause, "")
        values = _Missing(self.details)
        suffix = "" if language == "zh" else "_en"
        return ErrorText(
            entry[f"message{suffix}"].format_map(values),
            self.clause or entry.get(f"clause{suffix}", entry.get("clause", "")),
            entry.get(f"mend{suffix}", "").format_map(values),
        )

    def __str__(self) -> str:
        text = self.text("en")
        return f"{self.code}: {text.message}" if text.message != self.code else self.code


class InvalidInput(JinqiaoError):
    code = "input.not_valid"
    http_status = 400


class NotAllowed(JinqiaoError):
    code = "access.not_allowed"
    http_status = 403


class NotFound(JinqiaoError):
    code = "access.not_found"
    http_status = 404


class WrongState(JinqiaoError):
    code = "state.not_possible"
    http_status = 409


class Unavailable(JinqiaoError):
    code = "service.unavailable"
    retryable = True
    http_status = 503
