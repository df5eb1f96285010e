"""Query services, the keys of their callers, the policy of their gateways and the evidence of their calls."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Application
from jinqiao.exchange.enums import ErrorOwner
from jinqiao.exchange.models.nodes import Node
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.sharing.models import Grant


def default_operations() -> list[str]:
    return [Operation.QUERY.value]


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
    operations = models.JSONField(_("开放的操作"), default=default_operations)  # kernel Operation values
    filter_items = models.JSONField(_("筛选项"), default=list, blank=True)  # item codes; granted and unmasked
    case_item = models.CharField(_("本案限定项"), max_length=100, blank=True)  # only rows of the call's own case
    end_user_required = models.BooleanField(_("须有经办人"), default=False)
    role_masks = models.JSONField(_("按角色遮蔽"), default=list, blank=True)  # kernel RoleMask as JSON
    batch_cap = models.PositiveIntegerField(_("每批查询上限"), default=100)
    smallest_count = models.PositiveIntegerField(_("最小计数"), default=0)  # counts below it are not told
    calls_per_day = models.PositiveIntegerField(_("每日次数"), null=True, blank=True)  # of each application
    rows_per_day = models.PositiveIntegerField(_("每日行数"), null=True, blank=True)  # of each application
    hours = models.JSONField(_("开放时段"), default=list, blank=True)  # kernel Hours as JSON; empty = at any hour
    is_suspended = models.BooleanField(_("已暂停"), default=False)
    version = models.PositiveSmallIntegerField(_("版本"), default=1)
    deprecated_on = models.DateField(_("公告停用日"), null=True, blank=True)
    ends_on = models.DateField(_("最后服务日"), null=True, blank=True)
    successor = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="predecessors", verbose_name=_("替代服务")
    )
    national_id = models.CharField(_("国家平台服务标识"), max_length=64, blank=True)  # sid, where one was issued
    source_health = models.JSONField(
        _("数据源健康"), null=True, blank=True
    )  # kernel ServiceHealth, as its gateway told it last
    created_at = models.DateTimeField(_("开通时间"))

    class Meta:
        verbose_name = _("查询服务")
        verbose_name_plural = _("查询服务")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.number


class ApplicationKey(models.Model):
    """A key of an application for one gateway: a secret, shown once to the developer and then sealed to the gateway, or the
    public half of a key pair that the developer keeps."""

    application = models.ForeignKey(Application, models.CASCADE, related_name="keys", verbose_name=_("应用"))
    gateway = models.ForeignKey(Node, models.PROTECT, related_name="application_keys", verbose_name=_("网关"))
    key_id = models.CharField(_("密钥标识"), max_length=64, unique=True)
    algorithm = models.CharField(_("算法"), max_length=20)
    sealed_secret = models.TextField(_("密封密钥"), blank=True)
    public_key = models.CharField(_("公钥"), max_length=200, blank=True)  # raw, hex
    created_at = models.DateTimeField(_("签发时间"))
    not_before = models.DateTimeField(_("启用时间"), null=True, blank=True)
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
    environment = models.CharField(_("环境"), max_length=12, default="production")  # kernel Environment
    operation = models.CharField(_("操作"), max_length=12, default="query")  # kernel Operation
    end_user = models.CharField(_("经办人"), max_length=100, blank=True)
    address = models.CharField(_("来源地址"), max_length=45, blank=True)
    outcome = models.CharField(_("结果"), max_length=80)
    error_owner = models.CharField(_("责任方"), max_length=12, choices=ErrorOwner, blank=True)  # empty: answered
    keys = models.PositiveIntegerField(_("查询对象数"), default=1)
    rows = models.PositiveIntegerField(_("行数"))
    duration_us = models.PositiveIntegerField(_("用时（微秒）"))
    record = models.JSONField(_("记录"), null=True, blank=True)  # CallRecord; empty once deleted after its time
    confirms = models.CharField(_("所确认的调用"), max_length=40, blank=True)  # of a receipt
    answer_commitment = models.CharField(
        _("应答承诺值"), max_length=128, blank=True
    )  # of a call, or as its receipt says
    confirmed_at = models.DateTimeField(_("需求方确认时间"), null=True, blank=True)
    confirmation_fits = models.BooleanField(_("双方记录一致"), null=True, blank=True)

    class Meta:
        verbose_name = _("查询调用")
        verbose_name_plural = _("查询调用")
        ordering = ["-at", "-id"]
        constraints = [models.UniqueConstraint(fields=["gateway", "lane", "number"], name="call_once_per_lane")]
        indexes = [
            models.Index(fields=["grant_number", "at"], name="call_grant_at"),
            models.Index(fields=["at"], name="call_at"),
            models.Index(fields=["consumer", "at"], name="call_consumer_at"),
            models.Index(fields=["provider", "at"], name="call_provider_at"),
            models.Index(fields=["service", "at"], name="call_service_at"),
            models.Index(fields=["confirms"], condition=~models.Q(confirms=""), name="call_confirms"),
            models.Index(fields=["case_number"], name="call_case"),
            models.Index(
                fields=["confirmed_at"], condition=models.Q(confirmation_fits=False), name="call_contradicted_at"
            ),
            models.Index(
                fields=["at"], condition=models.Q(operation="receipt", confirmed_at=None), name="receipt_waiting_at"
            ),
        ]

    def __str__(self) -> str:
        return self.call_id


class CallSubject(models.Model):
    """A person that a call asked for or disclosed, as a commitment under the city's subject key: "谁查了我" is asked by it."""

    call = models.ForeignKey(Call, models.CASCADE, related_name="subjects", verbose_name=_("调用"))
    commitment = models.CharField(_("对象摘要"), max_length=100)  # "key id:hex"
    at = models.DateTimeField(_("时间"))

    class Meta:
        verbose_name = _("调用涉及的人")
        verbose_name_plural = _("调用涉及的人")
        constraints = [models.UniqueConstraint(fields=["call", "commitment"], name="subject_once_per_call")]
        indexes = [models.Index(fields=["commitment", "at"], name="subject_commitment_at")]

    def __str__(self) -> str:
        return self.commitment
