"""Messages of alerts, by mail and webhook. What is sent says that something is amiss and where to look: names of tasks, nodes and services,
counts and times, nothing of the data.

A webhook gets one POST of JSON; `X-Jinqiao-Signature` is `t=<seconds>,v1=<hex>`, an HMAC with the channel's key over `<seconds>.` and
the body. What it must not do: lead to a host that this installation does not list, redirect there, or keep us waiting.
"""

import json
import logging
import time
from typing import Any

import httpx
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.alerting import CLOSED_BECAUSE, GATEWAY_RETIRED, WITNESS_RETIRED
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.enums import AlertKind, AlertSeverity, ChannelKind, DeliveryState
from jinqiao.exchange.errors import AlertNotSent, MailOff
from jinqiao.exchange.models import Alert, AlertChannel, AlertDelivery
from jinqiao.kernel import hosts, moments
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import JinqiaoError

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
MOST_ATTEMPTS = 8
"""As often as a worker tries an outbox row."""
SIGNATURE_HEADER = "X-Jinqiao-Signature"


def send_alert(delivery_id: int) -> None:
    """Send one message; raises AlertNotSent so that the worker tries again. One that cannot be sent at all is given up at once.

    At least once: a receiver that answered while we died hears it again, with the same `message`.
    """
    delivery = (
        AlertDelivery.objects.select_related(
            "channel", "alert__organisation", "alert__task", "alert__node", "alert__run", "alert__anomaly"
        )
        .filter(pk=delivery_id)
        .first()
    )
    if delivery is None or delivery.state == DeliveryState.SENT or not delivery.channel.is_active:
        return
    AlertDelivery.objects.filter(pk=delivery.pk).update(attempts=delivery.attempts + 1)
    try:
        if delivery.channel.kind == ChannelKind.MAIL:
            _mail(delivery)
        else:
            _post(delivery.channel, message_of(delivery))
    except JinqiaoError as error:
        _note(delivery, error)
        if error.retryable and delivery.attempts + 1 < MOST_ATTEMPTS:
            raise
        return
    AlertDelivery.objects.filter(pk=delivery.pk).update(state=DeliveryState.SENT, sent_at=moments.now(), problem="")


@transaction.atomic
def _note(delivery: AlertDelivery, error: JinqiaoError) -> None:
    is_last = not error.retryable or delivery.attempts + 1 >= MOST_ATTEMPTS
    AlertDelivery.objects.filter(pk=delivery.pk).update(
        problem=error.code[:80], state=DeliveryState.FAILED if is_last else DeliveryState.WAITING
    )
    if is_last:
        log.warning("alert %s could not be sent by channel %s: %s", delivery.alert_id, delivery.channel_id, error.code)
        trail.record(
            "exchange.alert.send",
            by=trail.SYSTEM,
            about=trail.subject(delivery.channel, delivery.channel.kind),
            outcome=Outcome.FAILED,
            code=error.code,
        )


def message_of(delivery: AlertDelivery) -> dict[str, Any]:
    """What is said: the body of a webhook. `message` is the same each time that this message is sent."""
    alert = delivery.alert
    return {
        "version": 1,
        "message": f"alert-{alert.pk}-{'closed' if delivery.is_closing else 'opened'}",
        "state": "closed" if delivery.is_closing else "open",
        "kind": alert.kind,
        "severity": alert.severity,
        "organisation": alert.organisation.credit_code,
        "task": alert.task.number if alert.task is not None else "",
        "run": alert.run.number if alert.run is not None else "",
        "node": alert.node.number if alert.node is not None else "",
        "service": alert.anomaly.service if alert.anomaly is not None else "",
        "application": alert.anomaly.application if alert.anomaly is not None else "",
        "opened_at": alert.opened_at.isoformat(),
        "closed_at": alert.closed_at.isoformat() if alert.closed_at else None,
        "details": alert.details,
        "url": _url(alert),
    }


def _url(alert: Alert) -> str:
    root = settings.PUBLIC_URL.rstrip("/")
    if alert.task_id is not None:
        return f"{root}/exchange/tasks/{alert.task_id}"
    if alert.anomaly_id is not None:
        return f"{root}/exchange/anomalies/{alert.anomaly_id}"
    return f"{root}/exchange/nodes/{alert.node_id}" if alert.node_id is not None else root


def signature(secret: bytes, seconds: int, body: bytes) -> str:
    """The value of the header, as a receiver computes it again."""
    mac = suite(settings.CRYPTO_SUITE).hmac(secret, str(seconds).encode() + b"." + body).hex()
    return f"t={seconds},v1={mac}"


def mail_way() -> str:
    """Where mail goes: `smtp`; `file` or `console`, which leave this machine no more than nothing does; `off` without JINQIAO_MAIL."""
    kinds = {"": "off", "console": "console", "filebased": "file"}
    parts = settings.EMAIL_BACKEND.split(".")
    return kinds.get(parts[-2] if len(parts) > 1 else "", "smtp")


