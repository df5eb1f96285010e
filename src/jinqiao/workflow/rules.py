"""Who may do what on the desk; pure reads."""

from __future__ import annotations

from datetime import date

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.kernel.rulesets import ClockRule
from jinqiao.workflow import errors
from jinqiao.workflow.enums import CLOCK_MOVES, ClockState
from jinqiao.workflow.models import Clock

AUTHORITY = "authority"
"""In a rule set: the consent is the authority's (政务数据共享主管部门)."""


def is_authority(by: Post | None) -> bool:
    """Whether the post speaks for the authority: a bureau post at an organisation that is one."""
    return by is not None and by.role == Role.BUREAU and by.organisation.is_authority


def check_move(clock: Clock, wanted: ClockState) -> None:
    """Raises ClockStopped, ClockNotRunning, ClockNotPaused."""
    present = ClockState(clock.state)
    if wanted in CLOCK_MOVES[present]:
        return
    if present == ClockState.STOPPED:
        raise errors.ClockStopped
    error = errors.ClockNotPaused if wanted == ClockState.RUNNING else errors.ClockNotRunning
    raise error(state=present.label)


def check_may_pause(rule: ClockRule) -> None:
    """Raises PauseNotFound."""
    if not rule.may_pause:
        raise errors.PauseNotFound(clock=rule.title)


def check_may_extend(clock: Clock, rule: ClockRule, *, by: Post | None, days: int, today: date) -> None:
    """An extension is one the rule set knows, the first, within its days, before the due date, and consented to.

    Raises:
        ExtensionNotFound, ExtensionUsed, ExtensionTooLong, ExtensionTooLate, ClockStopped; ConsentNeeded where the rule
        set names the authority and another acts.
    """
    if clock.state == ClockState.STOPPED:
        raise errors.ClockStopped
    if rule.extension_days < 1:
        raise errors.ExtensionNotFound(clock=rule.title)
    if clock.extended_by:
        raise errors.ExtensionUsed(days=clock.extended_by)
    if not 1 <= days <= rule.extension_days:
        raise errors.ExtensionTooLong(days=days, most=rule.extension_days)
    if clock.state == ClockState.RUNNING and clock.due_on is not None and clock.due_on < today:
        raise errors.ExtensionTooLate(due_on=clock.due_on.isoformat())
    if rule.extension_consent and not is_authority(by):
        raise errors.ConsentNeeded(days=days)


def check_may_keep_calendar(by: Post | None) -> None:
    """The authority's bureau enters the calendar; so does the platform itself (set-up).

    Raises:
        NotCalendarKeeper.
    """
    if by is not None and not is_authority(by):
        raise errors.NotCalendarKeeper


def may_keep_calendar(by: Post | None) -> bool:
    return is_authority(by)
