"""Numbers, dates and instants as people read them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import translation

from jinqiao.kernel import moments
from jinqiao.web import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (0, "0"),
        (None, "—"),
        ("", "—"),
        (Decimal("126.50"), "126.5"),
        (Decimal("0.00"), "0"),
        (-3, "-3"),
    ],
)
def test_numbers_have_thousands_and_no_idle_zeros(value, text):
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("value", "chinese", "english"),
    [(9999, "9,999", "9,999"), (3_020_000, "302万", "3M"), (41_000, "4.1万", "41,000"), (120_000_000, "1.2亿", "120M")],
)
def test_overviews_shorten_numbers_by_the_readers_language(value, chinese, english):
    assert formats.short_number(value) == chinese
    with translation.override("en"):
        assert formats.short_number(value) == english


def test_a_day_of_this_year_stands_without_the_year():
    assert formats.day(date(2026, 3, 18)) == "3月18日"
    assert formats.day(date(2025, 12, 31)) == "2025年12月31日"
    with translation.override("en"):
        assert formats.day(date(2026, 3, 18)) == "18 March"
        assert formats.full_day(date(2026, 3, 18)) == "18 March 2026"


def test_an_instant_is_read_in_chinas_time():
    assert formats.moment(datetime(2026, 3, 17, 16, 30, tzinfo=UTC)) == "2026-03-18 00:30"
    assert formats.iso_day(datetime(2026, 3, 17, 16, 30, tzinfo=UTC)) == "2026-03-18"


def test_a_stretch_on_the_ruler_names_a_month_only_where_it_begins():
    assert formats.short_day(date(2026, 3, 21), date(2026, 3, 22)) == "21–22日"
    assert formats.short_day(date(2026, 4, 1)) == "4月1日"


def test_freshness_is_told_in_words():
    assert formats.ago(moments.now() - timedelta(seconds=5)) == "刚刚"
    assert formats.ago(None) == "—"
    assert formats.ago(moments.now() - timedelta(days=400)).endswith("日")


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.6, "5.6秒"), (192, "3分12秒"), (7500, "2小时5分"), (0, "0秒"), (None, "—")]
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 B"), (4_402_341_478, "4.1 GB"), (1536, "1.5 KB"), (None, "—")])
def test_sizes(value, text):
    assert formats.size(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(33, 36, "91.7%"), (1, 1, "100%"), (0, 5, "0%"), (0, 0, "—"), (None, 3, "—")]
)
def test_a_percentage_without_rows_behind_it_is_a_dash(part, whole, text):
    assert formats.percent(part, whole) == text


def test_a_digest_is_set_in_groups_of_four():
    assert formats.digest("9f2c41aa07d3") == "9f2c 41aa 07d3"
