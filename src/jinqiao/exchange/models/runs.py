"""Executions of tasks: their stages, commands to nodes, chunks on their way, receipts, comparisons of contents."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Post
from jinqiao.exchange.enums import CommandState, ComparisonState, RunCause, RunKind, RunState
from jinqiao.exchange.models.nodes import Node
from jinqiao.exchange.models.sources import DataSource
from jinqiao.exchange.models.tasks import COPY_MODES, ExchangeTask, ReloadApproval


class Run(models.Model):
    """One execution of an exchange task."""

    number = models.CharField(_("运行编号"), max_length=60, unique=True)  # RUN-20260318-0041
    task = models.ForeignKey(ExchangeTask, models.PROTECT, related_name="runs", verbose_name=_("任务"))
    kind = models.CharField(_("类别"), max_length=12, choices=RunKind, default=RunKind.ORDINARY)
    state = models.CharField(_("状态"), max_length=12, choices=RunState, default=RunState.QUEUED)
    mode = models.CharField(_("方式"), max_length=10, choices=COPY_MODES)
    attempt = models.PositiveIntegerField(_("次数"), default=1)
    order = models.JSONField(_("指令"), default=dict)  # SignedMessage of an ExchangeOrder
    manifest = models.JSONField(_("批清单"), default=dict)  # BatchManifest
    window_since = models.CharField(_("窗口起"), max_length=300, blank=True)  # backfill: watermarks after this
    window_until = models.CharField(_("窗口止"), max_length=300, blank=True)  # backfill: up to this, included
    reload_approval = models.OneToOneField(
        ReloadApproval, models.PROTECT, null=True, blank=True, related_name="run", verbose_name=_("清空重载签批")
    )
    resubmits = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="resubmissions", verbose_name=_("更正自运行")
    )
    progress = models.JSONField(_("进度"), default=dict)  # stage → Progress
    samples = models.JSONField(_("进度采样"), default=list, blank=True)  # [ISO time, stage, rows, bytes], oldest first
    counts = models.JSONField(_("交付结果"), default=dict)  # DeliveryCounts
    seconds = models.JSONField(_("用时"), default=dict)
    problem = models.JSONField(_("问题"), default=dict)  # Problem
    rows = models.PositiveBigIntegerField(_("行数"), null=True, blank=True)
    rows_read = models.PositiveBigIntegerField(_("读取行数"), null=True, blank=True)
    rows_quarantined = models.PositiveBigIntegerField(_("隔离行数"), default=0)
    rows_deleted = models.PositiveBigIntegerField(_("删除行数"), default=0)
    bytes = models.PositiveBigIntegerField(_("字节数"), null=True, blank=True)  # of the encrypted chunks
    snapshot = models.CharField(_("一致性"), max_length=100, blank=True)  # as the manifest says
    readers = models.PositiveSmallIntegerField(_("并行读取数"), null=True, blank=True)
    resumed = models.PositiveIntegerField(_("续传次数"), default=0)
    triggered_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("发起岗位")
    )
    cause = models.CharField(_("缘由"), max_length=10, choices=RunCause, default=RunCause.HAND)
    queued_at = models.DateTimeField(_("排队时间"))
    retry_at = models.DateTimeField(_("自动重试时间"), null=True, blank=True)
    paused_at = models.DateTimeField(_("暂停时间"), null=True, blank=True)
    paused_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("暂停岗位")
    )
    started_at = models.DateTimeField(_("开始时间"), null=True, blank=True)
    finished_at = models.DateTimeField(_("结束时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("运行")
        verbose_name_plural = _("运行")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["state", "retry_at"], name="run_state_retry"),
            models.Index(fields=["task", "state", "finished_at"], name="run_task_state_finished"),
            models.Index(fields=["queued_at"], name="run_queued"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["task"],
                condition=Q(state__in=["queued", "extracting", "delivering"]),
                name="run_one_live_per_task",
            ),
        ]

    def __str__(self) -> str:
        return self.number


class ExchangeReceipt(models.Model):
    """The receipt of a run with both signatures over the same bytes."""

    run = models.OneToOneField(Run, models.PROTECT, related_name="receipt", verbose_name=_("运行"))
    body = models.JSONField(_("回执"))  # kernel Receipt
    batch_digest = models.CharField(_("批摘要"), max_length=128)
    sender = models.ForeignKey(Node, models.PROTECT, related_name="+", verbose_name=_("发送方节点"))
    sender_key_id = models.CharField(max_length=64)
    sender_signature = models.TextField(_("发送方签名"))
    receiver = models.ForeignKey(Node, models.PROTECT, related_name="+", verbose_name=_("接收方节点"))
    receiver_key_id = models.CharField(max_length=64, blank=True)
    receiver_signature = models.TextField(_("接收方签名"), blank=True)
    completed_at = models.DateTimeField(_("完成时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("回执")
        verbose_name_plural = _("回执")

    def __str__(self) -> str:
        return self.batch_digest[:16]


class NodeCommand(models.Model):
    """A command waiting for, or answered by, a node."""

    number = models.CharField(
        _("指令编号"), max_length=40, unique=True
    )  # random: a node's ledger outlives a reset platform
    node = models.ForeignKey(Node, models.PROTECT, related_name="commands", verbose_name=_("节点"))
    kind = models.CharField(_("类别"), max_length=20)  # CommandKind
    state = models.CharField(_("状态"), max_length=10, choices=CommandState, default=CommandState.WAITING)
    run = models.ForeignKey(Run, models.PROTECT, null=True, blank=True, related_name="commands", verbose_name=_("运行"))
    source = models.ForeignKey(
        DataSource, models.PROTECT, null=True, blank=True, related_name="commands", verbose_name=_("数据源")
    )
    comparison = models.ForeignKey(
        "exchange.Comparison",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="commands",
        verbose_name=_("内容比对"),
    )
    body = models.JSONField(_("指令"))  # SignedMessage of a Command
    result = models.JSONField(_("结果"), default=dict)
    attempt = models.PositiveIntegerField(_("次数"), default=1)
    created_at = models.DateTimeField(_("下达时间"))
    taken_at = models.DateTimeField(_("领取时间"), null=True, blank=True)
    finished_at = models.DateTimeField(_("完成时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("节点指令")
        verbose_name_plural = _("节点指令")
        ordering = ["id"]
        indexes = [models.Index(fields=["node", "state"], name="command_node_state")]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"


class RelayChunk(models.Model):
    """A chunk that the platform relays: ciphertext for the consumer's node, which the platform cannot read."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="relay_chunks", verbose_name=_("运行"))
    number = models.PositiveIntegerField(_("分块"))
    size_bytes = models.PositiveBigIntegerField(_("大小"))
    digest = models.CharField(_("摘要"), max_length=128)
    path = models.CharField(max_length=300)
    received_at = models.DateTimeField(_("收到时间"))
    fetched_at = models.DateTimeField(_("取走时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("中转分块")
        verbose_name_plural = _("中转分块")
        ordering = ["run_id", "number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="relay_chunk_once_per_run")]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.number}"


class Comparison(models.Model):
    """Contents of both sides read again and compared by digest: asked for by hand, by a plan, or after a run."""

    number = models.CharField(_("比对编号"), max_length=60, unique=True)
    task = models.ForeignKey(ExchangeTask, models.PROTECT, related_name="comparisons", verbose_name=_("任务"))
    run = models.ForeignKey(
        Run, models.PROTECT, null=True, blank=True, related_name="comparisons", verbose_name=_("运行")
    )
    state = models.CharField(_("状态"), max_length=10, choices=ComparisonState, default=ComparisonState.ASKED)
    provider = models.JSONField(_("提供方内容"), default=dict)  # kernel ContentDigest
    consumer = models.JSONField(_("接收方内容"), default=dict)
    problem = models.JSONField(_("问题"), default=dict)  # kernel Problem
    asked_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("发起岗位")
    )
    asked_at = models.DateTimeField(_("发起时间"))
    finished_at = models.DateTimeField(_("结束时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("内容比对")
        verbose_name_plural = _("内容比对")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["task"], condition=Q(state="asked"), name="comparison_one_open_per_task")
        ]

    def __str__(self) -> str:
        return self.number
