"""Requests for data, the provider's decision, and the grant it makes."""

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Organisation, Post
from jinqiao.catalogue.models import CatalogueEntry, EntryVersion
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.sharing.enums import ChangeState, GrantState, RequestState
from jinqiao.sharing.errors import GrantTermsImmutable

SHARING_MODES = [
    (SharingMode.INTERFACE.value, _("服务接口")),
    (SharingMode.BATCH.value, _("批量交换")),
    (SharingMode.FILE.value, _("文件下载")),
]


class NumberSeries(models.Model):
    """The last number given in a series (one per year). Its row is locked while a number is drawn: no gaps, no doubles."""

    key = models.CharField(_("序列"), max_length=40, unique=True)
    last = models.PositiveIntegerField(_("末号"), default=0)

    class Meta:
        verbose_name = _("编号序列")
        verbose_name_plural = _("编号序列")

    def __str__(self) -> str:
        return f"{self.key}: {self.last}"


class SharingRequest(models.Model):
    """One department asks another for data (共享申请): 政务数据共享条例 第二十条, 第二十一条."""

    number = models.CharField(_("申请编号"), max_length=30, unique=True)  # SQ-2026-0001
    entry = models.ForeignKey(CatalogueEntry, models.PROTECT, related_name="requests", verbose_name=_("目录条目"))
    version = models.ForeignKey(EntryVersion, models.PROTECT, related_name="requests", verbose_name=_("申请时版本"))
    consumer = models.ForeignKey(Organisation, models.PROTECT, related_name="requests_made", verbose_name=_("需求部门"))
    provider = models.ForeignKey(
        Organisation, models.PROTECT, related_name="requests_received", verbose_name=_("提供部门")
    )
    state = models.CharField(_("状态"), max_length=20, choices=RequestState, default=RequestState.DRAFT)
    rule_set = models.CharField(_("规则集"), max_length=40)
    sharing_category = models.CharField(_("共享类型"), max_length=1)

    basis = models.TextField(_("使用依据"))
    scenario = models.TextField(_("使用场景"))
    scope = models.TextField(_("使用范围"))
    mode = models.CharField(_("共享方式"), max_length=10, choices=SHARING_MODES)
    items = models.JSONField(_("数据项"), default=list)  # codes of data items of `version`
    row_filter = models.JSONField(_("数据范围条件"), default=list)  # [{"item", "operator", "values"}]
    row_scope = models.CharField(_("数据范围"), max_length=500, blank=True)
    purposes = models.JSONField(_("用途"), default=list)  # names that a query call must choose from
    case_number_required = models.BooleanField(_("查询须有业务编号"), default=True)
    use_from = models.DateField(_("使用起"))
    use_until = models.DateField(_("使用止"))

    created_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("申请岗位"))
    edited_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("最后填写岗位"))
    submitted_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("提交岗位")
    )
    approved_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("本方批准岗位")
    )
    created_at = models.DateTimeField(_("建立时间"))
    submitted_at = models.DateTimeField(_("提交时间"), null=True, blank=True)
    received_at = models.DateTimeField(_("提供方收到时间"), null=True, blank=True)
    papers_asked_at = models.DateTimeField(_("要求补正时间"), null=True, blank=True)
    papers_missing = models.TextField(_("须补正的材料"), blank=True)
    papers_supplied_at = models.DateTimeField(_("补正时间"), null=True, blank=True)
    papers_note = models.TextField(_("补正说明"), blank=True)
    # an extension of the reply clock: asked once, consented to by the authority (第二十一条)
    extension_days = models.PositiveSmallIntegerField(_("申请延长工作日"), null=True, blank=True)
    extension_reason = models.TextField(_("延长理由"), blank=True)
    extension_asked_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("申请延长岗位")
    )
    extension_asked_at = models.DateTimeField(_("申请延长时间"), null=True, blank=True)
    extension_consented = models.BooleanField(_("主管部门同意延长"), null=True, blank=True)
    return_reason = models.TextField(_("退回意见"), blank=True)
    withdrawn_reason = models.TextField(_("撤回原因"), blank=True)
    decided_at = models.DateTimeField(_("答复时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("共享申请")
        verbose_name_plural = _("共享申请")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(use_until__gte=F("use_from")), name="request_period_in_order"),
            models.CheckConstraint(condition=~Q(consumer=F("provider")), name="request_between_two_organisations"),
        ]
        indexes = [
            models.Index(fields=["provider", "state"], name="request_provider_state"),
            models.Index(fields=["consumer", "state"], name="request_consumer_state"),
        ]

    def __str__(self) -> str:
        return self.number


