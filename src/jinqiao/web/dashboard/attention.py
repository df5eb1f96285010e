"""请领导关注: at most three things, worst first, each with its rows one click away."""

from collections import Counter
from dataclasses import dataclass

from django.utils.translation import gettext as _

from jinqiao.web import formats
from jinqiao.web.clocks import ClockView, clause_of
from jinqiao.web.components import Tone
from jinqiao.web.dashboard import links, queries
from jinqiao.web.dashboard.queries import Scope, Totals

MOST = 3


@dataclass(frozen=True, slots=True)
class Matter:
    """`clock` where a date has passed, else `tone` and `word`."""

    title: str
    note: str
    url: str
    action: str
    tone: Tone = "warn"
    word: str = ""
    clock: ClockView | None = None
    source: str = ""


def attention(scope: Scope, totals: Totals) -> list[Matter]:
    return [*_late_replies(scope), *_failed_runs(scope, totals), *_unused(scope, totals)][:MOST]


def _late_replies(scope: Scope) -> list[Matter]:
    clocks = list(queries.late_replies(scope))
    if not clocks:
        return []
    oldest = clocks[0]
    counts = Counter(clock.organisation.short_name for clock in clocks)
    names = _("、").join(f"{name}{count}" for name, count in counts.most_common(3))
    since = oldest.due_on or scope.today
    return [
        Matter(
            title=_("%(n)s件共享申请逾期未答复") % {"n": len(clocks)},
            note=names,
            url=links.rows(scope, "late"),
            action=_("看这些申请"),
            clock=ClockView("late", "bad", since, days=(scope.today - since).days),
            source=clause_of(oldest),
        )
    ]


def _failed_runs(scope: Scope, totals: Totals) -> list[Matter]:
    if not totals.runs_failed:
        return []
    failed = queries.recent_runs(scope).filter(state="failed").select_related("task__grant__provider")
    names = Counter(run.task.grant.provider.short_name for run in failed)
    return [
        Matter(
            title=_("近30天有%(n)s次交换失败") % {"n": totals.runs_failed},
            note=_("、").join(name for name, _count in names.most_common(3)),
            url=links.rows(scope, "runs", state="failed"),
            action=_("看失败的运行"),
            tone="bad",
            word=_("失败"),
        )
    ]


def _unused(scope: Scope, totals: Totals) -> list[Matter]:
    if not totals.grants_unused:
        return []
    return [
        Matter(
            title=_("%(n)s项授权30天没有使用") % {"n": formats.number(totals.grants_unused)},
            note=_("授权不用，提供方仍在承担；核对是否还需要"),
            url=links.rows(scope, "unused"),
            action=_("看这些授权"),
            tone="idle",
            word=_("30天未用"),
        )
    ]
