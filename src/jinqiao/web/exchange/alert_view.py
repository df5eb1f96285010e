"""Alerts in words: what was found, by the counts and times that the rule noted."""

from collections.abc import Mapping
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.accounts.models import Post
from jinqiao.exchange import rules
from jinqiao.exchange.enums import ALERT_OF, AlertKind, AlertSeverity
from jinqiao.exchange.models import Alert
from jinqiao.exchange.queries.alerts import Rule, parameters_of
from jinqiao.kernel.errors import error_texts
from jinqiao.web import formats
from jinqiao.web.components import Pair, Text, Tone
from jinqiao.web.errors import language
from jinqiao.web.exchange import anomaly_view
from jinqiao.web.exchange.words import PARAMETERS
from jinqiao.web.navigation import url_of

TONES: Mapping[str, Tone] = {
    AlertSeverity.NOTICE.value: "run",
    AlertSeverity.WARNING.value: "warn",
    AlertSeverity.SERIOUS.value: "bad",
}
MEANINGS: Mapping[str, Text] = {
    AlertKind.RUN_FAILED.value: gettext_lazy("运行失败，且不再自动重试。到运行页看原因和处理办法。"),
    AlertKind.RUN_LATE.value: gettext_lazy(
        "过了计划时间和容许的迟到，仍没有一次成功的运行。看任务是否暂停、节点是否在线、上一次运行是否还没完。"
    ),
    AlertKind.NOTHING_MOVED.value: gettext_lazy("连续多次运行都没有一行变化。核对来源是否还在更新，水位列是否选对。"),
    AlertKind.VOLUME_UNUSUAL.value: gettext_lazy(
        "这次的行数与往常相差太远。核对来源是否重复装载或清空过，确认无误可记为知悉。"
    ),
    AlertKind.RECEIPT_OPEN.value: gettext_lazy("发送方已签回执，接收方还没有签。看接收节点是否在线、目标库是否可写。"),
    AlertKind.NODE_SILENT.value: gettext_lazy("节点很久没有联系平台。检查节点进程、网络和时钟；恢复后自动续传。"),
    AlertKind.CLOCK_OFF.value: gettext_lazy("节点的时钟与平台相差太大，签名和时间戳会被拒。校准那台机器的时钟。"),
    AlertKind.DISK_LOW.value: gettext_lazy("节点暂存区余量不足，新的运行会停在落地。清理磁盘或加大预算。"),
    AlertKind.SLOT_GROWING.value: gettext_lazy(
        "来源库为本任务保留的日志越积越多，会占满来源库的磁盘。恢复任务运行，或停用任务以释放复制槽。"
    ),
    AlertKind.CONTENT_DIFFERS.value: gettext_lazy(
        "两侧内容不一致。看比对时来源是否还在变，目标表是否被别的程序改过；需要时申请清空重载。"
    ),
    **{alert.value: anomaly_view.MEANINGS[kind.value] for kind, alert in ALERT_OF.items()},
}
"""What an alert of a kind means and what to look at."""
_DETAILS: Mapping[str, Text] = {
    "rows": gettext_lazy("行数"),
    "usual_low": gettext_lazy("往常最少"),
    "usual_high": gettext_lazy("往常最多"),
    "runs": gettext_lazy("连续次数"),
    "since": gettext_lazy("自"),
    "expected_at": gettext_lazy("应于"),
    "handed_over_at": gettext_lazy("移交时间"),
    "receiver": gettext_lazy("接收节点"),
    "seen_at": gettext_lazy("最近联系"),
    "offset_s": gettext_lazy("偏差（秒）"),
    "free_bytes": gettext_lazy("余量"),
    "retained_bytes": gettext_lazy("滞留日志"),
    "is_active": gettext_lazy("正被读取"),
    "slot": gettext_lazy("复制槽"),
    "comparison": gettext_lazy("比对编号"),
    "provider_rows": gettext_lazy("提供方行数"),
    "consumer_rows": gettext_lazy("接收方行数"),
}


_MOMENTS = frozenset({"since", "expected_at", "handed_over_at", "seen_at"})


def detail_pairs(alert: Alert) -> list[Pair]:
    """The counts and times that the rule noted."""
    if alert.anomaly is not None:
        return anomaly_view.figure_pairs(alert.anomaly)
    pairs = []
    for name, value in alert.details.items():
        if name == "code":
            pairs.append(Pair(_("问题"), _problem(str(value)), str(value), wide=True))
        elif name.endswith("_bytes") and isinstance(value, int):
            pairs.append(Pair(_DETAILS.get(name, name), formats.size(value)))
        elif isinstance(value, bool):
            pairs.append(Pair(_DETAILS.get(name, name), _("是") if value else _("否")))
        elif name in _MOMENTS:
            pairs.append(Pair(_DETAILS[name], formats.moment(datetime.fromisoformat(str(value)))))
        elif isinstance(value, int | float):
            pairs.append(Pair(_DETAILS.get(name, name), formats.number(value)))
        else:
            pairs.append(Pair(_DETAILS.get(name, name), str(value), code=True))
    return pairs


class _Unnamed(dict[str, str]):
    """Details of an error are not part of an alert: … stands for them."""

    def __missing__(self, key: str) -> str:
        return "…"


def _problem(code: str) -> str:
    text = error_texts().get(code)
    if text is None:
        return code
    return text["message" if language() == "zh" else "message_en"].format_map(_Unnamed())


def about(alert: Alert) -> Pair:
    """What it is about, with the page of it."""
    if alert.run is not None:
        return Pair(_("运行"), alert.run.number, url=url_of("exchange:run", alert.run_id), code=True)
    if alert.task is not None:
        return Pair(_("任务"), alert.task.grant.version.name, url=url_of("exchange:task", alert.task_id))
    if alert.node is not None:
        return Pair(_("节点"), alert.node.name, url=url_of("exchange:node", alert.node_id))
    if alert.anomaly is not None:
        name = alert.anomaly.service or alert.anomaly.application or anomaly_view.headline(alert.anomaly)
        return Pair(
            _("调用异常"), name, url=url_of("exchange:anomaly", alert.anomaly_id), code=bool(alert.anomaly.service)
        )
    return Pair(_("事项"), alert.key, code=True)


def may_see(alert: Alert, post: Post) -> bool:
    return alert.seen_at is None and rules.may(rules.check_may_see_alert, post, alert)


def is_of_calls(kind: AlertKind) -> bool:
    return kind in ALERT_OF.values()


def parameter_label(kind: AlertKind, name: str) -> Text:
    """What a number of a rule is called."""
    return (anomaly_view.NUMBERS if is_of_calls(kind) else PARAMETERS).get(name, name)


def rule_numbers(rule: Rule) -> str:
    """容许迟到（秒）3,600；…."""
    parts = [
        f"{parameter_label(rule.kind, parameter.name)} {formats.number(rule.number(parameter.name))}"
        for parameter in parameters_of(rule.kind)
    ]
    return _("；").join(parts)
