"""Reading the trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.db.models import Q, QuerySet

from jinqiao.audit.models import AuditEvent
from jinqiao.audit.trail import Subject
from jinqiao.kernel.moments import CHINA


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; empty fields look for everything. Dates are local and inclusive."""

    action: str = ""
    actions: tuple[str, ...] | None = None
    text: str = ""
    person: str = ""
    organisation: str = ""
    outcome: str = ""
    since: date | None = None
    until: date | None = None
    about_type: str = ""
    about_id: str = ""


def search(wanted: Search) -> QuerySet[AuditEvent]:
    """Events that match, newest first.

    `action` matches whole or as a prefix up to a dot (`catalogue`, `catalogue.entry`); `actions` names several, None any.
    """
    events = AuditEvent.objects.order_by("-number")
    if wanted.action:
        events = events.filter(Q(action=wanted.action) | Q(action__startswith=wanted.action.rstrip(".") + "."))
    if wanted.actions is not None:
        events = events.filter(action__in=wanted.actions)
    if wanted.person:
        events = events.filter(Q(actor_name__icontains=wanted.person) | Q(actor_id=wanted.person))
    if wanted.organisation:
        events = events.filter(
            Q(organisation_name__icontains=wanted.organisation) | Q(organisation_id=wanted.organisation)
        )
    if wanted.text:
        events = events.filter(Q(about_label__icontains=wanted.text) | Q(about_id=wanted.text))
    if wanted.outcome:
        events = events.filter(outcome=wanted.outcome)
    if wanted.about_type:
        events = events.filter(about_type=wanted.about_type)
    if wanted.about_id:
        events = events.filter(about_id=wanted.about_id)
    if wanted.since:
        events = events.filter(at__gte=_midnight(wanted.since))
    if wanted.until:
        events = events.filter(at__lt=_midnight(wanted.until + timedelta(days=1)))
    return events


def events_about(about: Subject) -> QuerySet[AuditEvent]:
    """All that was done to one thing, oldest first."""
    return AuditEvent.objects.filter(about_type=about.type, about_id=about.id).order_by("number")


def actions_seen() -> list[str]:
    """Names of all actions in the trail, for a filter."""
    return list(AuditEvent.objects.order_by("action").values_list("action", flat=True).distinct())


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=CHINA)
