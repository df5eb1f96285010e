"""States of nodes, tasks, runs and services."""

from collections.abc import Mapping

from django.db import models
from django.utils.translation import gettext_lazy as _


class NodeKind(models.TextChoices):
    FRONT_END = "front_end", _("前置节点")
    GATEWAY = "gateway", _("查询网关")


class NodeState(models.TextChoices):
    EXPECTED = "expected", _("待接入")
    AWAITING = "awaiting", _("待核准")
    ACTIVE = "active", _("在用")
    SUSPENDED = "suspended", _("已暂停")
    RETIRED = "retired", _("已停用")


NODE_MOVES: dict[NodeState, frozenset[NodeState]] = {
    NodeState.EXPECTED: frozenset({NodeState.AWAITING, NodeState.RETIRED}),
    NodeState.AWAITING: frozenset({NodeState.ACTIVE, NodeState.EXPECTED, NodeState.RETIRED}),
    NodeState.ACTIVE: frozenset({NodeState.SUSPENDED, NodeState.RETIRED}),
    NodeState.SUSPENDED: frozenset({NodeState.ACTIVE, NodeState.RETIRED}),
    NodeState.RETIRED: frozenset(),
}


class NetworkZone(models.TextChoices):
    EXTRANET = "extranet", _("政务外网")
    INTRANET = "intranet", _("政务内网")
    PRIVATE = "private", _("业务专网")
    INTERNET = "internet", _("互联网")


class SourceState(models.TextChoices):
    UNTESTED = "untested", _("未测试")
    REACHABLE = "reachable", _("连接正常")
    UNREACHABLE = "unreachable", _("连接失败")
    RETIRED = "retired", _("已停用")


SOURCE_MOVES: dict[SourceState, frozenset[SourceState]] = {
    SourceState.UNTESTED: frozenset({SourceState.REACHABLE, SourceState.UNREACHABLE, SourceState.RETIRED}),
    SourceState.REACHABLE: frozenset({SourceState.UNREACHABLE, SourceState.UNTESTED, SourceState.RETIRED}),
    SourceState.UNREACHABLE: frozenset({SourceState.REACHABLE, SourceState.UNTESTED, SourceState.RETIRED}),
    SourceState.RETIRED: frozenset(),
}


class TaskState(models.TextChoices):
    DRAFT = "draft", _("待配置")
    ACTIVE = "active", _("运行中")
    PAUSED = "paused", _("已暂停")
    ENDED = "ended", _("已停用")


TASK_MOVES: dict[TaskState, frozenset[TaskState]] = {
    TaskState.DRAFT: frozenset({TaskState.ACTIVE, TaskState.ENDED}),
    TaskState.ACTIVE: frozenset({TaskState.PAUSED, TaskState.ENDED}),
    TaskState.PAUSED: frozenset({TaskState.ACTIVE, TaskState.ENDED}),
    TaskState.ENDED: frozenset(),
}


class RunState(models.TextChoices):
    QUEUED = "queued", _("排队")
    EXTRACTING = "extracting", _("抽取中")
    DELIVERING = "delivering", _("交付中")
    RECONCILED = "reconciled", _("已对账")
    FAILED = "failed", _("失败")
    STOPPED = "stopped", _("已停止")


RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.EXTRACTING, RunState.FAILED, RunState.STOPPED}),
    RunState.EXTRACTING: frozenset({RunState.DELIVERING, RunState.FAILED, RunState.STOPPED}),
    RunState.DELIVERING: frozenset({RunState.RECONCILED, RunState.FAILED, RunState.STOPPED}),
    RunState.RECONCILED: frozenset(),
    RunState.FAILED: frozenset({RunState.QUEUED}),
    RunState.STOPPED: frozenset(
        {RunState.QUEUED, RunState.RECONCILED}
    ),  # its batch was merged before the node heard of it
}


