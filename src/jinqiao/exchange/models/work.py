"""What the platform's own processes keep: nonces, beats, the outbox."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class SeenNonce(models.Model):
    """A nonce of a signed call, kept until its time window has passed: the same call is never taken twice."""

    key_id = models.CharField(max_length=64)
    nonce = models.CharField(max_length=128)
    expires_at = models.BigIntegerField()  # seconds of real time, not of business time

    class Meta:
        verbose_name = _("已用随机数")
        verbose_name_plural = _("已用随机数")
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["key_id", "nonce"], name="nonce_once_per_key")]
        indexes = [models.Index(fields=["expires_at"], name="nonce_expires")]

    def __str__(self) -> str:
        return self.nonce


class ProcessBeat(models.Model):
    """When a process of the platform last said that it works: seconds of real time."""

    name = models.CharField(_("进程"), max_length=60, unique=True)
    at = models.BigIntegerField(_("时间"))

    class Meta:
        verbose_name = _("进程心跳")
        verbose_name_plural = _("进程心跳")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class OutboxMessage(models.Model):
    """Work for the worker, written in the transaction that caused it. The durable workflow's id derives from the row's."""

    topic = models.CharField(_("主题"), max_length=60)
    body = models.JSONField(_("内容"))
    created_at = models.DateTimeField(_("时间"))
    taken_at = models.DateTimeField(_("交办时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("发件箱消息")
        verbose_name_plural = _("发件箱消息")
        ordering = ["id"]
        indexes = [models.Index(fields=["taken_at", "id"], name="outbox_waiting")]

    def __str__(self) -> str:
        return f"{self.topic} #{self.pk}"
