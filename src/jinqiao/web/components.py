"""What the components of the pages are given: small frozen values, made by views and queries, drawn by the template tags.

The tone of a state (look.md §6) stands here and nowhere else: enums of the packages know no colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from django.db.models import Model
from django.utils.functional import Promise

Text = str | Promise
Tone = Literal["idle", "wait", "run", "good", "warn", "bad", "stop"]
StepState = Literal["done", "now", "todo", "bad"]

TONES: dict[str, Tone] = {
    **dict.fromkeys(("draft", "expected", "untested", "queued", "unused", "unchanged"), "idle"),
    **dict.fromkeys(
        (
            "department_review", "head_signature", "authority_review", "head_approval", "awaiting_reply", "awaiting_papers",
            "reply_approval", "waiting", "awaiting", "asked", "justified",
        ),
        "wait",
    ),
    **dict.fromkeys(("active", "running", "extracting", "delivering", "taken", "in_use"), "run"),
    **dict.fromkeys(("published", "granted", "reconciled", "reachable", "done", "delivered", "approved", "answered", "same", "sent", "explained", "accepted"), "good"),
    **dict.fromkeys(("returned", "expiring", "drifted", "partly", "open"), "warn"),
    **dict.fromkeys(("failed", "refused", "unreachable", "broken", "different", "misuse", "overdue", "rejected"), "bad"),
    **dict.fromkeys(
        (
            "suspended", "paused", "expired", "revoked", "replaced", "superseded", "withdrawn", "retired", "ended", "stopped",
            "cancelled", "used", "lapsed",
        ),
        "stop",
    ),
}  # fmt: skip
"""State values of all packages by tone. The same word has the same tone everywhere."""


def tone_of(value: object) -> Tone:
    """The tone of a state value; a value not listed stands quiet."""
    return TONES.get(str(getattr(value, "value", value)), "idle")


def label_of(instance: Model, name: str) -> Text:
    """The word of a choice field as people read it."""
    display = getattr(instance, f"get_{name}_display", None)
    return display() if callable(display) else str(getattr(instance, name))


@dataclass(frozen=True, slots=True)
class Step:
    """A span of the deck (桥面): stage of a run, step of a form, link of the chain of facts.

    `value` is a figure or word under the name, `note` one line in hint style; with `url` the span is a link.
    """

    label: Text
    state: StepState = "todo"
    value: Text = ""
    note: Text = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is a link to the rows it counts. `trend` "rise" or "fall" colours the note."""

    value: Any
    label: Text
    unit: Text = ""
    note: Text = ""
    url: str = ""
    trend: Literal["", "rise", "fall"] = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A line of a key-value list. `tone` or `code` change how the value is set; `wide` spans both columns."""

    label: Text
    value: Any
    hint: Text = ""
    url: str = ""
    code: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A line of a timeline, newest first. `at` may be a date, an instant or words."""

    what: Text
    at: datetime | date | Text | None = None
    who: Text = ""
    note: Text = ""
    state: Literal["done", "now", "todo"] = "done"


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab is a link; `count` stands behind its name."""

    label: Text
    url: str
    is_current: bool = False
    count: int | None = None


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node of a tree drawn with <details>; `is_open` unfolds it, `count` is what stands below it."""

    label: Text
    url: str = ""
    code: str = ""
    count: int | None = None
    is_current: bool = False
    is_open: bool = False
    children: Sequence["TreeNode"] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Crumb:
    """A step of the way here; the last has no address."""

    label: Text
    url: str = ""
