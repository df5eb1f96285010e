"""The tamper-evident trail: append and verify.

Each event carries the digest of its own fields and of the event before it, so that changing, dropping, inserting or moving
one shows. What a chain alone cannot show, a cut tail, shows against the sealed head (`audit.anchor`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, models, transaction
from django.utils.translation import gettext_lazy as _

from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.crypto.suites import SUITE_NAMES, suite

client_address: ContextVar[str] = ContextVar("client_address", default="")

ORIGIN = "0" * 64
"""What the first event names as the digest before it."""

_LENGTHS = {field.name: field.max_length for field in AuditEvent._meta.fields if isinstance(field, models.CharField)}
_TAIL_LOCK = 0x4A51_0001
_REORDER_WINDOW = 10_000
_FIELDS = (
    "number", "at", "action", "outcome", "actor_id", "actor_name", "actor_role", "organisation_id", "organisation_name",
    "about_type", "about_id", "about_label", "address", "details", "suite",
)  # fmt: skip


class Fault(models.TextChoices):
    """Why a trail does not hold."""

    CHANGED = "changed", _("内容被改动")
    MISSING = "missing", _("缺少事件")
    REORDERED = "reordered", _("次序被调换")
    REPLACED = "replaced", _("与前一条不衔接，前面的事件被替换")
    CUT = "cut", _("末尾被截断")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, as values: an event outlives the account. `address` is filled from the request where it is empty."""

    id: str
    name: str
    role: str
    organisation_id: str
    organisation_name: str
    address: str = ""


SYSTEM = Actor("", "平台", "system", "", "")
"""The platform itself: expiries, reminders, work of the worker."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What it was done to: `type` is `app_label.model`, `id` the primary key as text."""

    type: str
    id: str
    label: str


def subject(instance: models.Model, label: str | None = None) -> Subject:
    """Name a model instance as values."""
    return Subject(instance._meta.label_lower, str(instance.pk), str(instance) if label is None else label)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found: events read, the number of the first broken one, and why."""

    ok: bool
    events: int
    first_broken: int | None = None
    reason: Fault | None = None


def record(
    action: str, *, by: Actor, about: Subject | None = None, outcome: Outcome = Outcome.DONE, **details: Any
) -> AuditEvent:
    """Append one event in the transaction of what was done; it stands or falls with it.

    `action` is `area.thing.verb`. `details` holds names, counts, ids: never row values, personal values or secrets; numbers
    other than whole ones are kept as text. The tail is locked until the transaction ends, so numbers have no gaps.
    """
    with transaction.atomic():
        _lock_tail()
        tail = AuditEvent.objects.order_by("-number").values_list("number", "digest").first() or (0, ORIGIN)
        event = AuditEvent(
            number=tail[0] + 1,
            at=moments.now(),
            action=_fit(action, "action"),
            outcome=outcome,
            actor_id=_fit(by.id, "actor_id"),
            actor_name=_fit(by.name, "actor_name"),
            actor_role=_fit(by.role, "actor_role"),
            organisation_id=_fit(by.organisation_id, "organisation_id"),
            organisation_name=_fit(by.organisation_name, "organisation_name"),
            about_type=_fit(about.type, "about_type") if about else "",
            about_id=_fit(about.id, "about_id") if about else "",
            about_label=_fit(about.label, "about_label") if about else "",
            address=_fit(by.address or client_address.get(), "address"),
            details=_plain(details),
            suite=settings.CRYPTO_SUITE,
            previous=tail[1],
        )
        event.digest = digest_of({name: getattr(event, name) for name in _FIELDS}, event.previous)
        event.save(force_insert=True)
    return event


def digest_of(fields: Mapping[str, Any], previous: str) -> str:
    """Hex digest of an event: H(canonical JSON of its fields ‖ digest of the one before), by the suite it names."""
    values = {name: fields[name] for name in _FIELDS}
    values["at"] = values["at"].astimezone(UTC).isoformat(timespec="microseconds")
    values["outcome"] = str(values["outcome"])
    return suite(values["suite"]).digest(canonical_json(values) + previous.encode("ascii")).hex()


def verify(*, head: tuple[int, str] | None = None) -> Verdict:
    """Read the whole trail in order and name the first event that does not hold.

    Streams, in constant memory. `head` is a number and digest known from elsewhere (the sealed head): the trail must
    contain it.
    """
    expected, previous, count = 1, ORIGIN, 0
    for row in _stream():
        count += 1
        if row["number"] != expected:
            return Verdict(False, count, expected, Fault.MISSING)
        fault = _fault(row, previous)
        if fault is None and head is not None and row["number"] == head[0] and row["digest"] != head[1]:
            fault = Fault.REPLACED
        if fault is not None:
            return Verdict(False, count, row["number"], fault)
        expected, previous = row["number"] + 1, row["digest"]
    if head is not None and head[0] >= expected:
        return Verdict(False, count, expected, Fault.CUT)
    return Verdict(True, count)


def verify_event(event: AuditEvent) -> Fault | None:
    """Check one event against its own fields and its predecessor."""
    before = AuditEvent.objects.filter(number=event.number - 1).values_list("digest", flat=True).first()
    if before is None and event.number > 1:
        return Fault.MISSING
    row = {name: getattr(event, name) for name in (*_FIELDS, "previous", "digest")}
    return _fault(row, before or ORIGIN)


def _fault(row: Mapping[str, Any], previous: str) -> Fault | None:
    if not _known(row["suite"]) or digest_of(row, row["previous"]) != row["digest"]:
        return Fault.REORDERED if _stood_elsewhere(row) else Fault.CHANGED
    return Fault.REPLACED if row["previous"] != previous else None


def _known(name: str) -> bool:
    return name in SUITE_NAMES


def _stood_elsewhere(row: Mapping[str, Any]) -> bool:
    """Whether the event is whole but bore another number when it was written; looked for near its present place."""
    if not _known(row["suite"]):
        return False
    here = row["number"]
    return any(
        digest_of({**row, "number": number}, row["previous"]) == row["digest"]
        for number in range(max(1, here - _REORDER_WINDOW), here + _REORDER_WINDOW)
    )


def _stream() -> Iterator[dict[str, Any]]:
    rows = AuditEvent.objects.order_by("number").values(*_FIELDS, "previous", "digest")
    yield from rows.iterator(chunk_size=2000)


def _lock_tail() -> None:
    """Queue writers: SQLite's transactions are IMMEDIATE and queue by themselves; PostgreSQL takes an advisory lock."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_TAIL_LOCK])


def _fit(text: Any, field: str) -> str:
    """Text as both databases keep it: without NUL, no longer than the column."""
    return _plain_text(str(text))[: _LENGTHS[field]]


def _plain(value: Any) -> Any:
    """A value that comes back from both databases' JSON exactly as it went in."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal | float):
        return str(value)
    if isinstance(value, Mapping):
        return {_plain_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _plain_text(str(value))


def _plain_text(text: str) -> str:
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
