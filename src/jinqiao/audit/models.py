"""Audit events: what people and the platform did, chained by hashes so that nobody can change or drop one unseen.

Actors and subjects are kept as values, without foreign keys: an event outlives what it speaks of.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Outcome(models.TextChoices):
    DONE = "done", _("已办")
    REFUSED = "refused", _("已拒绝")
    FAILED = "failed", _("失败")


class AuditEvent(models.Model):
    """One event. `digest` = H(canonical fields ‖ previous); events are numbered without gaps from 1."""

    number = models.PositiveBigIntegerField(_("序号"), unique=True)
    at = models.DateTimeField(_("时间"))
    action = models.CharField(_("行为"), max_length=80)
    outcome = models.CharField(_("结果"), max_length=10, choices=Outcome, default=Outcome.DONE)
    actor_id = models.CharField(_("行为人标识"), max_length=64, blank=True)
    actor_name = models.CharField(_("行为人"), max_length=100)
    actor_role = models.CharField(_("角色"), max_length=40, blank=True)
    organisation_id = models.CharField(_("机构标识"), max_length=64, blank=True)
    organisation_name = models.CharField(_("机构"), max_length=200, blank=True)
    about_type = models.CharField(_("对象类型"), max_length=60, blank=True)
    about_id = models.CharField(_("对象标识"), max_length=64, blank=True)
    about_label = models.CharField(_("对象"), max_length=300, blank=True)
    address = models.CharField(_("来源地址"), max_length=64, blank=True)
    details = models.JSONField(_("细节"), default=dict)
    suite = models.CharField(_("密码套件"), max_length=20)
    previous = models.CharField(_("上一条摘要"), max_length=64)
    digest = models.CharField(_("摘要"), max_length=64)

    class Meta:
        verbose_name = _("审计事件")
        verbose_name_plural = _("审计事件")
        ordering = ["-number"]
        indexes = [
            models.Index(fields=["at"], name="audit_event_at"),
            models.Index(fields=["action", "at"], name="audit_event_action_at"),
            models.Index(fields=["about_type", "about_id"], name="audit_event_about"),
            models.Index(fields=["actor_id", "at"], name="audit_event_actor_at"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.action}"