class Decision(models.Model):
    """The provider's answer, drafted by its operator and approved by its head (第二十条, 第二十一条)."""

    request = models.OneToOneField(SharingRequest, models.CASCADE, related_name="decision", verbose_name=_("申请"))
    agrees = models.BooleanField(_("同意"))
    items = models.JSONField(_("同意的数据项"), default=list)
    masks = models.JSONField(_("遮蔽"), default=dict)  # item code → kernel Mask value
    row_filter = models.JSONField(_("数据范围条件"), default=list)
    valid_until = models.DateField(_("授权至"), null=True, blank=True)
    article = models.CharField(_("依据条款"), max_length=200, blank=True)
    reason = models.TextField(_("理由"), blank=True)
    drafted_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("拟办岗位"))
    drafted_at = models.DateTimeField(_("拟办时间"))
    approved_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("审批岗位")
    )
    approved_at = models.DateTimeField(_("审批时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("答复")
        verbose_name_plural = _("答复")
        constraints = [
            models.CheckConstraint(
                condition=Q(agrees=True) | (~Q(article="") & ~Q(reason="")),
                name="decision_refusal_cites_article_and_reason",
            ),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True, approved_at__isnull=True)
                | Q(approved_by__isnull=False, approved_at__isnull=False),
                name="decision_approved_by_and_at_together",
            ),
            models.CheckConstraint(
                condition=Q(agrees=False) | Q(valid_until__isnull=False), name="decision_agreement_has_end"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id}: {self.agrees}"


MUTABLE_GRANT_FIELDS = frozenset({"state", "state_reason", "state_changed_at", "provided_at"})
"""What of a grant may change after it was made; everything else is its terms."""


class GrantQuerySet(models.QuerySet["Grant"]):
    """Keeps bulk writes away from the terms of grants."""

    def update(self, **changes: Any) -> int:
        if terms := set(changes) - MUTABLE_GRANT_FIELDS:
            raise GrantTermsImmutable(fields=", ".join(sorted(terms)))
        return super().update(**changes)

    def delete(self) -> tuple[int, dict[str, int]]:
        raise GrantTermsImmutable(fields="*")


class Grant(models.Model):
    """An immutable snapshot: who may get which items of which rows for which purpose until when.

    Only `state` and what explains it ever change. A change of terms is a new grant that replaces this one.
    """

    number = models.CharField(_("授权编号"), max_length=40, unique=True)  # SQ-2026-0001/1
    request = models.ForeignKey(SharingRequest, models.PROTECT, related_name="grants", verbose_name=_("申请"))
    replaces = models.OneToOneField(
        "self", models.PROTECT, null=True, blank=True, related_name="replaced_by", verbose_name=_("替代的授权")
    )
    entry = models.ForeignKey(CatalogueEntry, models.PROTECT, related_name="grants", verbose_name=_("目录条目"))
    version = models.ForeignKey(EntryVersion, models.PROTECT, related_name="grants", verbose_name=_("目录版本"))
    provider = models.ForeignKey(Organisation, models.PROTECT, related_name="grants_given", verbose_name=_("提供部门"))
    consumer = models.ForeignKey(Organisation, models.PROTECT, related_name="grants_held", verbose_name=_("需求部门"))
    mode = models.CharField(_("共享方式"), max_length=10, choices=SHARING_MODES)
    items = models.JSONField(_("数据项"))  # [{"code", "name", "data_type", "length", "scale", "mask"}]
    row_filter = models.JSONField(_("数据范围条件"), default=list)  # [{"item", "operator", "values"}]
    purposes = models.JSONField(_("用途"))
    case_number_required = models.BooleanField(_("查询须有业务编号"))
    valid_from = models.DateField(_("有效期起"))
    valid_until = models.DateField(_("有效期止"))
    state = models.CharField(_("状态"), max_length=12, choices=GrantState, default=GrantState.ACTIVE)
    state_reason = models.CharField(_("状态原因"), max_length=500, blank=True)
    state_changed_at = models.DateTimeField(_("状态变更时间"), null=True, blank=True)
    provided_at = models.DateTimeField(_("首次供给时间"), null=True, blank=True)
    created_at = models.DateTimeField(_("授权时间"))
    digest = models.CharField(_("内容摘要"), max_length=64)

    objects = GrantQuerySet.as_manager()

    class Meta:
        verbose_name = _("授权")
        verbose_name_plural = _("授权")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(valid_until__gte=F("valid_from")), name="grant_period_in_order"),
        ]
        indexes = [models.Index(fields=["state", "valid_until"], name="grant_state_until")]

    def __str__(self) -> str:
        return self.number

    def save(
        self,
        *,
        force_insert: bool | tuple[Any, ...] = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        if not self._state.adding:
            stored = type(self).objects.filter(pk=self.pk).values().get()
            changed = sorted(
                name
                for name, value in stored.items()
                if name not in MUTABLE_GRANT_FIELDS and value != getattr(self, name)
            )
            if changed:
                raise GrantTermsImmutable(number=stored["number"], fields=", ".join(changed))
        super().save(force_insert=force_insert, force_update=force_update, using=using, update_fields=update_fields)

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        raise GrantTermsImmutable(number=self.number, fields="*")


class GrantChange(models.Model):
    """Narrower terms for a running grant, proposed by the provider; approved, they become a new grant that replaces it."""

    grant = models.ForeignKey(Grant, models.PROTECT, related_name="changes", verbose_name=_("授权"))
    state = models.CharField(_("状态"), max_length=10, choices=ChangeState, default=ChangeState.PENDING)
    items = models.JSONField(_("数据项"), default=list)
    masks = models.JSONField(_("遮蔽"), default=dict)
    row_filter = models.JSONField(_("数据范围条件"), default=list)
    valid_until = models.DateField(_("授权至"))
    reason = models.TextField(_("理由"))
    drafted_by = models.ForeignKey(Post, models.PROTECT, related_name="+", verbose_name=_("拟办岗位"))
    drafted_at = models.DateTimeField(_("拟办时间"))
    approved_by = models.ForeignKey(
        Post, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("审批岗位")
    )
    approved_at = models.DateTimeField(_("审批时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("授权变更")
        verbose_name_plural = _("授权变更")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["grant"], condition=Q(state="pending"), name="grant_change_one_pending_per_grant"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.grant_id}: {self.state}"