def try_channel(channel: AlertChannel, *, by: Post) -> None:
    """Send a word that this is a test, now, by a channel that may be stopped; it is recorded either way.

    Raises NotYourAlert, MailOff, AlertNotSent, and of a webhook what `hosts` raises."""
    rules.check_may_manage_channels(by, channel.organisation_id)
    about = trail.subject(channel, channel.kind)
    try:
        if channel.kind == ChannelKind.MAIL:
            _try_mail(channel)
        else:
            _post(channel, _test_message(channel))
    except JinqiaoError as error:
        trail.record("exchange.alert.test_channel", by=by.actor, about=about, outcome=Outcome.FAILED, code=error.code)
        raise
    trail.record("exchange.alert.test_channel", by=by.actor, about=about, kind=channel.kind)


def _test_message(channel: AlertChannel) -> dict[str, Any]:
    return {
        "version": 1,
        "message": f"test-{channel.pk}-{int(time.time())}",
        "state": "test",
        "organisation": channel.organisation.credit_code,
        "url": settings.PUBLIC_URL.rstrip("/"),
    }


def _try_mail(channel: AlertChannel) -> None:
    lines = [
        f"{settings.SITE_NAME}",
        "这是一封测试邮件：告警通道可以送达。没有发生告警，无需处理。",
        f"机构：{channel.organisation.name}",
        f"时间：{_local(moments.now())}",
        "",
        settings.PUBLIC_URL.rstrip("/"),
    ]
    _send_mail(channel, "[测试] 告警通道测试", lines, f"test-{channel.pk}-{int(time.time())}")


def _post(channel: AlertChannel, message: dict[str, Any]) -> None:
    body = json.dumps(message, ensure_ascii=False, sort_keys=True).encode()
    secret = platform_identity().unseal(channel.sealed_secret)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        SIGNATURE_HEADER: signature(secret, int(time.time()), body),
        "User-Agent": "jinqiao-alerts",
    }
    try:
        with (
            hosts.open_guarded_client(hosts.reachable_hosts(), timeout_s=TIMEOUT_S) as client,
            client.stream("POST", channel.address, content=body, headers=headers) as answer,
        ):
            status = answer.status_code  # whatever it says, it is not read
    except httpx.HTTPError as problem:
        raise AlertNotSent(channel="webhook", reason=type(problem).__name__) from problem
    if not 200 <= status < 300:
        raise AlertNotSent(channel="webhook", reason=str(status))


_RETIRED = {GATEWAY_RETIRED: "网关", WITNESS_RETIRED: "见证节点"}


def _mail(delivery: AlertDelivery) -> None:
    alert = delivery.alert
    kind, severity = AlertKind(alert.kind).label, AlertSeverity(alert.severity).label
    state = "已解除" if delivery.is_closing else "发生"
    about = _about(alert)
    lines = [
        f"{settings.SITE_NAME}",
        f"告警：{kind}（{severity}），{state}",
        f"对象：{about}" + (f"，运行 {alert.run.number}" if alert.run is not None else ""),
        f"发生时间：{_local(alert.opened_at)}",
    ]
    if alert.closed_at:
        lines.append(f"解除时间：{_local(alert.closed_at)}")
    details = dict(alert.details)
    retired = _RETIRED.get(details.pop(CLOSED_BECAUSE, ""))
    if retired is not None:
        lines.append(f"解除原因：{retired}已停用，原来的问题仍在案")
    lines += [f"{name}：{value}" for name, value in details.items() if value not in ("", None)]
    lines += ["", _url(alert)]
    subject = f"[{severity}] {kind} {about} {state}"
    _send_mail(delivery.channel, subject, lines, f"alert-{alert.pk}-{int(delivery.is_closing)}-{delivery.pk}")


def _send_mail(channel: AlertChannel, subject: str, lines: list[str], message_id: str) -> None:
    """Raises MailOff, AlertNotSent."""
    if not settings.EMAIL_BACKEND:
        raise MailOff
    message = EmailMessage(
        subject=subject,
        body="\n".join(lines),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[channel.address],
        headers={"Message-ID": f"<{message_id}@jinqiao>"},
        connection=get_connection(timeout=TIMEOUT_S) if "smtp" in settings.EMAIL_BACKEND else None,
    )
    try:
        message.send()
    except OSError as problem:  # smtplib's errors are OSErrors
        raise AlertNotSent(channel="mail", reason=type(problem).__name__) from problem


def _about(alert: Alert) -> str:
    """What it is about, by a name that may stand in a subject: never a person, an end user or a case."""
    if alert.task is not None:
        return alert.task.number
    if alert.node is not None:
        return alert.node.name
    return (alert.anomaly.service or alert.anomaly.application) if alert.anomaly is not None else ""


def _local(at: Any) -> str:
    return f"{at.astimezone(moments.CHINA):%Y-%m-%d %H:%M}"
