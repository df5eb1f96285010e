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

from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.enums import AlertKind, AlertSeverity, ChannelKind, DeliveryState
from jinqiao.exchange.errors import AlertNotSent, MailOff
from jinqiao.exchange.models import Alert, AlertDelivery
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
            _post(delivery)
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


def _post(delivery: AlertDelivery) -> None:
    channel = delivery.channel
    body = json.dumps(message_of(delivery), ensure_ascii=False, sort_keys=True).encode()
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


def _mail(delivery: AlertDelivery) -> None:
    if not settings.EMAIL_BACKEND:
        raise MailOff
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
    lines += [f"{name}：{value}" for name, value in alert.details.items() if value not in ("", None)]
    lines += ["", _url(alert)]
    message = EmailMessage(
        subject=f"[{severity}] {kind} {about} {state}",
        body="\n".join(lines),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[delivery.channel.address],
        headers={"Message-ID": f"<alert-{alert.pk}-{int(delivery.is_closing)}-{delivery.pk}@jinqiao>"},
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
