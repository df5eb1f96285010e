"""The desk: what waits, in what order, with what it takes to act."""

from datetime import date

import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit import trail
from jinqiao.audit.trail import Subject
from jinqiao.kernel.rulesets import ruleset
from jinqiao.web.desk import queries
from jinqiao.workflow import queries as workflow
from jinqiao.workflow.actions import finish_todos, open_todo, start_clock
from tests.factories import make_organisation, make_person, make_post

pytestmark = pytest.mark.django_db

TODAY = date(2026, 3, 18)


@pytest.fixture
def post():
    return make_post(Role.DEPARTMENT_ADMINISTRATOR)


def wait_for(post, title, started_on=None, *, about="sharing.sharingrequest", identity="1", person=None):
    subject = Subject(about, identity, title)
    clock = None
    if started_on:
        clock = start_clock(
            key="request.reply.conditional",
            about=subject,
            organisation=post.organisation,
            rule_set=ruleset("rules-2025"),
            started_on=started_on,
        )
    return open_todo(
        kind="sharing.reply",
        title=title,
        organisation=post.organisation,
        role=post.role,
        about=subject,
        clock=clock,
        person=person,
    )


def titles(page):
    return [row.todo.title for group in page.context["groups"] for row in group.rows]


def test_what_is_due_first_stands_first_and_what_has_no_date_last(enter, post):
    wait_for(post, "无时限", identity="1")
    wait_for(post, "三月三十日到期", date(2026, 3, 16), identity="2")
    wait_for(post, "已逾期", date(2026, 3, 2), identity="3")
    wait_for(post, "今天到期", date(2026, 3, 4), identity="4")

    page = enter(post).get(reverse("desk"))

    assert titles(page) == ["已逾期", "今天到期", "三月三十日到期", "无时限"]
    assert "逾期<b>2</b>日" in page.content.decode()
    assert "剩余<b>9</b>个工作日" in page.content.decode()


def test_only_what_waits_for_this_post_is_shown(enter, post):
    colleague = make_post(Role.OPERATOR, post.organisation)
    elsewhere = make_post(post.role)
    wait_for(colleague, "给操作员")
    wait_for(elsewhere, "给别的局")
    wait_for(post, "给同事本人", person=make_person())
    wait_for(post, "给我本人", person=post.person)

    assert titles(enter(post).get(reverse("desk"))) == ["给我本人"]


def test_the_badge_counts_what_waits_and_turns_red_when_something_is_late(enter, post):
    wait_for(post, "三月三十日到期", date(2026, 3, 16))
    client = enter(post)
    assert '<span class="badge">1</span>' in client.get(reverse("desk")).content.decode()

    wait_for(post, "已逾期", date(2026, 3, 2), identity="2")

    assert '<span class="badge" data-tone="bad">2</span>' in client.get(reverse("desk")).content.decode()


def test_an_empty_desk_says_so(enter, post):
    page = enter(post).get(reverse("desk"))

    assert "桥上没有待办" in page.content.decode()
    assert page.context["ruler"] == []


def test_the_ruler_counts_ten_working_days_and_joins_days_off(post):
    wait_for(post, "今天到期", date(2026, 3, 4))
    wait_for(post, "三月三十日到期", date(2026, 3, 16), identity="2")

    days = queries.ruler(list(workflow.desk(post)), workflow.calendar(), TODAY)

    assert sum(1 for day in days if not day.is_off) == 10
    assert [(day.on.day, day.until.day) for day in days if day.is_off] == [(21, 22), (28, 29)]
    assert {day.on: day.count for day in days if day.count} == {TODAY: 1, date(2026, 3, 30): 1}


def test_the_ruler_ends_where_the_calendar_is_not_published(post):
    wait_for(post, "今天到期", date(2026, 3, 4))

    days = queries.ruler(list(workflow.desk(post)), workflow.calendar(), date(2026, 12, 28))

    assert days
    assert max(day.until for day in days).year == 2026


def test_what_is_done_leaves_the_desk_and_stands_under_done(enter, post):
    wait_for(post, "答复住建局")
    finish_todos(Subject("sharing.sharingrequest", "1", ""), by=post)
    client = enter(post)

    page = client.get(reverse("desk"))
    assert titles(page) == []
    assert "答复住建局" in page.content.decode()
    assert "答复住建局" in client.get(reverse("desk_done")).content.decode()
    assert "答复住建局" not in client.get(reverse("desk_done"), {"q": "别的"}).content.decode()


def test_what_i_sent_on_and_waits_with_others_is_shown(enter, post):
    other = make_post(Role.HEAD, make_organisation(name="金昌市乙局"))
    subject = Subject("sharing.sharingrequest", "7", "我的申请")
    trail.record("sharing.request.submit", by=post.actor, about=subject)
    open_todo(
        kind="sharing.reply", title="答复我的申请", organisation=other.organisation, role=Role.HEAD, about=subject
    )

    page = enter(post).get(reverse("desk")).content.decode()

    assert "答复我的申请" in page
    assert "乙局" in page


def test_the_desk_goes_out_as_a_workbook(enter, post):
    wait_for(post, "答复住建局", date(2026, 3, 4))

    response = enter(post).get(reverse("desk"), {"export": "xlsx"})

    assert response.headers["Content-Type"].endswith("spreadsheetml.sheet")
    assert b"".join(response.streaming_content)[:2] == b"PK"


@pytest.mark.parametrize("count", [1, 6])
def test_a_fuller_desk_costs_no_more_queries(enter, post, django_assert_max_num_queries, count):
    for number in range(count):
        wait_for(post, f"事项{number}", date(2026, 3, 4), identity=str(number))
    client = enter(post)

    with django_assert_max_num_queries(16):
        client.get(reverse("desk"))
