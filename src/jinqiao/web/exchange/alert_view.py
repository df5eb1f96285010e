"""Alerts in words: what was found, by the counts and times that the rule noted."""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.accounts.models import Post
from jinqiao.exchange import rules
from jinqiao.exchange.actions import mail_way
from jinqiao.exchange.actions.alerting import CLOSED_BECAUSE, GATEWAY_RETIRED, WITNESS_RETIRED
from jinqiao.exchange.enums import ALERT_OF, AlertKind, AlertSeverity
from jinqiao.exchange.models import Alert
from jinqiao.exchange.queries.alerts import Rule, parameters_of
from jinqiao.kernel import hosts
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
    AlertKind.RUN_FAILED.value: gettext_lazy("运行失败且不再自动重试，或者无法启动。到运行或任务页看原因和处理办法。"),
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
    AlertKind.EVIDENCE_BROKEN.value: gettext_lazy(
        "网关上送的调用记录或存证锚与平台已存的链不符，平台没有接收。请审计人员介入：保全网关现场，导出两侧存证包用jinqiao verify核对。网关从已存的链继续上送，或者网关停用后，自动解除，历史和留痕保留。"
    ),
    AlertKind.WITNESS_REFUSED.value: gettext_lazy(
        "其他部门的见证节点认为这个存证锚与它此前见过的不符，或者它的副署不成立。比对见证节点的记录（jinqiao verify --anchors），查明是哪一方改动过。只有该节点重新副署后续的锚，或者网关停用，才自动解除。"
    ),
    AlertKind.ANCHOR_UNWITNESSED.value: gettext_lazy(
        "调用记录久未经其他部门节点副署，这段时间的记录只有平台和网关自己作证。看有没有其他部门的前置节点在线，网关页的“存证锚”有没有停。副署补上后自动解除。"
    ),
    AlertKind.EVIDENCE_SILENT.value: gettext_lazy(
        "网关与平台保持联系，却没有按时上送调用记录。到网关页看待送批次和最近记录，查网关日志中上送失败的原因；确实没有调用的，可记为知悉。恢复上送后自动解除。"
    ),
    AlertKind.RECEIPTS_CONTRADICT.value: gettext_lazy(
        "需求方应用留存的记录与网关的记录不一致：应答不同，或者应用得到过的应答网关没有记录。从“调用”逐条核对，向需求方调取应答和盐值，用jinqiao verify判定。超过观察天数没有新的不一致，告警解除；调用仍标为不一致。"
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
    "lane": gettext_lazy("存证通道"),
    "batch": gettext_lazy("存证批次"),
    "witness": gettext_lazy("见证节点"),
    "witnesses": gettext_lazy("可作见证的节点"),
    "received_at": gettext_lazy("最近收到记录"),
    "application": gettext_lazy("应用"),
    "contradicted": gettext_lazy("应答不同的调用"),
    "unmatched": gettext_lazy("网关无记录的回执"),
    "waiting": gettext_lazy("待送批次"),
    "recorded_at": gettext_lazy("网关最近记录"),
}
_REASONS: Mapping[str, Text] = {
    "empty": gettext_lazy("批次为空或编号不合规定"),
    "rewritten": gettext_lazy("已接收的批次换了内容再次上送"),
    "previous": gettext_lazy("与上一批的链值不衔接"),
    "root": gettext_lazy("默克尔根与记录不符"),
    "chain": gettext_lazy("链值不成立"),
    "record": gettext_lazy("记录的内容、编号或归属不成立"),
    "provider": gettext_lazy("记录涉及其他部门的数据或授权"),
    "call_id": gettext_lazy("调用编号已在别的记录中"),
    "anchor": gettext_lazy("存证锚与已接收的批次不符，或签名不成立"),
    "countersignature": gettext_lazy("见证节点的副署不成立"),
}

_CLOSINGS: Mapping[str, Text] = {
    GATEWAY_RETIRED: gettext_lazy("网关已停用，不会再上送；原来的问题仍在案"),
    WITNESS_RETIRED: gettext_lazy("见证节点已停用，不会再表态；原来的问题仍在案"),
}

_MOMENTS = frozenset({"since", "expected_at", "handed_over_at", "seen_at", "received_at", "recorded_at"})


def detail_pairs(alert: Alert) -> list[Pair]:
    """The counts and times that the rule noted."""
    if alert.anomaly is not None:
        return anomaly_view.figure_pairs(alert.anomaly)
    pairs = []
    for name, value in alert.details.items():
        if name == "code":
            pairs.append(Pair(_("问题"), _problem(str(value)), str(value), wide=True))
        elif name == CLOSED_BECAUSE:
            pairs.append(Pair(_("解除原因"), _CLOSINGS.get(str(value), str(value)), wide=True))
        elif name == "reason":
            pairs.append(Pair(_("原因"), _REASONS.get(str(value), str(value)), wide=True))
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
    if alert.kind == AlertKind.RECEIPTS_CONTRADICT:
        return Pair(_("调用"), alert.details.get("application", ""), url=_contradicted(alert), code=True)
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


def _contradicted(alert: Alert) -> str:
    """The calls of it: those answered otherwise; where there are none, the receipts without a call."""
    pairing = "contradicted" if alert.details.get("contradicted") else "unmatched"
    query = {"application": alert.details.get("application", ""), "pairing": pairing}
    return f"{url_of('exchange:calls')}?{urlencode(query)}"


def mail_notice() -> str:
    """What keeps mail from leaving, and what is to be done; empty where nothing does."""
    way = mail_way()
    if way == "off":
        return _(
            "平台没有配置外发邮件，邮件通道发不出去。由系统管理员设置JINQIAO_MAIL（例如smtp+tls://账号:口令@主机:587）和JINQIAO_MAIL_FROM，重启平台后用“发送测试”确认。"
        )
    if way in ("file", "console"):
        return _(
            "平台的邮件只写在本机，没有外发。由系统管理员把JINQIAO_MAIL改为邮件服务器的地址，重启平台后用“发送测试”确认。"
        )
    return ""


def hosts_hint() -> str:
    """Which hosts may be named, as the platform's list stands."""
    listed = hosts.reachable_hosts()
    if not listed:
        return _(
            "许可名单是空的，现在任何主机都不能填；由系统管理员在JINQIAO_REACHABLE_HOSTS里列出主机名或地址段（逗号分开），重启平台后生效"
        )
    return _("许可名单：%(hosts)s") % {"hosts": _("、").join(listed)}


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
