"""Installations with an identity of their own."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Organisation
from jinqiao.exchange.enums import NetworkZone, NodeKind, NodeState


class Node(models.Model):
    """An installation with an identity of its own: a department's front-end node or a query gateway."""

    number = models.CharField(_("节点标识"), max_length=60, unique=True)
    name = models.CharField(_("名称"), max_length=100)
    kind = models.CharField(_("类别"), max_length=12, choices=NodeKind)
    organisation = models.ForeignKey(Organisation, models.PROTECT, related_name="nodes", verbose_name=_("机构"))
    zone = models.CharField(_("网络"), max_length=10, choices=NetworkZone, default=NetworkZone.EXTRANET)
    state = models.CharField(_("状态"), max_length=10, choices=NodeState, default=NodeState.EXPECTED)
    identity = models.JSONField(_("公开身份"), default=dict)  # kernel PublicIdentity; empty until registered
    key_id = models.CharField(_("密钥标识"), max_length=64, blank=True)
    code_digest = models.CharField(_("接入码摘要"), max_length=64, blank=True)
    code_expires_at = models.DateTimeField(_("接入码有效至"), null=True, blank=True)
    registered_at = models.DateTimeField(_("接入时间"), null=True, blank=True)
    seen_at = models.DateTimeField(_("最近联系"), null=True, blank=True)
    silence_noticed_at = models.DateTimeField(_("发现失联时间"), null=True, blank=True)
    version = models.CharField(_("程序版本"), max_length=20, blank=True)
    clock_offset_s = models.FloatField(_("时钟偏差（秒）"), null=True, blank=True)
    spool_free_bytes = models.PositiveBigIntegerField(_("暂存余量"), null=True, blank=True)
    url = models.CharField(_("直接接收地址"), max_length=200, blank=True)  # where it takes chunks, if it listens
    python = models.CharField(_("Python版本"), max_length=20, blank=True)
    gateway_state = models.JSONField(
        _("网关自报状态"), default=dict, blank=True
    )  # `told`: a GatewayState; empty: not told
    run_cap = models.PositiveSmallIntegerField(_("同时进行的运行上限"), default=4)

    class Meta:
        verbose_name = _("节点")
        verbose_name_plural = _("节点")
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["key_id"], condition=~Q(key_id=""), name="node_key_id_once"),
        ]

    def __str__(self) -> str:
        return self.name


class NodeIdentity(models.Model):
    """A public identity that a node has or had: receipts signed with an earlier key stay verifiable after a rotation."""

    node = models.ForeignKey(Node, models.CASCADE, related_name="identities", verbose_name=_("节点"))
    key_id = models.CharField(_("密钥标识"), max_length=64, unique=True)
    identity = models.JSONField(_("公开身份"))  # kernel PublicIdentity
    since = models.DateTimeField(_("启用时间"))
    until = models.DateTimeField(_("停用时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("节点密钥")
        verbose_name_plural = _("节点密钥")
        ordering = ["node_id", "-since"]

    def __str__(self) -> str:
        return self.key_id
