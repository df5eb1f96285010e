"""What is watched, and where it is sent: set by people."""

import secrets
from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.alerting import close_alert
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.enums import AlertKind, AlertSeverity, ChannelKind
from jinqiao.exchange.errors import AlertRuleWrong, ChannelAddressWrong, ChannelTaken
from jinqiao.exchange.models import Alert, AlertChannel, AlertRule, ExchangeTask
from jinqiao.exchange.queries.alerts import parameters_of, shipped_rule
from jinqiao.kernel import hosts, moments

SECRET_BYTES = 32


@transaction.atomic
def set_alert_rule(
    kind: AlertKind | str,
    *,
    by: Post,
    task: ExchangeTask | None = None,
    is_on: bool = True,
    severity: AlertSeverity | str = "",
    parameters: Mapping[str, float] | None = None,
) -> AlertRule:
    """A rule of its own for a task (both sides), or for all (the bureau); what is not given is as shipped.

    Raises NotYourAlert, NotYourTask, AlertRuleWrong naming the parameter.
    """
    kind = AlertKind(kind)
    rules.check_may_set_alert_rule(by, task)
    shipped = shipped_rule(kind)
    if task is not None and not shipped.per_task:
        raise AlertRuleWrong(rule=kind.value, parameter="task")
    known = {parameter.name: parameter for parameter in parameters_of(kind)}
    for name, value in (parameters or {}).items():
        if name not in known or not known[name].least <= value <= known[name].most:
            raise AlertRuleWrong(rule=kind.value, parameter=name)
    rule, _made = AlertRule.objects.update_or_create(
        kind=kind,
        task=task,
        defaults={
            "is_on": is_on,
            "severity": AlertSeverity(severity) if severity else shipped.severity,
            "parameters": dict(parameters or {}),
            "set_by": by,
            "set_at": moments.now(),
        },
    )
    if not is_on:
        for key in _open_keys(kind, task):
            close_alert(kind, key)
    trail.record(
        "exchange.alert.set_rule",
        by=by.actor,
        about=trail.subject(task) if task is not None else None,
        kind=kind.value,
        is_on=is_on,
        severity=str(rule.severity),
        parameters=rule.parameters,
    )
    return rule


def _open_keys(kind: AlertKind, task: ExchangeTask | None) -> list[str]:
    alerts = Alert.objects.filter(kind=kind, closed_at=None)
    if task is not None:
        alerts = alerts.filter(task=task)
    return list(alerts.order_by("id").values_list("key", flat=True))


@transaction.atomic
def drop_alert_rule(rule: AlertRule, *, by: Post) -> None:
    """As it is for all again, or as shipped."""
    rules.check_may_set_alert_rule(by, rule.task)
    trail.record(
        "exchange.alert.drop_rule",
        by=by.actor,
        about=trail.subject(rule.task) if rule.task is not None else None,
        kind=rule.kind,
    )
    rule.delete()


@transaction.atomic
def add_alert_channel(
    *, by: Post, kind: ChannelKind | str, address: str, least: AlertSeverity | str = AlertSeverity.NOTICE
) -> tuple[AlertChannel, str]:
    """Send the alerts of the post's organisation there as well (the bureau's channels get all). Gives the channel and, for a
    webhook, the key of its signatures: shown once, kept sealed.

    Raises NotYourAlert, ChannelAddressWrong, ChannelTaken, and for a webhook what `hosts.check_url` raises.
    """
    rules.check_may_manage_channels(by, by.organisation_id)
    kind, address = ChannelKind(kind), address.strip()
    secret = ""
    if kind is ChannelKind.MAIL:
        try:
            validate_email(address)
        except ValidationError as problem:
            raise ChannelAddressWrong(kind=kind.value) from problem
    else:
        if len(address) > 300:
            raise ChannelAddressWrong(kind=kind.value)
        hosts.check_url(address, hosts.reachable_hosts())
        secret = secrets.token_urlsafe(SECRET_BYTES)
    if AlertChannel.objects.filter(organisation_id=by.organisation_id, kind=kind, address=address).exists():
        raise ChannelTaken
    channel = AlertChannel.objects.create(
        organisation_id=by.organisation_id,
        kind=kind,
        address=address,
        sealed_secret=platform_identity().public.seal(secret.encode()) if secret else "",
        least=AlertSeverity(least),
        created_by=by,
        created_at=moments.now(),
    )
    trail.record("exchange.alert.add_channel", by=by.actor, about=trail.subject(channel, kind.value), kind=kind.value)
    return channel, secret


@transaction.atomic
def switch_alert_channel(channel: AlertChannel, *, by: Post, is_active: bool) -> AlertChannel:
    channel = AlertChannel.objects.select_for_update(of=("self",)).get(pk=channel.pk)
    rules.check_may_manage_channels(by, channel.organisation_id)
    channel.is_active = is_active
    channel.save(update_fields=["is_active"])
    label = channel.kind
    trail.record("exchange.alert.switch_channel", by=by.actor, about=trail.subject(channel, label), is_active=is_active)
    return channel


@transaction.atomic
def drop_alert_channel(channel: AlertChannel, *, by: Post) -> None:
    """With what was sent by it."""
    channel = AlertChannel.objects.select_for_update(of=("self",)).get(pk=channel.pk)
    rules.check_may_manage_channels(by, channel.organisation_id)
    trail.record("exchange.alert.drop_channel", by=by.actor, about=trail.subject(channel, channel.kind))
    channel.delete()
