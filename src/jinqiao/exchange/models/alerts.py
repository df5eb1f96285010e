"""What is watched, what was found, and whom it is sent to."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Organisation, Post
from jinqiao.exchange.enums import AlertKind, AlertSeverity, ChannelKind, DeliveryState
from jinqiao.exchange.models.nodes import Node
from jinqiao.exchange.models.oversight import Anomaly
from jinqiao.exchange.models.runs import Run
from jinqiao.exchange.models.tasks import ExchangeTask


class AlertRule(models.Model):
    """A rule that differs from the shipped one (`exchange/alert_rules.toml`): for one task, or for all (`task` empty)."""

    kind = models.CharField(_("规则"), max_length=20, choices=AlertKind)
    task = models.ForeignKey(
        ExchangeTask, models.CASCADE, null=True, blank=True, related_name="alert_rules", verbose_name=_("任务")
    )
    is_on = models.BooleanField(_("启用"), default=True)
    severity = models.CharField(_("级别"), max_length=10, choices=AlertSeverity, default=AlertSeverity.WARNING)
    parameters = models.JSONField(_("参数"), default=dict)
    set_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("设置岗位"))
    set_at = models.DateTimeField(_("设置时间"))

    class Meta:
        verbose_name = _("告警规则")
        verbose_name_plural = _("告警规则")
        ordering = ["kind", "id"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "task"], name="alert_rule_once_per_task"),
            models.UniqueConstraint(fields=["kind"], condition=Q(task=None), name="alert_rule_once_for_all"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.task_id or ''}".strip()


class Alert(models.Model):
    """Something a rule found. It closes itself when its cause is gone. `details` hold counts and times, never data."""

    kind = models.CharField(_("规则"), max_length=20, choices=AlertKind)
    key = models.CharField(max_length=80)  # what it is about, e.g. `task:12`
    severity = models.CharField(_("级别"), max_length=10, choices=AlertSeverity, default=AlertSeverity.WARNING)
    organisation = models.ForeignKey(Organisation, models.PROTECT, related_name="alerts", verbose_name=_("责任机构"))
    task = models.ForeignKey(
        ExchangeTask, models.CASCADE, null=True, blank=True, related_name="alerts", verbose_name=_("任务")
    )
    run = models.ForeignKey(Run, models.CASCADE, null=True, blank=True, related_name="alerts", verbose_name=_("运行"))
    node = models.ForeignKey(Node, models.CASCADE, null=True, blank=True, related_name="alerts", verbose_name=_("节点"))
    anomaly = models.ForeignKey(
        Anomaly, models.CASCADE, null=True, blank=True, related_name="alerts", verbose_name=_("调用异常")
    )
    details = models.JSONField(_("详情"), default=dict)
    opened_at = models.DateTimeField(_("发生时间"))
    closed_at = models.DateTimeField(_("解除时间"), null=True, blank=True)
    seen_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("知悉岗位")
    )
    seen_at = models.DateTimeField(_("知悉时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("告警")
        verbose_name_plural = _("告警")
        ordering = ["-id"]
        indexes = [models.Index(fields=["organisation", "closed_at"], name="alert_organisation_open")]
        constraints = [
            models.UniqueConstraint(fields=["kind", "key"], condition=Q(closed_at=None), name="alert_open_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class AlertChannel(models.Model):
    """Where an organisation's alerts are sent besides its desk; the bureau's channels get those of all."""

    organisation = models.ForeignKey(
        Organisation, models.CASCADE, related_name="alert_channels", verbose_name=_("机构")
    )
    kind = models.CharField(_("方式"), max_length=10, choices=ChannelKind)
    address = models.CharField(_("地址"), max_length=300)  # of mail, or of the webhook
    sealed_secret = models.TextField(_("密封密钥"), blank=True)  # webhook: key of the signature, sealed to the platform
    least = models.CharField(_("最低级别"), max_length=10, choices=AlertSeverity, default=AlertSeverity.NOTICE)
    is_active = models.BooleanField(_("启用"), default=True)
    created_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("设置岗位"))
    created_at = models.DateTimeField(_("设置时间"))

    class Meta:
        verbose_name = _("告警通道")
        verbose_name_plural = _("告警通道")
        ordering = ["organisation_id", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "kind", "address"], name="alert_channel_address_once")
        ]

    def __str__(self) -> str:
        return self.address


class AlertDelivery(models.Model):
    """One message of an alert to one channel: that it opened, or that it closed."""

    alert = models.ForeignKey(Alert, models.CASCADE, related_name="deliveries", verbose_name=_("告警"))
    channel = models.ForeignKey(AlertChannel, models.CASCADE, related_name="deliveries", verbose_name=_("通道"))
    is_closing = models.BooleanField(_("解除通知"), default=False)
    state = models.CharField(_("状态"), max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveSmallIntegerField(_("次数"), default=0)
    problem = models.CharField(_("问题"), max_length=80, blank=True)  # code of the error
    created_at = models.DateTimeField(_("产生时间"))
    sent_at = models.DateTimeField(_("送达时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("告警发送")
        verbose_name_plural = _("告警发送")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["alert", "channel", "is_closing"], name="alert_sent_once_per_channel")
        ]

    def __str__(self) -> str:
        return f"{self.alert_id} → {self.channel_id}"
