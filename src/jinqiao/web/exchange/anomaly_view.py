"""Anomalies in words: what the rule looks at, what it found, what may be behind it."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.exchange.enums import AnomalyKind
from jinqiao.exchange.models import Anomaly
from jinqiao.web import formats
from jinqiao.web.components import Pair, Text

MEANINGS: Mapping[str, Text] = {
    AnomalyKind.OFF_HOURS.value: gettext_lazy(
        "夜间或休息日有较多查询。可能是批量业务安排在夜间，也可能是账号或密钥被人冒用。核对应用的调度安排和经办人。"
    ),
    AnomalyKind.VOLUME.value: gettext_lazy(
        "这一天的查询量远多于本服务往常。可能是集中办理，也可能是程序出错反复查询。核对业务量和程序日志。"
    ),
    AnomalyKind.ENUMERATION.value: gettext_lazy(
        "一个应用查询了很多不同的人，或者大量查询没有结果，像是在试号码。核对查询名单从何而来。"
    ),
    AnomalyKind.SAME_PERSON.value: gettext_lazy(
        "同一个人在一天内被多个应用或多名经办人查询。可能是联办业务，也可能是私下打听。核对各方的业务编号。"
    ),
    AnomalyKind.BUSY_USER.value: gettext_lazy(
        "一名经办人一天查询的人数超出常理。可能是多人共用账号，也可能是批量导出。核对账号使用人。"
    ),
    AnomalyKind.SHARED_CASE.value: gettext_lazy(
        "一个业务编号被用来查询很多人。可能是批次号，也可能是随手填写。核对这件业务涉及哪些人。"
    ),
}
"""What an anomaly of a kind may mean, and what to look at."""

FIGURES: Mapping[str, Text] = {
    "calls": gettext_lazy("调用次数"),
    "rows": gettext_lazy("返回行数"),
    "keys": gettext_lazy("查询对象数"),
    "persons": gettext_lazy("不同的人"),
    "empty": gettext_lazy("没有结果的调用"),
    "empty_share": gettext_lazy("没有结果的比例"),
    "usual": gettext_lazy("往常一天（中位数）"),
    "days": gettext_lazy("参照的天数"),
    "applications": gettext_lazy("应用数"),
    "end_users": gettext_lazy("经办人数"),
    "is_day_off": gettext_lazy("休息日"),
    "limit": gettext_lazy("阈值"),
    "share_limit": gettext_lazy("没有结果比例的阈值"),
    "limit_applications": gettext_lazy("应用数阈值"),
    "limit_end_users": gettext_lazy("经办人数阈值"),
}
NUMBERS: Mapping[str, Text] = {
    "from_hour": gettext_lazy("夜间自（时）"),
    "until_hour": gettext_lazy("夜间至（时）"),
    "least_calls": gettext_lazy("至少调用次数"),
    "factor": gettext_lazy("偏离倍数"),
    "history_days": gettext_lazy("参照的天数"),
    "least_history": gettext_lazy("至少有这么多天才判断"),
    "least_share": gettext_lazy("偏离中位数的最低比例"),
    "most_persons": gettext_lazy("人数多于"),
    "empty_share": gettext_lazy("没有结果的比例不低于"),
    "most_applications": gettext_lazy("应用数多于"),
    "most_end_users": gettext_lazy("经办人数多于"),
}
"""Thresholds of the rules."""


def figure_pairs(anomaly: Anomaly) -> list[Pair]:
    """The counts and thresholds that the rule noted."""
    pairs = []
    for name, value in anomaly.figures.items():
        label = FIGURES.get(name, name)
        if isinstance(value, bool):
            pairs.append(Pair(label, _("是") if value else _("否")))
        elif name in ("empty_share", "share_limit"):
            pairs.append(Pair(label, formats.percent(value, 1)))
        else:
            pairs.append(Pair(label, formats.number(value) if isinstance(value, int | float) else str(value)))
    return pairs


def common_pairs(anomaly: Anomaly) -> list[Pair]:
    """What its calls have in common."""
    pairs = [
        Pair(_("日期"), formats.full_day(anomaly.since)),
        Pair(_("提供部门"), anomaly.provider.name if anomaly.provider else _("多个提供部门")),
        Pair(_("需求部门"), anomaly.consumer.name if anomaly.consumer else ""),
        Pair(_("服务"), anomaly.service, code=True),
        Pair(_("应用"), anomaly.application, code=True),
        Pair(_("经办人"), anomaly.end_user),
        Pair(_("业务编号"), anomaly.case_number, code=True),
        Pair(_("对象摘要"), anomaly.subject, code=True, wide=True),
    ]
    return [pair for pair in pairs if pair.value]


def headline(anomaly: Anomaly) -> str:
    """One line of the list: the figure that matters."""
    figures: Mapping[str, Any] = anomaly.figures
    if anomaly.kind == AnomalyKind.VOLUME:
        return _("%(calls)s次，往常%(usual)s次") % {
            "calls": formats.number(figures.get("calls")),
            "usual": formats.number(figures.get("usual")),
        }
    if anomaly.kind == AnomalyKind.OFF_HOURS:
        return _("%(calls)s次") % {"calls": formats.number(figures.get("calls"))}
    if anomaly.kind == AnomalyKind.SAME_PERSON:
        return _("%(applications)s个应用，%(users)s名经办人") % {
            "applications": figures.get("applications"),
            "users": figures.get("end_users"),
        }
    if anomaly.kind == AnomalyKind.ENUMERATION:
        return _("%(persons)s人，%(share)s没有结果") % {
            "persons": formats.number(figures.get("persons")),
            "share": formats.percent(figures.get("empty_share"), 1),
        }
    return _("%(persons)s人，%(calls)s次") % {
        "persons": formats.number(figures.get("persons")),
        "calls": formats.number(figures.get("calls")),
    }


def subject_of(anomaly: Anomaly) -> str:
    """Whose calls, as the list says it."""
    return anomaly.application or (anomaly.consumer.short_name if anomaly.consumer else anomaly.service)
