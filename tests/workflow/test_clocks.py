"""Statutory clocks. Dates are of 2026: 1 to 5 May off, 9 May (Saturday) worked; 15 to 23 February off, 14 and 28 worked."""

from datetime import date

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.kernel.rulesets import ClockNotRegulated, ruleset
from jinqiao.workflow import actions, errors, queries
from jinqiao.workflow.enums import CLOCK_MOVES, ClockState
from jinqiao.workflow.models import CalendarYear
from tests import factories

REPLY = "request.reply.conditional"
RULES = ruleset("rules-2025")

pytestmark = pytest.mark.django_db


@pytest.fixture
def start(case, provider):
    def start_on(day, key=REPLY, rules=RULES):
        return actions.start_clock(
            key=key, about=case, organisation=provider.organisation, rule_set=rules, started_on=day
        )

    return start_on


def test_a_clock_keeps_its_rule_set_clause_and_due_date(start):
    clock = start(date(2026, 3, 18))

    assert (clock.rule_set, clock.working_days, clock.due_on) == ("rules-2025", 10, date(2026, 4, 1))
    assert "第二十一条" in clock.clause
    assert AuditEvent.objects.get().details["due_on"] == "2026-04-01"


def test_holidays_and_make_up_days_count_as_published(start):
    assert start(date(2026, 4, 30)).due_on == date(2026, 5, 18)


def test_one_clock_of_a_kind_runs_on_a_case(start):
    start(date(2026, 3, 18))

    with pytest.raises(errors.ClockRuns):
        start(date(2026, 3, 19))


def test_a_clock_that_the_rule_set_does_not_know_does_not_start(start):
    with pytest.raises(ClockNotRegulated):
        start(date(2026, 3, 18), key="grant.provision", rules=ruleset("rules-2016"))


def test_a_pause_moves_the_due_date_by_the_working_days_it_took(start, provider):
    clock = start(date(2026, 3, 18))

    clock = actions.pause_clock(clock, on=date(2026, 3, 20), by=provider)
    assert (clock.state, clock.paused_on) == (ClockState.PAUSED, date(2026, 3, 20))
    clock = actions.resume_clock(clock, on=date(2026, 3, 25), by=provider)

    assert (clock.state, clock.paused_on, clock.paused_days) == (ClockState.RUNNING, None, 3)
    assert clock.due_on == date(2026, 4, 7)  # 3 days later, over 清明 (6 April off)


def test_a_pause_over_a_weekend_or_within_a_day_costs_nothing(start, provider):
    clock = start(date(2026, 3, 18))

    for paused, resumed in [(date(2026, 3, 20), date(2026, 3, 22)), (date(2026, 3, 23), date(2026, 3, 23))]:
        clock = actions.pause_clock(clock, on=paused, by=provider)
        clock = actions.resume_clock(clock, on=resumed, by=provider)

    assert (clock.paused_days, clock.due_on) == (0, date(2026, 4, 1))


def test_pauses_add_up(start, provider):
    clock = start(date(2026, 3, 18))
    for paused, resumed in [(date(2026, 3, 19), date(2026, 3, 20)), (date(2026, 3, 23), date(2026, 3, 24))]:
        clock = actions.pause_clock(clock, on=paused, by=provider)
        clock = actions.resume_clock(clock, on=resumed, by=provider)

    assert clock.paused_days == 2
    assert clock.due_on == date(2026, 4, 3)


def test_only_clocks_that_may_pause_do(start, provider):
    clock = start(date(2026, 3, 18), key="grant.provision")

    with pytest.raises(errors.PauseNotFound):
        actions.pause_clock(clock, on=date(2026, 3, 19), by=provider)


def test_every_move_outside_the_table_is_refused(start, provider):
    day = date(2026, 3, 19)
    moves = {
        ClockState.PAUSED: lambda clock: actions.pause_clock(clock, on=day, by=provider),
        ClockState.RUNNING: lambda clock: actions.resume_clock(clock, on=day, by=provider),
        ClockState.STOPPED: lambda clock: actions.stop_clock(clock, on=day),
    }
    for present in ClockState:
        for wanted in ClockState:
            clock = start(date(2026, 3, 18))
            if present is not ClockState.RUNNING:
                clock = moves[present](clock)
            if wanted in CLOCK_MOVES[present]:
                clock = moves[wanted](clock)
            else:
                with pytest.raises((errors.ClockStopped, errors.ClockNotRunning, errors.ClockNotPaused)):
                    moves[wanted](clock)
            if clock.state != ClockState.STOPPED:
                actions.stop_clock(clock, on=day)


