"""Bundles carried between a node and the platform where no network joins them."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from jinqiao.exchange.models.nodes import Node
from jinqiao.kernel.contracts.bundles import Direction

DIRECTIONS = [(Direction.UP.value, _("节点到平台")), (Direction.DOWN.value, _("平台到节点"))]


class BundleRecord(models.Model):
    """A bundle that was taken (up) or made (down); sequence numbers find what is missing, doubled or replayed."""

    node = models.ForeignKey(Node, models.CASCADE, related_name="bundles", verbose_name=_("节点"))
    direction = models.CharField(_("方向"), max_length=4, choices=DIRECTIONS)
    sequence = models.PositiveIntegerField(_("序号"))
    digest = models.CharField(_("摘要"), max_length=128)  # of the signed manifest
    parts = models.PositiveIntegerField(_("内容项数"), default=0)
    at = models.DateTimeField(_("时间"))
    acknowledged_at = models.DateTimeField(_("对方确认时间"), null=True, blank=True)  # DOWN: the node has taken it

    class Meta:
        verbose_name = _("摆渡包")
        verbose_name_plural = _("摆渡包")
        ordering = ["node_id", "direction", "-sequence"]
        constraints = [
            models.UniqueConstraint(fields=["node", "direction", "sequence"], name="bundle_sequence_once"),
        ]

    def __str__(self) -> str:
        return f"{self.direction} {self.sequence}"
