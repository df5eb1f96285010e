"""Standing orders, and what they need beside themselves."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Post
from jinqiao.exchange.enums import ApprovalState, Priority, TaskState
from jinqiao.exchange.models.sources import DataSource
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, DriftChoice, LedgerPlace, Reconcile
from jinqiao.sharing.models import Grant
from jinqiao.workflow.models import SignOff

COPY_MODES = [
    (CopyMode.FULL.value, _("全量")),
    (CopyMode.WATERMARK.value, _("增量（水位）")),
    (CopyMode.DIFF.value, _("增量（比对）")),
    (CopyMode.LOG.value, _("增量（变更日志）")),
]
DELIVERIES = [
    (Delivery.MIRROR.value, _("镜像（含删除）")),
    (Delivery.UPSERT.value, _("更新插入（不删除）")),
    (Delivery.APPEND.value, _("追加")),
    (Delivery.HISTORY.value, _("保留历史版本")),
]
DRIFT_CHOICES = [
    (DriftChoice.REFUSE.value, _("停止并说明")),
    (DriftChoice.ADAPT.value, _("随结构调整")),
]
LEDGER_PLACES = [
    (LedgerPlace.TARGET.value, _("目标库内（恰好一次）")),
    (LedgerPlace.NODE.value, _("接收节点（至少一次）")),
]
RECONCILES = [
    (Reconcile.COUNTS.value, _("计数与摘要")),
    (Reconcile.CONTENT.value, _("逐内容比对")),
]


class ExchangeTask(models.Model):
    """The standing order of one batch grant."""

    number = models.CharField(_("任务编号"), max_length=40, unique=True)
    grant = models.OneToOneField(Grant, models.PROTECT, related_name="exchange_task", verbose_name=_("授权"))
    mode = models.CharField(_("方式"), max_length=10, choices=COPY_MODES, default=CopyMode.FULL.value)
    delivery = models.CharField(_("交付方式"), max_length=10, choices=DELIVERIES, default=Delivery.MIRROR.value)
    target = models.ForeignKey(
        DataSource, models.PROTECT, null=True, blank=True, related_name="incoming_tasks", verbose_name=_("目标数据源")
    )
    target_table = models.CharField(_("目标表"), max_length=200, blank=True)
    target_names = models.JSONField(_("目标列名"), default=dict, blank=True)  # item code → column, where it differs
    create_target = models.BooleanField(_("没有目标表时建立"), default=True)
    drift = models.CharField(_("结构变化时"), max_length=10, choices=DRIFT_CHOICES, default=DriftChoice.REFUSE.value)
    expected_columns = models.JSONField(_("来源列"), default=list, blank=True)  # kernel Column, when it was configured
    ledger = models.CharField(_("台账位置"), max_length=10, choices=LEDGER_PLACES, default=LedgerPlace.TARGET.value)
    reconcile = models.CharField(_("对账"), max_length=10, choices=RECONCILES, default=Reconcile.COUNTS.value)
    compare_schedule = models.CharField(_("内容比对计划"), max_length=120, blank=True)
    next_compare_at = models.DateTimeField(_("下次内容比对"), null=True, blank=True)
    schedule = models.CharField(_("计划"), max_length=120, blank=True)  # see exchange.schedules
    planned_since = models.DateTimeField(
        _("计划起算"), null=True, blank=True
    )  # times of the plan before this were not missed: it was set, moved or resumed then
    next_run_at = models.DateTimeField(_("下次运行"), null=True, blank=True)
    after_task = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="followers", verbose_name=_("接在任务之后")
    )
    on_arrival = models.BooleanField(_("来源有新数据即运行"), default=False)
    is_due = models.BooleanField(
        _("等待运行"), default=False
    )  # asked for by another task or an arrival while one was live
    due_after = models.DateTimeField(_("最早再试"), null=True, blank=True)  # a wish that could not start is tried then
    priority = models.PositiveSmallIntegerField(_("优先级"), choices=Priority, default=Priority.NORMAL)
    max_attempts = models.PositiveSmallIntegerField(_("最多尝试次数"), default=5)
    back_off_s = models.PositiveIntegerField(_("首次重试等待（秒）"), default=30)
    state = models.CharField(_("状态"), max_length=10, choices=TaskState, default=TaskState.DRAFT)
    resumes_with_grant = models.BooleanField(_("随授权恢复"), default=False)  # paused because its grant was suspended
    cursor = models.CharField(_("水位"), max_length=300, blank=True)
    overlap_s = models.PositiveIntegerField(_("回看秒数"), default=300)
    slot = models.CharField(_("复制槽"), max_length=63, blank=True)  # LOG: replication slot at the source
    rows_per_s = models.PositiveIntegerField(_("限速（行/秒）"), null=True, blank=True)
    mb_per_s = models.FloatField(_("限速（MB/秒）"), null=True, blank=True)
    chunk_rows = models.PositiveIntegerField(_("分块行数"), default=100_000)
    checks = models.JSONField(_("检查规则"), default=list)
    checks_chosen = models.BooleanField(_("检查规则由人设定"), default=False)  # else they follow from the catalogue
    quarantine_limit = models.FloatField(_("隔离上限（占比）"), default=0.01)
    created_at = models.DateTimeField(_("建立时间"))

    class Meta:
        verbose_name = _("交换任务")
        verbose_name_plural = _("交换任务")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(quarantine_limit__gte=0) & Q(quarantine_limit__lte=1), name="task_quarantine_limit_is_share"
            )
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def appends_changes(self) -> bool:
        """Adds what is new from its cursor on: rows that are brought another time stand there twice."""
        return self.delivery == Delivery.APPEND and self.mode != CopyMode.FULL


class ReloadApproval(models.Model):
    """Leave to empty a target table and load it anew: asked for, signed by the consumer's administrator, used once."""

    number = models.CharField(_("编号"), max_length=40, unique=True)
    task = models.ForeignKey(ExchangeTask, models.PROTECT, related_name="reload_approvals", verbose_name=_("任务"))
    reason = models.CharField(_("理由"), max_length=300)
    content = models.JSONField(_("签批内容"))  # what is signed for: grant, target and table as they were
    state = models.CharField(_("状态"), max_length=10, choices=ApprovalState, default=ApprovalState.ASKED)
    asked_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("申请岗位"))
    asked_at = models.DateTimeField(_("申请时间"))
    sign_off = models.OneToOneField(
        SignOff, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("签批")
    )
    decided_at = models.DateTimeField(_("签批时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("清空重载签批")
        verbose_name_plural = _("清空重载签批")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["task"], condition=Q(state__in=["asked", "approved"]), name="reload_one_open_per_task"
            )
        ]

    def __str__(self) -> str:
        return self.number


class ReplicationSlot(models.Model):
    """A replication slot of a LOG task as the provider's node last saw it: what it holds back fills the source's disk."""

    task = models.OneToOneField(ExchangeTask, models.CASCADE, related_name="slot_state", verbose_name=_("任务"))
    name = models.CharField(_("复制槽"), max_length=63)
    retained_bytes = models.PositiveBigIntegerField(_("滞留日志"), default=0)
    is_active = models.BooleanField(_("正被读取"), default=False)
    seen_at = models.DateTimeField(_("查看时间"))

    class Meta:
        verbose_name = _("复制槽")
        verbose_name_plural = _("复制槽")

    def __str__(self) -> str:
        return self.name
