"""Statutory clocks: started, paused, resumed, extended, stopped. A due date stands as it was computed.

Days are counted from the day after the start. A pause takes the working days after the day of the pause up to and including
the day of resumption out of the count. Where the calendar of a year is not published the due date stays empty, and the entry
of that year fixes it (`actions.calendar`).
"""

from __future__ import annotations

from datetime import date
from typing import Any

from django.db import transaction

from jinqiao.accounts.models import Organisation, Post
from jinqiao.audit import trail
from jinqiao.audit.trail import SYSTEM, Actor, Subject
from jinqiao.kernel import moments
from jinqiao.kernel.clocks import WorkCalendar
from jinqiao.kernel.rulesets import RuleSet, ruleset
from jinqiao.workflow import errors, queries, rules
from jinqiao.workflow.enums import ClockState
from jinqiao.workflow.models import Clock


@transaction.atomic
def start_clock(
    *,
    key: str,
    about: Subject,
    organisation: Organisation,
    rule_set: RuleSet,
    started_on: date,
    by: Post | None = None,
) -> Clock:
    """Start a clock that binds `organisation`, by a rule set that is kept with it.

    Raises:
        ClockRuns: one of that key has not stopped; ClockNotRegulated: the rule set has no such clock.
    """
    rule = rule_set.clock(key)
    # Locking the organisation queues two starts of the same clock.
    Organisation.objects.select_for_update().get(pk=organisation.pk)
    if queries.running_clock(about, key) is not None:
        raise errors.ClockRuns(clock=rule.title)
    clock = Clock.objects.create(
        key=key,
        rule_set=rule_set.name,
        clause=rule.clause[:100],
        about_type=about.type,
        about_id=about.id,
        organisation=organisation,
        started_on=started_on,
        working_days=rule.working_days,
        due_on=queries.calendar().due_on(started_on, rule.working_days),
    )
    _record("workflow.clock.start", clock, about, _actor(by), started_on=started_on, working_days=rule.working_days)
    return clock


@transaction.atomic
def pause_clock(clock: Clock, *, on: date, by: Post | None) -> Clock:
    """Let a clock stand still, where the rule set knows a pause.

    Raises:
        PauseNotFound, ClockNotRunning, ClockStopped, ClockBackwards.
    """
    clock = _locked(clock)
    rules.check_move(clock, ClockState.PAUSED)
    rules.check_may_pause(ruleset(clock.rule_set).clock(clock.key))
    _check_not_before(on, clock.started_on)
    clock.pauses.create(paused_on=on)
    clock.state, clock.paused_on = ClockState.PAUSED, on
    clock.save(update_fields=["state", "paused_on"])
    _record("workflow.clock.pause", clock, _subject(clock), _actor(by), on=on)
    return clock


@transaction.atomic
def resume_clock(clock: Clock, *, on: date, by: Post | None) -> Clock:
    """Let a paused clock run on; its due date moves by the working days that it stood still.

    Raises:
        ClockNotPaused, ClockStopped, ClockBackwards.
    """
    clock = _locked(clock)
    rules.check_move(clock, ClockState.RUNNING)
    _end_pause(clock, on)
    clock.state, clock.paused_on = ClockState.RUNNING, None
    days = clock.paused_days
    fix_due_date(clock, queries.calendar())
    clock.save(update_fields=["state", "paused_on", "paused_days", "due_on"])
    _record("workflow.clock.resume", clock, _subject(clock), _actor(by), on=on, stood_still=clock.paused_days - days)
    return clock


@transaction.atomic
def extend_clock(clock: Clock, *, by: Post | None, days: int | None = None) -> Clock:
    """Give a clock more working days, all that the rule set allows unless fewer are asked for.

    Where the rule set names the authority's consent, `by` is the authority's post, and acting is the consent.

    Raises:
        ExtensionNotFound, ExtensionUsed, ExtensionTooLong, ExtensionTooLate, ConsentNeeded, ClockStopped.
    """
    clock = _locked(clock)
    rule = ruleset(clock.rule_set).clock(clock.key)
    more = rule.extension_days if days is None else days
    rules.check_may_extend(clock, rule, by=by, days=more, today=moments.today())
    before = clock.due_on
    clock.extended_by = more
    fix_due_date(clock, queries.calendar())
    clock.save(update_fields=["extended_by", "paused_days", "due_on"])
    _record("workflow.clock.extend", clock, _subject(clock), _actor(by), days=more, before=before)
    return clock


@transaction.atomic
def stop_clock(clock: Clock, *, on: date, by: Post | None = None) -> Clock:
    """The duty is done: the clock stops for good, also out of a pause.

    Raises:
        ClockStopped, ClockBackwards.
    """
    clock = _locked(clock)
    rules.check_move(clock, ClockState.STOPPED)
    _check_not_before(on, clock.started_on)
    if clock.state == ClockState.PAUSED:
        _end_pause(clock, on)
        fix_due_date(clock, queries.calendar())
    clock.state, clock.paused_on, clock.stopped_on = ClockState.STOPPED, None, on
    clock.save(update_fields=["state", "paused_on", "paused_days", "due_on", "stopped_on"])
    in_time = None if clock.due_on is None else on <= clock.due_on
    _record("workflow.clock.stop", clock, _subject(clock), _actor(by), on=on, in_time=in_time)
    return clock


def fix_due_date(clock: Clock, calendar: WorkCalendar) -> None:
    """Set paused days and due date from what the calendar knows; the due date is None where it does not know enough."""
    still = [
        calendar.working_days_between(pause.paused_on, pause.resumed_on)
        for pause in clock.pauses.all()
        if pause.resumed_on is not None
    ]
    known = [days for days in still if days is not None]
    clock.paused_days = sum(known)
    if len(known) < len(still):
        clock.due_on = None
    else:
        clock.due_on = calendar.due_on(clock.started_on, clock.working_days + clock.extended_by + clock.paused_days)


def _end_pause(clock: Clock, on: date) -> None:
    pause = clock.pauses.filter(resumed_on__isnull=True).latest("id")
    _check_not_before(on, pause.paused_on)
    pause.resumed_on = on
    pause.save(update_fields=["resumed_on"])


def _check_not_before(on: date, since: date) -> None:
    if on < since:
        raise errors.ClockBackwards(on=on.isoformat(), since=since.isoformat())


def _locked(clock: Clock) -> Clock:
    return Clock.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=clock.pk)


def _subject(clock: Clock) -> Subject:
    return Subject(clock.about_type, clock.about_id, "")


def _actor(by: Post | None) -> Actor:
    return SYSTEM if by is None else by.actor


def _record(action: str, clock: Clock, about: Subject, by: Actor, **details: Any) -> None:
    trail.record(
        action,
        by=by,
        about=about,
        clock=clock.pk,
        key=clock.key,
        rule_set=clock.rule_set,
        due_on=clock.due_on,
        **details,
    )
