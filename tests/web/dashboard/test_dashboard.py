"""The city dashboard: every figure is what the rows say, and leads to them."""

import json
import re
from datetime import date, datetime, timedelta

import pytest
from django.db import connection
from django.urls import reverse

from jinqiao.accounts.enums import RegionLevel, Role
from jinqiao.exchange.actions import accept_evidence
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import Call, Run
from jinqiao.kernel.moments import CHINA
from jinqiao.sharing.enums import RequestState
from jinqiao.web.dashboard import queries
from jinqiao.web.dashboard.attention import attention
from jinqiao.web.dashboard.rows import LISTINGS
from jinqiao.workflow.models import Clock
from tests.exchange.factories import call_record, evidence_batches, make_served, make_world
from tests.factories import make_organisation, make_post, make_region
from tests.sharing.factories import make_entry, make_grant, make_parties, make_request

pytestmark = pytest.mark.django_db

TODAY = date(2026, 3, 18)


@pytest.fixture(autouse=True)
def relay(settings, tmp_path):
    settings.RELAY_ROOT = tmp_path / "relay"


@pytest.fixture
def scope():
    return queries.Scope(TODAY)


def late(clock, days):
    Clock.objects.filter(pk=clock.pk).update(due_on=TODAY - timedelta(days=days))


def test_an_empty_city_has_a_page_without_charts(enter):
    page = enter(make_post(Role.LEADER)).get(reverse("dashboard")).content.decode()

    assert "近30天没有交付数据" in page
    assert "data-chart=" not in page
    assert "没有逾期、失败和闲置的事" in page


def test_published_entries_are_counted_by_department_most_first(scope):
    one, two = make_post(Role.OPERATOR), make_post(Role.OPERATOR)
    make_entry(one.organisation, one)
    for _ in range(3):
        make_entry(two.organisation, two)

    rows = queries.entries_by_department(scope)

    assert [(row.organisation, row.count) for row in rows] == [(two.organisation, 3), (one.organisation, 1)]
    assert queries.totals(scope).entries == 4


def test_a_withdrawn_entry_is_not_counted(scope):
    post = make_post(Role.OPERATOR)
    entry = make_entry(post.organisation, post)
    entry.withdrawn_at = datetime(2026, 3, 1, tzinfo=CHINA)
    entry.save()

    assert queries.totals(scope).entries == 0


def test_requests_are_counted_by_state_without_drafts(scope):
    parties = make_parties()
    make_request(parties, RequestState.DRAFT)
    make_request(parties, RequestState.AWAITING_REPLY)
    make_request(parties, RequestState.GRANTED)

    counts = {row.state: row.count for row in queries.requests_by_state(scope) if row.count}

    assert counts == {"awaiting_reply": 1, "granted": 1}
    totals = queries.totals(scope)
    assert (totals.requests, totals.requests_open, totals.grants) == (2, 1, 1)


def test_punctuality_tells_in_time_late_and_open_apart(scope):
    parties = make_parties()
    make_request(parties, RequestState.GRANTED)
    make_request(parties, RequestState.REFUSED)
    make_request(parties, RequestState.AWAITING_REPLY)
    make_request(parties, RequestState.AWAITING_REPLY)
    closed, open_ = (
        queries.reply_clocks(scope).filter(state="stopped"),
        queries.reply_clocks(scope).filter(state="running"),
    )
    late(closed.first(), 5)
    late(open_.first(), 1)

    (row,) = queries.punctuality(scope)

    assert (row.organisation, row.on_time, row.late, row.open_late, row.open) == (parties.provider, 1, 1, 1, 1)
    assert row.judged == 3
    assert row.all == 4


def test_a_clock_without_a_date_is_open_and_not_late(scope):
    make_request(make_parties(), RequestState.AWAITING_REPLY)
    queries.reply_clocks(scope).update(due_on=None)

    (row,) = queries.punctuality(scope)

    assert (row.open_late, row.open) == (0, 1)


