"""Evidence of query calls at the centre: verified batches, anchors with their countersignatures, deletions after their time."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from jinqiao.exchange.models.nodes import Node
from jinqiao.exchange.models.runs import NodeCommand


class EvidenceAnchor(models.Model):
    """A signed word of a gateway on the head of its lane, with the countersignature of another node."""

    gateway = models.ForeignKey(Node, models.PROTECT, related_name="anchors", verbose_name=_("网关"))
    lane = models.CharField(max_length=40)
    batch = models.PositiveBigIntegerField(_("批次"))
    chain = models.CharField(_("链值"), max_length=128)
    at = models.DateTimeField(_("锚定时间"))
    body = models.JSONField(_("锚"))  # SignedMessage of an Anchor
    digest = models.CharField(max_length=128, blank=True, db_index=True)  # of the body, hex
    platform_countersignature = models.JSONField(_("平台副署"), null=True, blank=True)  # SignedMessage
    asked = models.ForeignKey(
        NodeCommand, models.SET_NULL, null=True, blank=True, related_name="anchors", verbose_name=_("副署指令")
    )
    witness = models.ForeignKey(
        Node, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("见证节点")
    )  # empty: the platform itself
    countersignature = models.JSONField(_("副署"), null=True, blank=True)  # SignedMessage of a Countersignature
    countersigned_at = models.DateTimeField(_("副署时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("存证锚")
        verbose_name_plural = _("存证锚")
        ordering = ["-at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["gateway", "lane", "batch", "at"], name="anchor_once_per_moment")
        ]
        indexes = [
            models.Index(
                fields=["gateway", "lane", "batch"], condition=models.Q(witness__isnull=False), name="anchor_witnessed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.gateway_id} {self.lane}/{self.batch}"


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
    latest_at = models.DateTimeField(_("最晚记录时间"), null=True, blank=True)
    leaves = models.BinaryField(default=bytes)  # 32 bytes each, in order; they stay for good
    lines = models.BinaryField(
        null=True, blank=True
    )  # zlib of the records as they came, one a line; empty once deleted
    kept = models.JSONField(default=dict, blank=True)  # number → line, where lines were deleted and this one stays

    class Meta:
        verbose_name = _("存证批次")
        verbose_name_plural = _("存证批次")
        ordering = ["gateway_id", "lane", "batch"]
        constraints = [models.UniqueConstraint(fields=["gateway", "lane", "batch"], name="segment_once_per_lane")]

    def __str__(self) -> str:
        return f"{self.lane}/{self.batch}"


class EvidenceDeletion(models.Model):
    """The centre deleted records of a gateway after their time: what, by which rule, and where the archive lies."""

    gateway = models.ForeignKey(Node, models.PROTECT, related_name="evidence_deletions", verbose_name=_("网关"))
    lane = models.CharField(max_length=40)
    first_batch = models.PositiveBigIntegerField(_("起始批次"))
    last_batch = models.PositiveBigIntegerField(_("结束批次"))
    records = models.PositiveBigIntegerField(_("记录数"))
    at = models.DateTimeField(_("时间"))
    archive = models.CharField(_("归档文件"), max_length=200)  # name in the folder of archives
    body = models.JSONField(_("删除记录"))  # SignedMessage of BodiesDeleted
    finished_at = models.DateTimeField(_("完成时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("存证到期删除")
        verbose_name_plural = _("存证到期删除")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.lane}/{self.first_batch}-{self.last_batch}"
