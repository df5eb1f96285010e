"""A year's notice as people paste it: one day or one stretch of days a line.

2027-02-06 班 春节
2027-02-05至2027-02-11 休 春节
2027年5月1日—5日，放假，劳动节
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils.translation import gettext as _

from jinqiao.workflow.enums import DayKind

_LONGEST_STRETCH = 31
_KINDS: dict[str, DayKind] = {
    **dict.fromkeys(("休", "放假", "假", "休息", "off"), DayKind.OFF),
    **dict.fromkeys(("班", "上班", "调休上班", "补班", "work"), DayKind.WORK),
}
_DATE = r"(\d{4})\s*[-./年]\s*(\d{1,2})\s*[-./月]\s*(\d{1,2})\s*日?"
_LINE = re.compile(
    rf"{_DATE}(?:\s*(?:至|到|—+|–|~|～)\s*(?:(?:(\d{{4}})\s*[-./年]\s*)?(\d{{1,2}})\s*[-./月]\s*)?(\d{{1,2}})\s*日?)?"
    r"[\s,，、;；]+(\S+?)[\s,，、;；]+(.+)"
)


@dataclass(frozen=True, slots=True)
class NoticeDay:
    """A day as the notice names it: `kind` off (放假) or work (调休上班)."""

    on: date
    kind: DayKind
    name: str


@dataclass(frozen=True, slots=True)
class LineProblem:
    """What is wrong with a line; `line` counts from 1."""

    line: int
    message: str
    mend: str


def read_notice(text: str) -> tuple[list[NoticeDay], list[LineProblem]]:
    """The days of pasted lines, and what could not be read. Empty lines are passed over."""
    days: list[NoticeDay] = []
    problems: list[LineProblem] = []
    first_seen: dict[date, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        found = _read_line(number, line.strip())
        if isinstance(found, LineProblem):
            problems.append(found)
            continue
        for day in found:
            if day.on in first_seen:
                message = _("%(on)s在第%(line)d行已经出现。") % {"on": day.on, "line": first_seen[day.on]}
                problems.append(LineProblem(number, message, _("一天只写一行。")))
            else:
                first_seen[day.on] = number
                days.append(day)
    return days, problems


def notice_problems(year: int, days: Sequence[NoticeDay]) -> list[str]:
    """What is wrong with a year's days, in sentences for the reader; an empty list where nothing is."""
    problems = []
    if not any(day.kind == DayKind.OFF for day in days):
        problems.append(_("没有放假日。"))
    for on, times in Counter(day.on for day in days).items():
        if times > 1:
            problems.append(_("%(on)s出现了%(times)d次。") % {"on": on, "times": times})
    for day in days:
        if day.on.year != year:
            problems.append(_("%(on)s不在%(year)d年。") % {"on": day.on, "year": year})
        elif day.kind == DayKind.WORK and day.on.weekday() < 5:
            problems.append(_("%(on)s是周一至周五，不会是调休上班日。") % {"on": day.on})
        if not day.name.strip():
            problems.append(_("%(on)s没有写节日名称。") % {"on": day.on})
    return problems


def _read_line(number: int, line: str) -> list[NoticeDay] | LineProblem:
    found = _LINE.fullmatch(line)
    if found is None:
        return LineProblem(number, _("这一行读不出日期、类别和节日。"), _("写成“2027-02-05 休 春节”的样子。"))
    year, month, day, last_year, last_month, last_day, kind_word, name = found.groups()
    kind = _KINDS.get(kind_word.lower())
    if kind is None:
        return LineProblem(
            number, _("类别“%(kind)s”不认识。") % {"kind": kind_word[:10]}, _("放假写“休”，调休上班写“班”。")
        )
    try:
        first = date(int(year), int(month), int(day))
        last = date(int(last_year or year), int(last_month or month), int(last_day)) if last_day else first
    except ValueError:
        return LineProblem(number, _("没有这一天。"), _("核对年、月、日。"))
    if not first <= last < first + timedelta(days=_LONGEST_STRETCH):
        return LineProblem(number, _("起止日期颠倒，或一段超过31天。"), _("核对起止日期。"))
    return [
        NoticeDay(first + timedelta(days=offset), kind, name.strip()[:40]) for offset in range((last - first).days + 1)
    ]