def test_rows_and_failures_stand_on_the_day_they_ended_in_china(scope):
    world = make_world()
    run = world.finished()
    Run.objects.filter(pk=run.pk).update(finished_at=datetime(2026, 3, 17, 0, 30, tzinfo=CHINA), rows=1200)

    days = {day.on: (day.first, day.second) for day in queries.rows_per_day(scope) if day.first or day.second}
    assert days == {date(2026, 3, 17): (1200, 0)}

    Run.objects.filter(pk=run.pk).update(state=RunState.FAILED)
    days = {day.on: (day.first, day.second) for day in queries.rows_per_day(scope) if day.first or day.second}
    assert days == {date(2026, 3, 17): (0, 1)}


def test_the_series_has_every_day_of_the_period_and_no_older_one(scope):
    run = make_world().finished()
    Run.objects.filter(pk=run.pk).update(finished_at=datetime(2026, 2, 16, 23, 59, tzinfo=CHINA))

    days = queries.rows_per_day(scope)

    assert len(days) == 30
    assert (days[0].on, days[-1].on) == (date(2026, 2, 17), TODAY)
    assert sum(day.first for day in days) == 0


def test_calls_answered_and_refused_are_counted_apart(scope):
    served = make_served()
    records = [
        call_record(served, 1),
        call_record(served, 2),
        call_record(served, 3, outcome="policy.grant.expired", rows=0),
    ]
    for batch in evidence_batches(records):
        accept_evidence(served.gateway.node, batch)
    assert Call.objects.count() == 3

    totals = queries.totals(scope)
    today = queries.calls_per_day(scope)[-1]

    assert (totals.calls, totals.calls_refused) == (2, 1)
    assert (today.first, today.second) == (2, 1)


def test_an_old_grant_without_use_is_unused_and_a_new_one_is_not(scope):
    grant = make_grant(make_parties())
    assert not queries.unused_grants(scope).exists()

    with_age(grant, 31)

    assert list(queries.unused_grants(scope)) == [grant]


def test_a_grant_with_a_call_is_in_use(scope):
    served = make_served()
    with_age(served.grant, 40)
    assert list(queries.unused_grants(scope)) == [served.grant]

    for batch in evidence_batches([call_record(served, 1)]):
        accept_evidence(served.gateway.node, batch)

    assert not queries.unused_grants(scope).exists()


