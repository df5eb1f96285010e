"""The calendar: seeded from the published notices, entered year by year, fixing what waited for it."""

import csv
from datetime import date

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.kernel.rulesets import ruleset
from jinqiao.workflow import actions, errors, queries
from jinqiao.workflow.actions import NoticeDay
from jinqiao.workflow.enums import DayKind
from jinqiao.workflow.models import CalendarDay, CalendarYear
from tests import factories

NOTICE = "国务院办公厅关于2027年部分节假日安排的通知"
DAYS_2027 = [
    NoticeDay(date(2027, 1, 1), DayKind.OFF, "元旦"),
    NoticeDay(date(2027, 2, 8), DayKind.OFF, "春节"),
    NoticeDay(date(2027, 2, 9), DayKind.OFF, "春节"),
    NoticeDay(date(2027, 2, 6), DayKind.WORK, "春节"),
]
"""A made-up notice: the real one is not published."""


@pytest.mark.django_db
def test_the_years_published_so_far_are_there_from_the_start():
    calendar = queries.calendar()

    assert {2024, 2025, 2026} <= calendar.years
    assert not calendar.is_working_day(date(2026, 2, 17))
    assert calendar.is_working_day(date(2026, 2, 14))
    assert not calendar.is_working_day(date(2026, 3, 21))


@pytest.mark.django_db
def test_the_seed_agrees_with_the_notices_day_by_day(material):
    calendar = queries.calendar()

    with (material / "codes" / "cn_holidays_2007_2026.csv").open(encoding="utf-8") as file:
        rows = [(date.fromisoformat(row["date"]), row["kind"]) for row in csv.DictReader(file)]

    wrong = [
        (on, kind) for on, kind in rows if on.year in calendar.years and calendar.is_working_day(on) != (kind == "work")
    ]
    assert wrong == []


@pytest.mark.django_db
def test_the_calendar_is_read_once_until_something_is_entered(django_assert_num_queries, bureau):
    queries.calendar()
    with django_assert_num_queries(1):
        queries.calendar()

    actions.enter_calendar_year(2027, DAYS_2027, NOTICE, by=bureau)

    assert queries.calendar().is_working_day(date(2027, 2, 6))


@pytest.mark.django_db
def test_entering_a_year_fixes_the_dates_that_waited_for_it_with_an_event_each(case, provider, bureau):
    rules = ruleset("rules-2025")
    body = provider.organisation
    waiting = actions.start_clock(
        key="request.reply.conditional", about=case, organisation=body, rule_set=rules, started_on=date(2026, 12, 24)
    )
    beyond = actions.start_clock(
        key="grant.provision", about=case, organisation=body, rule_set=rules, started_on=date(2027, 12, 24)
    )
    dated = actions.start_clock(
        key="catalogue.update", about=case, organisation=body, rule_set=rules, started_on=date(2026, 3, 18)
    )
    paused = actions.pause_clock(waiting, on=date(2026, 12, 25), by=provider)
    actions.resume_clock(paused, on=date(2027, 1, 6), by=provider)

    actions.enter_calendar_year(2027, DAYS_2027, NOTICE, by=bureau)

    for clock in (waiting, beyond, dated):
        clock.refresh_from_db()
    assert waiting.paused_days == 7  # 28 to 31 December, 4 to 6 January
    assert waiting.due_on == date(2027, 1, 19)
    assert beyond.due_on is None
    assert dated.due_on == date(2026, 4, 1)
    fixed = AuditEvent.objects.get(action="workflow.clock.fix")
    assert (fixed.details["clock"], fixed.details["due_on"]) == (waiting.pk, "2027-01-19")


@pytest.mark.django_db
def test_a_year_is_entered_once_unless_a_correction_replaces_it(bureau):
    actions.enter_calendar_year(2027, DAYS_2027, NOTICE, by=bureau)

    with pytest.raises(errors.CalendarYearEntered):
        actions.enter_calendar_year(2027, DAYS_2027, NOTICE, by=bureau)
    actions.enter_calendar_year(2027, DAYS_2027[:1], NOTICE, by=bureau, replace=True)

    assert CalendarYear.objects.filter(year=2027).count() == 1
    assert CalendarDay.objects.filter(year__year=2027).count() == 1
    assert queries.calendar().is_working_day(date(2027, 2, 8))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "days",
    [
        [],
        [NoticeDay(date(2027, 2, 6), DayKind.WORK, "春节")],
        [*DAYS_2027, NoticeDay(date(2027, 1, 1), DayKind.WORK, "元旦")],
        [*DAYS_2027, NoticeDay(date(2026, 12, 31), DayKind.OFF, "元旦")],
        [*DAYS_2027, NoticeDay(date(2027, 2, 10), DayKind.WORK, "春节")],
        [*DAYS_2027, NoticeDay(date(2027, 2, 10), DayKind.OFF, " ")],
    ],
    ids=["empty", "only make-up days", "one day twice", "another year", "make-up day on a weekday", "no name"],
)
def test_a_notice_that_contradicts_itself_is_refused(days, bureau):
    with pytest.raises(errors.CalendarDaysWrong) as refused:
        actions.enter_calendar_year(2027, days, NOTICE, by=bureau)

    assert refused.value.details["lines"]
    assert not CalendarYear.objects.filter(year=2027).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Role.OPERATOR, Role.SYSTEM_ADMINISTRATOR, Role.BUREAU])
def test_only_the_authoritys_bureau_enters_the_calendar(role):
    with pytest.raises(errors.NotCalendarKeeper):
        actions.enter_calendar_year(2027, DAYS_2027, NOTICE, by=factories.make_post(role))


@pytest.mark.django_db(transaction=True)
def test_the_seeding_can_be_taken_back_and_done_again():
    """That migration alone; tests/config/test_upgrade.py takes back what stands on it."""
    executor = MigrationExecutor(connection)
    seeding = executor.loader.get_migration("workflow", "0002_calendar")
    before = executor.loader.project_state([("workflow", "0001_initial")])

    executor.unapply_migration(before.clone(), seeding)
    assert not CalendarYear.objects.exists()

    executor.apply_migration(before.clone(), seeding)
    assert CalendarYear.objects.filter(year=2026).exists()
