"""What is watched of calls: their sums by the hour, what looked unusual, samples drawn for justification. No personal value stands here."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Organisation, Post
from jinqiao.exchange.enums import AnomalyKind, AnomalyState, ErrorOwner, SampleState
from jinqiao.exchange.models.nodes import Node
from jinqiao.exchange.models.services import Call
from jinqiao.sharing.models import Grant


class CallTally(models.Model):
    """Calls of one hour that agree in everything by which statistics are asked for; counted in the transaction that keeps the calls."""

    gateway = models.ForeignKey(Node, models.CASCADE, related_name="tallies", verbose_name=_("网关"))
    hour = models.DateTimeField(_("小时"))  # its first instant
    service = models.CharField(_("服务"), max_length=60, blank=True)
    application = models.CharField(_("应用"), max_length=40, blank=True)
    consumer = models.CharField(_("需求部门"), max_length=18, blank=True)
    provider = models.CharField(_("提供部门"), max_length=18, blank=True)
    purpose = models.CharField(_("用途"), max_length=200, blank=True)
    environment = models.CharField(_("环境"), max_length=12)
    operation = models.CharField(_("操作"), max_length=12)
    error_owner = models.CharField(_("责任方"), max_length=12, choices=ErrorOwner, blank=True)  # empty: answered
    calls = models.PositiveBigIntegerField(_("次数"))
    rows = models.PositiveBigIntegerField(_("行数"))
    durations = models.JSONField(_("用时分布"), default=dict)  # step of exchange.durations → calls

    class Meta:
        verbose_name = _("调用小时汇总")
        verbose_name_plural = _("调用小时汇总")
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "gateway", "hour", "service", "application", "consumer", "provider", "purpose", "environment",
                    "operation", "error_owner",
                ],
                name="tally_once",
            )
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["hour"], name="tally_hour"),
            models.Index(fields=["service", "hour"], name="tally_service_hour"),
        ]

    def __str__(self) -> str:
        return f"{self.service} {self.hour:%Y-%m-%dT%H}"


class Anomaly(models.Model):
    """Something unusual in the calls of a day, found by a rule of a version. `figures` are counts, times and shares, never data;
    the fields from `service` on are what the calls have in common, so that they can be listed."""

    kind = models.CharField(_("规则"), max_length=20, choices=AnomalyKind)
    key = models.CharField(max_length=64)  # digest of what it is about, with the day: found again it is not doubled
    rules_version = models.CharField(_("规则版本"), max_length=20)
    provider = models.ForeignKey(
        Organisation, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("提供部门")
    )  # empty: it goes across providers, and is for the authority
    consumer = models.ForeignKey(
        Organisation, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("需求部门")
    )
    service = models.CharField(_("服务"), max_length=60, blank=True)
    application = models.CharField(_("应用"), max_length=40, blank=True)
    end_user = models.CharField(_("经办人"), max_length=100, blank=True)
    case_number = models.CharField(_("业务编号"), max_length=100, blank=True)
    subject = models.CharField(_("对象摘要"), max_length=100, blank=True)
    since = models.DateTimeField(_("自"))
    until = models.DateTimeField(_("至"))
    figures = models.JSONField(_("数据"), default=dict)
    state = models.CharField(_("状态"), max_length=12, choices=AnomalyState, default=AnomalyState.OPEN)
    found_at = models.DateTimeField(_("发现时间"))
    closed_at = models.DateTimeField(_("处理时间"), null=True, blank=True)
    closed_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("处理岗位")
    )
    reason = models.CharField(_("处理说明"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("调用异常")
        verbose_name_plural = _("调用异常")
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="anomaly_once")]
        indexes = [models.Index(fields=["provider", "state"], name="anomaly_provider_state")]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class Sampling(models.Model):
    """A period of which calls are drawn for justification. The seed is committed to before the period ends and told afterwards."""

    number = models.CharField(_("抽查期"), max_length=40, unique=True)
    starts_on = models.DateField(_("首日"))
    ends_on = models.DateField(_("末日"))
    share = models.FloatField(_("抽取比例"))
    least = models.PositiveIntegerField(_("每部门至少"))
    most = models.PositiveIntegerField(_("每部门至多"))
    settings_version = models.CharField(_("设置版本"), max_length=20)
    suite = models.CharField(_("算法套件"), max_length=20)
    seed_digest = models.CharField(_("种子摘要"), max_length=64)
    sealed_seed = models.TextField(_("密封种子"), blank=True)  # to the platform's own key; emptied when told
    seed = models.CharField(_("种子"), max_length=64, blank=True)  # hex, once drawn
    announced_at = models.DateTimeField(_("公布时间"))
    announced_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("公布岗位")
    )  # empty: the platform, by its settings
    drawn_at = models.DateTimeField(_("抽取时间"), null=True, blank=True)
    candidates = models.PositiveBigIntegerField(_("可抽调用数"), null=True, blank=True)

    class Meta:
        verbose_name = _("抽查期")
        verbose_name_plural = _("抽查期")
        ordering = ["-starts_on", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_on__gte=models.F("starts_on")), name="sampling_period_in_order"
            )
        ]

    def __str__(self) -> str:
        return self.number


class SampledCall(models.Model):
    """A call that its consumer has to justify."""

    sampling = models.ForeignKey(Sampling, models.PROTECT, related_name="samples", verbose_name=_("抽查期"))
    call = models.ForeignKey(
        Call, models.SET_NULL, null=True, blank=True, related_name="samples", verbose_name=_("调用")
    )
    number = models.CharField(_("调用编号"), max_length=40)  # the call's id, which outlives its row
    score = models.CharField(_("抽取值"), max_length=64)
    grant = models.ForeignKey(Grant, models.PROTECT, related_name="sampled_calls", verbose_name=_("授权"))
    state = models.CharField(_("状态"), max_length=12, choices=SampleState, default=SampleState.ASKED)
    is_late = models.BooleanField(_("逾期"), default=False)
    case_reference = models.CharField(_("业务文号"), max_length=200, blank=True)
    justification = models.TextField(_("说明"), blank=True)
    answered_at = models.DateTimeField(_("说明时间"), null=True, blank=True)
    answered_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("说明岗位")
    )
    opinion = models.CharField(_("审核意见"), max_length=500, blank=True)
    decided_at = models.DateTimeField(_("审核时间"), null=True, blank=True)
    decided_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("审核岗位")
    )

    class Meta:
        verbose_name = _("抽查的调用")
        verbose_name_plural = _("抽查的调用")
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["sampling", "number"], name="sampled_once_per_period")]
        indexes = [models.Index(fields=["grant", "state"], name="sampled_grant_state")]

    def __str__(self) -> str:
        return self.number