class RunKind(models.TextChoices):
    ORDINARY = "ordinary", _("例行")
    BACKFILL = "backfill", _("补传")  # a window of watermarks; the cursor stays
    REPLAY = "replay", _("重放")  # the window of an earlier run once more
    RELOAD = "reload", _("清空重载")
    RESUBMIT = "resubmit", _("更正重报")  # corrected rows of a quarantine


BRING_NEWS = (RunKind.ORDINARY, RunKind.RELOAD)
"""Runs that bring whatever is new at the source; the others bring a part that somebody asked for."""


class RunCause(models.TextChoices):
    HAND = "hand", _("人工")
    PLAN = "plan", _("计划")
    TASK = "task", _("前序任务")
    ARRIVAL = "arrival", _("数据到达")


class Priority(models.IntegerChoices):
    """Which of the waiting runs a node is given first."""

    LOW = 1, _("低")
    NORMAL = 2, _("普通")
    HIGH = 3, _("高")


class ApprovalState(models.TextChoices):
    ASKED = "asked", _("待签批")
    APPROVED = "approved", _("已同意")
    REFUSED = "refused", _("未同意")
    USED = "used", _("已使用")
    LAPSED = "lapsed", _("已失效")


APPROVAL_MOVES: dict[ApprovalState, frozenset[ApprovalState]] = {
    ApprovalState.ASKED: frozenset({ApprovalState.APPROVED, ApprovalState.REFUSED, ApprovalState.LAPSED}),
    ApprovalState.APPROVED: frozenset({ApprovalState.USED, ApprovalState.LAPSED}),
    ApprovalState.REFUSED: frozenset(),
    ApprovalState.USED: frozenset(),
    ApprovalState.LAPSED: frozenset(),
}


class ComparisonState(models.TextChoices):
    ASKED = "asked", _("比对中")
    SAME = "same", _("一致")
    DIFFERENT = "different", _("不一致")
    FAILED = "failed", _("未完成")


COMPARISON_MOVES: dict[ComparisonState, frozenset[ComparisonState]] = {
    ComparisonState.ASKED: frozenset({ComparisonState.SAME, ComparisonState.DIFFERENT, ComparisonState.FAILED}),
    ComparisonState.SAME: frozenset(),
    ComparisonState.DIFFERENT: frozenset(),
    ComparisonState.FAILED: frozenset(),
}


class AlertKind(models.TextChoices):
    RUN_FAILED = "run_failed", _("运行失败")
    RUN_LATE = "run_late", _("逾时未成功")
    NOTHING_MOVED = "nothing_moved", _("连续无数据")
    VOLUME_UNUSUAL = "volume_unusual", _("数据量异常")
    RECEIPT_OPEN = "receipt_open", _("回执缺对方签名")
    NODE_SILENT = "node_silent", _("节点失联")
    CLOCK_OFF = "clock_off", _("节点时钟偏差")
    DISK_LOW = "disk_low", _("节点磁盘不足")
    SLOT_GROWING = "slot_growing", _("复制槽滞留增长")
    CONTENT_DIFFERS = "content_differs", _("两侧内容不一致")
    CALLS_OFF_HOURS = "calls_off_hours", _("非工作时段查询")
    CALLS_VOLUME = "calls_volume", _("查询量异常")
    CALLS_ENUMERATION = "calls_enumeration", _("疑似遍历")
    CALLS_SAME_PERSON = "calls_same_person", _("多方查询同一人")
    CALLS_BUSY_USER = "calls_busy_user", _("一人查询过多对象")
    CALLS_SHARED_CASE = "calls_shared_case", _("一个业务编号查询多人")
    EVIDENCE_BROKEN = "evidence_broken", _("存证不成立")
    WITNESS_REFUSED = "witness_refused", _("见证节点不认存证锚")
    ANCHOR_UNWITNESSED = "anchor_unwitnessed", _("存证缺见证副署")
    EVIDENCE_SILENT = "evidence_silent", _("存证停止上送")
    RECEIPTS_CONTRADICT = "receipts_contradict", _("双方记录不一致")


