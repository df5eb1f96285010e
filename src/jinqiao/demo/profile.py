"""The demo city as data (`jinchang.toml`), and the check characters that its made-up codes need."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

_CREDIT_CHARACTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"


@cache
def profile() -> dict[str, Any]:
    return tomllib.loads((files("jinqiao.demo") / "jinchang.toml").read_text(encoding="utf-8"))


def organisation_code(body: str) -> str:
    """Eight characters and their check character (GB 11714)."""
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    rest = 11 - sum(int(character, 36) * weight for character, weight in zip(body, weights, strict=True)) % 11
    return body + {10: "X", 11: "0"}.get(rest, str(rest))


def credit_code(head: str, body: str) -> str:
    """Registration department, kind and division (8 characters) and the organisation's number (8): 18 characters (GB 32100)."""
    seventeen = head + organisation_code(body)
    total = sum(_CREDIT_CHARACTERS.index(character) * pow(3, at, 31) for at, character in enumerate(seventeen))
    return seventeen + _CREDIT_CHARACTERS[-total % 31]
