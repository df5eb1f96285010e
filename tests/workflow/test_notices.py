"""Reading a pasted notice."""

from datetime import date

import pytest

from jinqiao.workflow.enums import DayKind
from jinqiao.workflow.notices import NoticeDay, read_notice


def test_lines_of_several_manners_are_read():
    days, problems = read_notice(
        "2027-01-01 休 元旦\n\n2027年2月6日，班，春节\n2027/5/1至5/2 放假 劳动节\n2027年10月1日—3日 休 国庆节、中秋节\n"
    )

    assert problems == []
    assert days == [
        NoticeDay(date(2027, 1, 1), DayKind.OFF, "元旦"),
        NoticeDay(date(2027, 2, 6), DayKind.WORK, "春节"),
        NoticeDay(date(2027, 5, 1), DayKind.OFF, "劳动节"),
        NoticeDay(date(2027, 5, 2), DayKind.OFF, "劳动节"),
        *(NoticeDay(date(2027, 10, day), DayKind.OFF, "国庆节、中秋节") for day in (1, 2, 3)),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "元旦",
        "2027-01-01 休",
        "2027-02-30 休 春节",
        "2027-02-05 吃 春节",
        "2027-02-11至2027-02-05 休 春节",
        "2027-02-05至2027-12-05 休 春节",
    ],
)
def test_a_line_that_cannot_be_read_is_named_by_its_number(line):
    days, problems = read_notice(f"2027-01-01 休 元旦\n{line}")

    assert [day.on for day in days] == [date(2027, 1, 1)]
    assert [problem.line for problem in problems] == [2]
    assert problems[0].mend


def test_a_day_that_stands_twice_is_named_with_its_first_line():
    days, problems = read_notice("2027-02-05至2027-02-07 休 春节\n2027-02-06 班 春节")

    assert len(days) == 3
    assert "1" in problems[0].message
