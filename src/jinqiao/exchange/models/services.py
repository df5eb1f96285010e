"""Query services, the keys of their callers, the policy of their gateways and the evidence of their calls."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Application
from jinqiao.exchange.models.nodes import Node
from jinqiao.sharing.models import Grant


class QueryService(models.Model):
    """The query service that an interface grant makes."""

    number = models.CharField(_("服务标识"), max_length=60, unique=True)
    grant = models.OneToOneField(Grant, models.PROTECT, related_name="query_service", verbose_name=_("授权"))
    gateway = models.ForeignKey(  # empty until a gateway that can serve the provider is set up
        Node, models.PROTECT, null=True, blank=True, related_name="query_services", verbose_name=_("网关")
    )
    applications = models.ManyToManyField(Application, related_name="query_services", verbose_name=_("应用"))
    row_cap = models.PositiveIntegerField(_("每次返回上限"), default=100)
    calls_per_minute = models.PositiveIntegerField(_("每分钟次数"), default=600)
    is_suspended = models.BooleanField(_("已暂停"), default=False)
    created_at = models.DateTimeField(_("开通时间"))

    class Meta:
        verbose_name = _("查询服务")
        verbose_name_plural = _("查询服务")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.number


class ApplicationKey(models.Model):
    """An HMAC key of an application for one gateway; shown once to the developer, then sealed to the gateway."""

    application = models.ForeignKey(Application, models.CASCADE, related_name="keys", verbose_name=_("应用"))
    gateway = models.ForeignKey(Node, models.PROTECT, related_name="application_keys", verbose_name=_("网关"))
    key_id = models.CharField(_("密钥标识"), max_length=64, unique=True)
    algorithm = models.CharField(_("算法"), max_length=20)
    sealed_secret = models.TextField(_("密封密钥"))
    created_at = models.DateTimeField(_("签发时间"))
    not_after = models.DateTimeField(_("有效至"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("吊销时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("应用密钥")
        verbose_name_plural = _("应用密钥")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.key_id


class PolicyVersion(models.Model):
    """A signed policy snapshot as it was served to a gateway."""

    gateway = models.ForeignKey(Node, models.PROTECT, related_name="policies", verbose_name=_("网关"))
    version = models.PositiveIntegerField(_("版本"))
    body = models.JSONField(_("快照"))  # SignedMessage of a PolicySnapshot
    content_digest = models.CharField(_("内容摘要"), max_length=64)  # of what is enforced, without times
    issued_at = models.DateTimeField(_("签发时间"))
    expires_at = models.DateTimeField(_("有效至"))

    class Meta:
        verbose_name = _("策略快照")
        verbose_name_plural = _("策略快照")
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["gateway", "version"], name="policy_version_once_per_gateway")]

    def __str__(self) -> str:
        return f"{self.gateway_id} v{self.version}"


class Call(models.Model):
    """A query call, answered or refused, as its gateway recorded and shipped it."""

    call_id = models.CharField(_("调用编号"), max_length=40, unique=True)
    gateway = models.ForeignKey(Node, models.PROTECT, related_name="calls", verbose_name=_("网关"))
    lane = models.CharField(max_length=40)
    number = models.PositiveBigIntegerField()
    at = models.DateTimeField(_("时间"))
    service = models.CharField(_("服务"), max_length=60, blank=True)
    grant_number = models.CharField(_("授权"), max_length=40, blank=True)
    application = models.CharField(_("应用"), max_length=40, blank=True)
    consumer = models.CharField(_("需求部门"), max_length=18, blank=True)
    provider = models.CharField(_("提供部门"), max_length=18, blank=True)
    purpose = models.CharField(_("用途"), max_length=200, blank=True)
    case_number = models.CharField(_("业务编号"), max_length=100, blank=True)
    outcome = models.CharField(_("结果"), max_length=80)
    rows = models.PositiveIntegerField(_("行数"))
    duration_us = models.PositiveIntegerField(_("用时（微秒）"))
    record = models.JSONField(_("记录"))  # CallRecord

    class Meta:
        verbose_name = _("查询调用")
        verbose_name_plural = _("查询调用")
        ordering = ["-at", "-id"]
        constraints = [models.UniqueConstraint(fields=["gateway", "lane", "number"], name="call_once_per_lane")]
        indexes = [
            models.Index(fields=["grant_number", "at"], name="call_grant_at"),
            models.Index(fields=["at"], name="call_at"),
        ]

    def __str__(self) -> str:
        return self.call_id


class EvidenceSegment(models.Model):
    """A verified batch of a gateway's evidence: one link of its lane's chain."""

    gateway = models.ForeignKey(Node, models.PROTECT, related_name="evidence_segments", verbose_name=_("网关"))
    lane = models.CharField(max_length=40)
    batch = models.PositiveBigIntegerField(_("批次"))
    first_number = models.PositiveBigIntegerField(_("起始记录"))
    last_number = models.PositiveBigIntegerField(_("结束记录"))
    merkle_root = models.CharField(_("默克尔根"), max_length=128)
    previous = models.CharField(_("上一环"), max_length=128)
    chain = models.CharField(_("本环"), max_length=128)
    received_at = models.DateTimeField(_("收到时间"))

    class Meta:
        verbose_name = _("存证批次")
        verbose_name_plural = _("存证批次")
        ordering = ["gateway_id", "lane", "batch"]
        constraints = [models.UniqueConstraint(fields=["gateway", "lane", "batch"], name="segment_once_per_lane")]

    def __str__(self) -> str:
        return f"{self.lane}/{self.batch}"
