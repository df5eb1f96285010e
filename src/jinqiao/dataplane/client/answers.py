"""What a gateway answered. `salt` and `body` prove later that this was the answer: HMAC(salt, body) is the commitment in the
gateway's record of the call."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What all answers have."""

    call_id: str
    salt: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer(Told):
    """Rows by item code. `truncated`: the service's row cap left rows out."""

    items: tuple[str, ...]
    rows: tuple[Row, ...]
    count: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of one key of a batch."""

    rows: tuple[Row, ...]
    count: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class BatchAnswer(Told):
    """`results` in the order of the keys; `count` is how many rows they have together."""

    items: tuple[str, ...]
    results: tuple[Found, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Verification(Told):
    """`result`: yes, partial or no. `agrees` by item code, where the service tells it."""

    result: str
    agrees: Mapping[str, bool] | None


@dataclass(frozen=True, slots=True)
class Page(Told):
    """A page of a list; `next` is the cursor of the following one, None on the last."""

    items: tuple[str, ...]
    rows: tuple[Row, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Counted(Told):
    """`count` is None where it is below the smallest that is told: then it is less than `fewer_than`, and not 0."""

    count: int | None
    fewer_than: int | None
