"""Words of movement that stand on several pages: plans, ways, consistency, what a run waits for."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.exchange.models import ExchangeTask, SourceLimits
from jinqiao.kernel.catalogues import check_catalogue, transform_catalogue
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, DriftChoice, LedgerPlace, Reconcile, Stage
from jinqiao.web import formats
from jinqiao.web.components import Text

STAGES: Mapping[Stage, Text] = {
    Stage.EXTRACT: gettext_lazy("抽取"),
    Stage.STAGE: gettext_lazy("落地"),
    Stage.CHECK: gettext_lazy("检查"),
    Stage.HAND_OVER: gettext_lazy("移交"),
    Stage.DELIVER: gettext_lazy("交付"),
    Stage.RECONCILE: gettext_lazy("对账"),
    Stage.RECEIPT: gettext_lazy("回执"),
}
WEEKDAYS: tuple[Text, ...] = (
    gettext_lazy("周一"),
    gettext_lazy("周二"),
    gettext_lazy("周三"),
    gettext_lazy("周四"),
    gettext_lazy("周五"),
    gettext_lazy("周六"),
    gettext_lazy("周日"),
)
SEVERITIES: Mapping[str, Text] = {
    "warn": gettext_lazy("提醒，照常交付"),
    "quarantine": gettext_lazy("隔离这一行"),
    "stop": gettext_lazy("终止运行"),
}
WAITS: Mapping[str, Text] = {
    "window": gettext_lazy("等允许读取的时段"),
    "resume": gettext_lazy("已暂停，等人继续"),
    "platform": gettext_lazy("等平台网络恢复"),
}
_MODES: Mapping[str, Text] = {
    CopyMode.FULL.value: gettext_lazy("每次读取全部授权行"),
    CopyMode.WATERMARK.value: gettext_lazy("只读取水位之后新增和改动的行"),
    CopyMode.DIFF.value: gettext_lazy("与上次交付的状态比对，只送变化，能发现删除"),
    CopyMode.LOG.value: gettext_lazy("读取数据库的变更日志，按发生次序送变化"),
}
_DELIVERIES: Mapping[str, Text] = {
    Delivery.MIRROR.value: gettext_lazy("目标表与授权范围完全一致，来源删除的行也删除"),
    Delivery.UPSERT.value: gettext_lazy("按主键更新或插入，目标表的行不删除"),
    Delivery.APPEND.value: gettext_lazy("每一行都追加到目标表"),
    Delivery.HISTORY.value: gettext_lazy("每次变化留一个版本，标明起止时间，不覆盖旧值"),
    Delivery.RELOAD.value: gettext_lazy("清空目标表后重新装入"),
}


def schedule_words(schedule: str) -> str:
    """A plan as people say it: 每天22:00, 每周一22:00, 每月5日22:00, and cron expressions as they are."""
    words = schedule.split()
    if not words:
        return _("不定期")
    kind = words[0]
    if kind == "cron":
        return _("按cron表达式 %(fields)s") % {"fields": " ".join(words[1:])}
    if kind == "hourly":
        return _("每小时")
    if kind == "daily":
        return _("每天%(at)s") % {"at": words[1]}
    if kind == "weekly":
        return _("每%(day)s%(at)s") % {"day": WEEKDAYS[int(words[1]) - 1], "at": words[2]}
    return _("每月%(day)s日%(at)s") % {"day": int(words[1]), "at": words[2]}


def start_words(task: ExchangeTask) -> list[str]:
    """Everything that starts the task, each on its line."""
    lines = [schedule_words(task.schedule)] if task.schedule else []
    if task.after_task is not None:
        lines.append(_("任务%(number)s对账之后") % {"number": task.after_task.number})
    if task.on_arrival:
        lines.append(_("来源通知有新数据时"))
    return lines or [_("不定期，由人启动")]


def way_words(mode: str, delivery: str) -> str:
    """读取…；交付…: what a run does, in one sentence."""
    return _("%(reading)s；%(delivery)s") % {
        "reading": _MODES.get(mode, mode),
        "delivery": _DELIVERIES.get(delivery, delivery),
    }


def drift_words(task: ExchangeTask) -> str:
    if task.drift == DriftChoice.ADAPT:
        return _("随结构调整：目标表补列、加宽；来源不再有的列送空值")
    return _("先停下并说明变了什么，不读取、不改动数据")


def ledger_words(task: ExchangeTask) -> str:
    if task.ledger == LedgerPlace.NODE:
        return _("台账在接收节点：中断后可能重送一批，至少一次")
    return _("数据与台账同一事务写入目标库：恰好一次")


def reconcile_words(task: ExchangeTask) -> str:
    if task.reconcile == Reconcile.CONTENT:
        return _("每块摘要与行数，并在运行后两侧重读、逐内容比对")
    return _("每块摘要与行数")


def limit_words(rows_per_s: int | None, mb_per_s: float | None) -> str:
    parts = []
    if rows_per_s:
        parts.append(_("%(rows)s行/秒") % {"rows": formats.number(rows_per_s)})
    if mb_per_s:
        parts.append(_("%(size)s MB/秒") % {"size": formats.number(mb_per_s)})
    return _("，").join(parts) or _("不限速")


def window_words(windows: list[dict[str, Any]]) -> str:
    """22:00至次日06:00、12:00至13:30; empty: at any hour."""
    texts = [
        (_("%(since)s至次日%(until)s") if window["until"] < window["since"] else _("%(since)s至%(until)s")) % window
        for window in windows
    ]
    return _("、").join(texts) or _("全天")


def protection_words(limits: SourceLimits | None) -> list[str]:
    """How the provider wants its source spared, each on its line."""
    if limits is None:
        return [_("提供方没有设限：全天可读，一个读取连接")]
    return [
        _("限速：%(limit)s") % {"limit": limit_words(limits.rows_per_s, limits.mb_per_s)},
        _("时段：%(windows)s") % {"windows": window_words(limits.windows)},
        _("并行读取最多%(count)s个，语句最长%(time)s")
        % {"count": limits.parallel, "time": formats.duration(limits.statement_timeout_s)},
    ]


def snapshot_words(snapshot: str) -> str:
    """How the rows of a run belong together, from what the node calls it in its database's terms."""
    if not snapshot:
        return ""
    text = snapshot.lower()
    if "file" in text:
        return _("同一份文件")
    if "page" in text:
        return _("逐页读取，不是同一时刻")
    if "statement" in text:
        return _("同一条查询语句")
    if "log" in text or "slot" in text:
        return _("变更日志，按提交次序")
    return _("同一快照")