OF_EVIDENCE: frozenset[AlertKind] = frozenset(
    {
        AlertKind.EVIDENCE_BROKEN,
        AlertKind.WITNESS_REFUSED,
        AlertKind.ANCHOR_UNWITNESSED,
        AlertKind.EVIDENCE_SILENT,
        AlertKind.RECEIPTS_CONTRADICT,
    }
)
"""Alerts that a record of calls may not be what happened. They go to the authority and to who audits, never only to who keeps the
gateway."""


class AlertSeverity(models.TextChoices):
    """From the mildest on; a channel takes its own and what is above."""

    NOTICE = "notice", _("提示")
    WARNING = "warning", _("警告")
    SERIOUS = "serious", _("严重")


class ChannelKind(models.TextChoices):
    MAIL = "mail", _("邮件")
    WEBHOOK = "webhook", _("网络回调")


class DeliveryState(models.TextChoices):
    WAITING = "waiting", _("待发送")
    SENT = "sent", _("已送达")
    FAILED = "failed", _("未送达")


class CommandState(models.TextChoices):
    WAITING = "waiting", _("待领取")
    TAKEN = "taken", _("办理中")
    DONE = "done", _("已完成")
    FAILED = "failed", _("失败")
    CANCELLED = "cancelled", _("已取消")


COMMAND_MOVES: dict[CommandState, frozenset[CommandState]] = {
    CommandState.WAITING: frozenset({CommandState.TAKEN, CommandState.CANCELLED}),
    CommandState.TAKEN: frozenset({CommandState.DONE, CommandState.FAILED, CommandState.CANCELLED}),
    CommandState.DONE: frozenset(),
    CommandState.FAILED: frozenset(),
    CommandState.CANCELLED: frozenset(),
}


class ErrorOwner(models.TextChoices):
    """On whose side the cause of a call that was not answered lies."""

    CONSUMER = "consumer", _("需求方")
    PROVIDER = "provider", _("提供方")
    GATEWAY = "gateway", _("网关")


class AnomalyKind(models.TextChoices):
    OFF_HOURS = "off_hours", _("非工作时段查询")
    VOLUME = "volume", _("查询量异常")
    ENUMERATION = "enumeration", _("疑似遍历")
    SAME_PERSON = "same_person", _("多方查询同一人")
    BUSY_USER = "busy_user", _("一人查询过多对象")
    SHARED_CASE = "shared_case", _("一个业务编号查询多人")


ALERT_OF: Mapping[AnomalyKind, AlertKind] = {kind: AlertKind(f"calls_{kind.value}") for kind in AnomalyKind}
"""An anomaly of calls is told as an alert of this kind, by whose rule it is found."""


class AnomalyState(models.TextChoices):
    OPEN = "open", _("待核实")
    EXPLAINED = "explained", _("属正常业务")
    MISUSE = "misuse", _("确有违规")


ANOMALY_MOVES: dict[AnomalyState, frozenset[AnomalyState]] = {
    AnomalyState.OPEN: frozenset({AnomalyState.EXPLAINED, AnomalyState.MISUSE}),
    AnomalyState.EXPLAINED: frozenset(),
    AnomalyState.MISUSE: frozenset(),
}


class SampleState(models.TextChoices):
    ASKED = "asked", _("待说明")
    OVERDUE = "overdue", _("逾期未说明")
    JUSTIFIED = "justified", _("待审核")
    ACCEPTED = "accepted", _("说明成立")
    REJECTED = "rejected", _("说明不成立")


SAMPLE_MOVES: dict[SampleState, frozenset[SampleState]] = {
    SampleState.ASKED: frozenset({SampleState.JUSTIFIED, SampleState.OVERDUE}),
    SampleState.OVERDUE: frozenset({SampleState.JUSTIFIED}),
    SampleState.JUSTIFIED: frozenset({SampleState.ACCEPTED, SampleState.REJECTED}),
    SampleState.ACCEPTED: frozenset(),
    SampleState.REJECTED: frozenset(),
}
