"""States of nodes, tasks, runs and services."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class NodeKind(models.TextChoices):
    FRONT_END = "front_end", _("前置节点")
    GATEWAY = "gateway", _("查询网关")


class NodeState(models.TextChoices):
    EXPECTED = "expected", _("待接入")
    ACTIVE = "active", _("在用")
    SUSPENDED = "suspended", _("已暂停")
    RETIRED = "retired", _("已停用")


NODE_MOVES: dict[NodeState, frozenset[NodeState]] = {
    NodeState.EXPECTED: frozenset({NodeState.ACTIVE, NodeState.RETIRED}),
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


SOURCE_MOVES: dict[SourceState, frozenset[SourceState]] = {
    SourceState.UNTESTED: frozenset({SourceState.REACHABLE, SourceState.UNREACHABLE}),
    SourceState.REACHABLE: frozenset({SourceState.UNREACHABLE, SourceState.UNTESTED}),
    SourceState.UNREACHABLE: frozenset({SourceState.REACHABLE, SourceState.UNTESTED}),
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
    RunState.STOPPED: frozenset({RunState.QUEUED}),
}


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