def titled(entry: Mapping[str, Any], name: str = "title") -> str:
    """A word of the catalogues in the reader's language."""
    return str(entry[f"{name}_en"] if formats.is_english() and f"{name}_en" in entry else entry.get(name, ""))


def check_word(check: str) -> str:
    """The name of a check; its code where the catalogue does not know it."""
    entry = check_catalogue().get(check)
    return titled(entry) if entry else check


def transform_word(kind: str, operation: str = "") -> str:
    entry = transform_catalogue().get(operation or kind)
    return titled(entry) if entry else (operation or kind)


def parameter_words(entry: Mapping[str, Any] | None, given: Mapping[str, Any]) -> str:
    """最少字符数 2；最多字符数 50."""
    known = entry.get("parameters", {}) if entry else {}
    parts = []
    for name, value in given.items():
        if name == "operation":
            continue
        label = titled(known[name]) if name in known else name
        parts.append(f"{label} {value_words(value, known.get(name, {}))}")
    return _("；").join(parts)


def value_words(value: Any, parameter: Mapping[str, Any] | None = None) -> str:
    if isinstance(value, bool):
        return _("是") if value else _("否")
    if isinstance(value, dict):
        return _("、").join(f"{key}→{_('空') if inner is None else inner}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return _("、").join(str(inner) for inner in value)
    if parameter and parameter.get("type") == "choice":
        return str(CHOICES.get(str(value), value))
    return str(value)


CHOICES: Mapping[str, Text] = {
    "eq": gettext_lazy("等于"), "ne": gettext_lazy("不等于"), "lt": gettext_lazy("小于"), "le": gettext_lazy("不大于"),
    "gt": gettext_lazy("大于"), "ge": gettext_lazy("不小于"),
    "refuse": gettext_lazy("不通过检查"), "null": gettext_lazy("置为空值"), "keep": gettext_lazy("保留原值"),
    "default": gettext_lazy("用默认值"),
    "consumer": gettext_lazy("同一使用方"), "grant": gettext_lazy("同一授权"),
    "upper": gettext_lazy("大写"), "lower": gettext_lazy("小写"),
    "year": gettext_lazy("年"), "month": gettext_lazy("月"), "day": gettext_lazy("日"), "quarter": gettext_lazy("季度"),
    "weekday": gettext_lazy("星期"), "hour": gettext_lazy("时"),
    "number": gettext_lazy("号码"), "birth_date": gettext_lazy("出生日期"), "sex": gettext_lazy("性别"),
    "division": gettext_lazy("行政区划"),
    "add": gettext_lazy("相加"), "subtract": gettext_lazy("相减"), "multiply": gettext_lazy("相乘"),
    "divide": gettext_lazy("相除"),
}  # fmt: skip
"""Words of the choices that parameters of checks and transforms offer; a choice without one stands as it is."""

PARAMETERS: Mapping[str, Text] = {
    "tolerance_s": gettext_lazy("容许迟到（秒）"),
    "runs": gettext_lazy("连续次数"),
    "days": gettext_lazy("至少跨越天数"),
    "factor": gettext_lazy("偏离倍数"),
    "history": gettext_lazy("参照的运行次数"),
    "least_history": gettext_lazy("至少有这么多次才判断"),
    "least_share": gettext_lazy("偏离中位数的最低比例"),
    "after_s": gettext_lazy("超过（秒）"),
    "offset_s": gettext_lazy("偏差超过（秒）"),
    "free_bytes": gettext_lazy("余量少于（字节）"),
    "retained_bytes": gettext_lazy("滞留多于（字节）"),
    "waiting_s": gettext_lazy("记录待送超过（秒）"),
    "quiet_s": gettext_lazy("在线而无记录超过（秒）"),
    "least_calls": gettext_lazy("至少有这么多次才告警"),
    "watched_days": gettext_lazy("观察天数"),
    "grace_s": gettext_lazy("回执先到的等待时间（秒）"),
}
"""Numbers of alert rules."""
