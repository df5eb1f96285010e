"""The calendar on its pages."""

from datetime import date

import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.trail import Subject
from jinqiao.kernel.rulesets import ruleset
from jinqiao.workflow import actions
from jinqiao.workflow.models import CalendarYear
from tests import factories

pytestmark = pytest.mark.django_db

LINES = "2027-01-01 休 元旦\n2027-02-05至2027-02-11 休 春节\n2027-02-13 班 春节\n"
NOTICE = "国务院办公厅关于2027年部分节假日安排的通知"


@pytest.fixture
def bureau(browse):
    return browse(Role.BUREAU)


def test_the_years_and_their_days_are_shown(bureau):
    assert "2026" in bureau.get(reverse("accounts:calendar")).content.decode()

    page = bureau.get(reverse("accounts:calendar_year", args=[2026])).content.decode()

    assert "2026-02-17" in page
    assert "春节" in page
    assert bureau.get(reverse("accounts:calendar_year", args=[1999])).status_code == 404


def test_a_notice_is_entered_and_fixes_what_waited(bureau):
    post = factories.make_post()
    clock = actions.start_clock(
        key="request.reply.conditional",
        about=Subject("sharing.sharingrequest", "1", ""),
        organisation=post.organisation,
        rule_set=ruleset("rules-2025"),
        started_on=date(2026, 12, 24),
    )
    assert "期限未定" in bureau.get(reverse("accounts:calendar")).content.decode()

    response = bureau.post(reverse("accounts:calendar_new"), {"year": "2027", "notice": NOTICE, "text": LINES})

    assert response.url == reverse("accounts:calendar_year", args=[2027])
    clock.refresh_from_db()
    assert clock.due_on == date(2027, 1, 8)
    assert "期限未定" not in bureau.get(reverse("accounts:calendar")).content.decode()


def test_lines_that_cannot_be_read_are_named_and_the_input_is_kept(bureau):
    response = bureau.post(
        reverse("accounts:calendar_new"), {"year": "2027", "notice": NOTICE, "text": LINES + "2027-13-01 休 无此月"}
    )

    page = response.content.decode()
    assert response.status_code == 200
    assert "第4行" in page
    assert "2027-02-05至2027-02-11" in page
    assert not CalendarYear.objects.filter(year=2027).exists()


def test_days_of_another_year_and_a_year_entered_before_are_refused(bureau):
    address = reverse("accounts:calendar_new")

    other = bureau.post(address, {"year": "2028", "notice": NOTICE, "text": LINES})
    again = bureau.post(address, {"year": "2026", "notice": NOTICE, "text": "2026-01-01 休 元旦"})

    assert list(other.context["form"].errors) == ["text"]
    assert list(again.context["form"].errors) == ["year"]


def test_a_bureau_that_is_not_the_authoritys_does_not_enter(browse):
    other = browse(factories.make_post(Role.BUREAU))

    assert other.get(reverse("accounts:calendar_new")).status_code == 403
    assert (
        reverse("accounts:calendar_new") not in browse(Role.AUDITOR).get(reverse("accounts:calendar")).content.decode()
    )