def with_age(grant, days):
    """The terms of a grant are immutable in Python; a test of time reaches around it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sharing_grant SET created_at = %s WHERE id = %s",
            [datetime(2026, 3, 18, tzinfo=CHINA) - timedelta(days=days), grant.pk],
        )


def test_what_needs_attention_is_late_replies_then_failures(scope):
    make_request(make_parties(), RequestState.AWAITING_REPLY)
    late(queries.reply_clocks(scope).get(), 2)
    run = make_world().finished()
    Run.objects.filter(pk=run.pk).update(state=RunState.FAILED)

    matters = attention(scope, queries.totals(scope))

    assert [matter.title for matter in matters] == ["1件共享申请逾期未答复", "近30天有1次交换失败"]
    assert matters[0].clock.days == 2


def test_a_region_counts_only_its_own_organisations(enter):
    county = make_region("620321", "永昌县", RegionLevel.COUNTY, make_region())
    there, here = make_post(Role.OPERATOR, make_organisation(region=county)), make_post(Role.OPERATOR)
    make_entry(there.organisation, there)
    make_entry(here.organisation, here)

    assert queries.totals(queries.Scope(TODAY, county)).entries == 1
    assert queries.totals(queries.Scope(TODAY, make_region())).entries == 2
    page = enter(make_post(Role.LEADER)).get(reverse("dashboard"), {"region": "620321"})
    assert page.context["scope"].region == county


def test_every_chart_has_its_table_and_its_json_says_the_same(enter):
    run = make_world().finished()
    Run.objects.filter(pk=run.pk).update(finished_at=datetime(2026, 3, 17, 9, 0, tzinfo=CHINA), rows=1234)

    page = enter(make_post(Role.LEADER)).get(reverse("dashboard")).content.decode()

    data = json.loads(re.search(r'<script id="rows-data" type="application/json">(.*?)</script>', page).group(1))
    assert dict(zip(data["days"], data["series"][0]["values"], strict=True))["2026-03-17"] == 1234
    assert '<th scope="row">2026-03-17</th><td class="n">1,234</td>' in page


@pytest.mark.parametrize("role", [Role.LEADER, Role.BUREAU, Role.HEAD, Role.AUDITOR])
def test_every_figure_with_an_address_leads_to_a_page_that_opens(enter, role):
    make_request(make_parties(), RequestState.AWAITING_REPLY)
    client = enter(make_post(role))

    page = client.get(reverse("dashboard"))

    targets = {step.url for step in page.context["chain"]} | {url for _row, _tone, url in page.context["states"]}
    for url in targets - {""}:
        assert client.get(url).status_code == 200, url


def test_every_list_shows_exactly_what_its_figure_counts(enter):
    parties = make_parties()
    make_request(parties, RequestState.AWAITING_REPLY)
    make_request(parties, RequestState.REFUSED)
    make_world().finished()
    client = enter(make_post(Role.LEADER))
    page = client.get(reverse("dashboard"))

    counted = [(url, row.count) for row, _tone, url in page.context["states"]]
    counted += [(url, row.count) for row, url in page.context["departments"]]
    counted += [(step.url, step.value) for step in page.context["chain"] if not step.url.startswith("/dashboard/runs")]

    assert len(counted) > 10
    for url, count in counted:
        assert client.get(url).context["page"].paginator.count == int(count), url


@pytest.mark.parametrize("figure", list(LISTINGS))
def test_every_list_opens_and_goes_out_as_a_workbook(enter, figure):
    make_request(make_parties(), RequestState.AWAITING_REPLY)
    late(Clock.objects.filter(key__startswith=queries.REPLY_KEY).get(), 2)
    client = enter(make_post(Role.AUDITOR))
    url = reverse("dashboard_rows", args=[figure])

    assert client.get(url).status_code == 200
    assert b"".join(client.get(url, {"export": "xlsx"}).streaming_content)[:2] == b"PK"


def test_a_list_can_be_narrowed_to_a_day_and_nonsense_narrows_nothing(enter):
    run = make_world().finished()
    Run.objects.filter(pk=run.pk).update(finished_at=datetime(2026, 3, 17, 0, 30, tzinfo=CHINA))
    client = enter(make_post(Role.LEADER))
    url = reverse("dashboard_rows", args=["runs"])

    assert client.get(url, {"day": "2026-03-17"}).context["page"].paginator.count == 1
    assert client.get(url, {"day": "2026-03-16"}).context["page"].paginator.count == 0
    assert client.get(url, {"day": "yesterday", "department": "x"}).context["page"].paginator.count == 1


def test_a_list_of_something_unknown_is_not_found(enter):
    assert enter(make_post(Role.LEADER)).get("/dashboard/moon").status_code == 404


def test_a_row_links_only_to_what_the_reader_may_open(enter):
    request = make_request(make_parties(), RequestState.AWAITING_REPLY)
    target = reverse("sharing:request", args=[request.pk])
    url = reverse("dashboard_rows", args=["requests"])

    assert target in enter(make_post(Role.BUREAU)).get(url).content.decode()
    assert request.number in enter(make_post(Role.LEADER)).get(url).content.decode()


def test_a_head_sees_the_figures_of_the_own_organisation_as_provider(enter):
    parties = make_parties()
    make_request(parties, RequestState.AWAITING_REPLY)
    other = make_post(Role.OPERATOR)
    make_entry(other.organisation, other)

    page = enter(parties.provider_head).get(reverse("dashboard"))
    elsewhere = enter(parties.consumer_head).get(reverse("dashboard"))

    assert [step.value for step in page.context["chain"]][1:3] == ["1", "1"]
    assert [step.value for step in elsewhere.context["chain"]][1:3] == ["0", "0"]
