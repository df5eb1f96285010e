import io

import openpyxl
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.catalogue import actions
from jinqiao.web.catalogue.views.search import marked
from tests.catalogue.factories import make_published
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db


@pytest.fixture
def entries(cast):
    return [
        make_published(cast, name="企业注册登记信息"),
        make_published(cast, name="婚姻登记信息", is_open=True, sharing_category="1", update_cycle="monthly"),
    ]


def test_citizens_find_what_is_open_and_nothing_else(client, entries):
    shown = client.get(reverse("catalogue:search")).content.decode()
    assert "婚姻登记信息" in shown
    assert "企业注册登记信息" not in shown
    assert client.get(reverse("catalogue:entry", args=[entries[1].pk])).status_code == 200
    assert client.get(reverse("catalogue:entry", args=[entries[0].pk])).status_code == 404
    assert client.get(reverse("catalogue:export")).status_code == 302


def test_pinyin_finds_and_marks_are_set_on_words(cast, browser, entries):
    client = browser(make_post(Role.OPERATOR, make_organisation()))
    shown = client.get(reverse("catalogue:search"), {"q": "hydj"}).content.decode()
    assert "婚姻登记信息" in shown
    assert "企业注册" not in shown
    shown = client.get(reverse("catalogue:search"), {"q": "婚姻"}).content.decode()
    assert "<mark>婚姻</mark>登记信息" in shown
    assert reverse("sharing:new", args=[entries[1].pk]) in shown


def test_facets_narrow_and_chips_drop_them(cast, browser, entries):
    client = browser(cast.operator)
    shown = client.get(reverse("catalogue:search"), {"category": "1", "cycle": "monthly"})
    assert [row["version"].name for row in shown.context["rows"]] == ["婚姻登记信息"]
    assert {chip["url"] for chip in shown.context["chips"]} == {"?cycle=monthly", "?category=1"}
    nothing = client.get(reverse("catalogue:search"), {"category": "1", "cycle": "daily"}).content.decode()
    assert "没有找到" in nothing


@pytest.mark.parametrize(
    "query", [{"category": "9"}, {"provider": "x"}, {"node": "'"}, {"page": "0"}, {"q": '"*('}, {"provider": "9" * 30}]
)
def test_parameters_that_make_no_sense_do_no_harm(cast, browser, entries, query):
    assert browser(cast.operator).get(reverse("catalogue:search"), query).status_code == 200


def test_pages_and_queries_do_not_grow_with_rows(cast, browser, entries, django_assert_num_queries, settings):
    settings.PAGE_SIZE = 50
    client = browser(cast.operator)
    url = reverse("catalogue:search")
    client.get(url)
    with CaptureQueriesContext(connection) as before:
        client.get(url)
    for number in range(3):
        make_published(cast, name=f"企业年报信息第{number}类")
    with django_assert_num_queries(len(before)):
        assert len(client.get(url).context["rows"]) == 5


def test_what_was_found_goes_out_as_the_form(cast, browser, entries):
    response = browser(make_post(Role.AUDITOR)).get(reverse("catalogue:export"), {"q": "婚姻"})
    sheet = openpyxl.load_workbook(io.BytesIO(b"".join(response.streaming_content))).worksheets[0]
    assert {row[0].value for row in sheet.iter_rows(min_row=4)} == {"婚姻登记信息"}
    assert sheet.max_column == 27


def test_the_published_version_shows_while_a_draft_changes(cast, browser, entries):
    draft = actions.start_revision(entries[0], by=cast.operator)
    actions.save_draft(draft, by=cast.operator, fields={"name": "企业登记信息", "abstract": "草稿里的话"})

    other = browser(make_post(Role.OPERATOR, make_organisation()))
    page = other.get(reverse("catalogue:entry", args=[entries[0].pk])).content.decode()
    assert "企业注册登记信息" in page
    assert "草稿里的话" not in page
    assert "办理中的一版" not in page
    assert other.get(reverse("catalogue:entry", args=[entries[0].pk]), {"version": 2}).status_code == 404
    assert "企业登记信息" not in other.get(reverse("catalogue:search")).content.decode()

    own = browser(cast.operator).get(reverse("catalogue:entry", args=[entries[0].pk])).content.decode()
    assert "第2版正在办理" in own
    second = (
        browser(cast.operator).get(reverse("catalogue:entry", args=[entries[0].pk]), {"version": 2}).content.decode()
    )
    assert "草稿里的话" in second


def test_words_are_marked_where_they_stand():
    assert marked("婚姻登记", ["登记"]) == [("婚姻", False), ("登记", True)]
    assert marked("ABC", ["b"]) == [("A", False), ("B", True), ("C", False)]
    assert marked("", ["b"]) == []