def test_a_clock_does_not_run_backwards(start, provider):
    clock = start(date(2026, 3, 18))

    with pytest.raises(errors.ClockBackwards):
        actions.pause_clock(clock, on=date(2026, 3, 17), by=provider)
    clock = actions.pause_clock(clock, on=date(2026, 3, 20), by=provider)
    with pytest.raises(errors.ClockBackwards):
        actions.resume_clock(clock, on=date(2026, 3, 19), by=provider)


def test_a_clock_stopped_amid_a_pause_counts_the_pause(start, provider):
    clock = start(date(2026, 3, 18))
    clock = actions.pause_clock(clock, on=date(2026, 3, 20), by=provider)

    clock = actions.stop_clock(clock, on=date(2026, 3, 24))

    assert (clock.state, clock.paused_days, clock.paused_on) == (ClockState.STOPPED, 2, None)
    assert clock.stopped_on == date(2026, 3, 24)


def test_an_extension_needs_the_authority_and_happens_once(start, provider, bureau):
    clock = start(date(2026, 3, 18))

    with pytest.raises(errors.ConsentNeeded):
        actions.extend_clock(clock, by=provider)
    with pytest.raises(errors.ConsentNeeded):
        actions.extend_clock(clock, by=factories.make_post(Role.BUREAU))
    with pytest.raises(errors.ExtensionTooLong):
        actions.extend_clock(clock, by=bureau, days=11)
    clock = actions.extend_clock(clock, by=bureau, days=5)

    assert (clock.extended_by, clock.due_on) == (5, date(2026, 4, 9))
    with pytest.raises(errors.ExtensionUsed):
        actions.extend_clock(clock, by=bureau, days=5)


def test_an_extension_takes_all_the_days_unless_fewer_are_asked(start, bureau):
    assert actions.extend_clock(start(date(2026, 3, 18)), by=bureau).extended_by == 10


def test_what_is_overdue_or_has_no_extension_is_not_extended(start, bureau):
    with pytest.raises(errors.ExtensionTooLate):
        actions.extend_clock(start(date(2026, 2, 2)), by=bureau)
    with pytest.raises(errors.ExtensionNotFound):
        actions.extend_clock(start(date(2026, 3, 18), key="grant.provision"), by=bureau)


def test_days_left_are_counted_by_the_calendar(start):
    clock = start(date(2026, 4, 30))  # due on 18 May

    assert queries.working_days_left(clock, on=date(2026, 5, 8)) == 7
    assert queries.working_days_left(clock, on=date(2026, 5, 18)) == 0
    assert queries.working_days_left(clock, on=date(2026, 5, 19)) == -1
    assert queries.working_days_left(actions.stop_clock(clock, on=date(2026, 5, 8))) is None


def test_clocks_are_found_by_their_case(start, case):
    first = start(date(2026, 3, 18))
    other = start(date(2026, 3, 18), key="grant.provision")
    actions.stop_clock(first, on=date(2026, 3, 19))

    assert list(queries.clocks_of(case)) == [first, other]
    assert queries.running_clock(case, REPLY) is None
    assert queries.running_clock(case, "grant.provision") == other


def test_overdue_clocks_are_those_that_run_and_are_late(start):
    late = start(date(2026, 3, 2))
    start(date(2026, 3, 18), key="grant.provision")

    assert list(queries.overdue_clocks()) == [late]


def test_into_an_unpublished_year_a_clock_has_no_date_and_the_case_goes_on(start, provider):
    CalendarYear.objects.filter(year__gte=2027).delete()
    clock = start(date(2026, 12, 24))

    assert clock.due_on is None
    assert list(queries.undated_clocks()) == [clock]
    clock = actions.pause_clock(clock, on=date(2026, 12, 25), by=provider)
    clock = actions.resume_clock(clock, on=date(2027, 1, 6), by=provider)
    assert (clock.state, clock.due_on) == (ClockState.RUNNING, None)
