"""Channels of alerts: what cannot send says so, a test tells what came of it, and forms name the hosts that are allowed."""

from typing import Any

import pytest
from django.core import mail
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange.models import AlertChannel
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.web.exchange.source_forms import SourceForm
from tests.exchange.factories import World
from tests.exchange.test_sending import Receiver, receiver
from tests.factories import make_post

pytestmark = pytest.mark.django_db
__all__ = ["receiver"]
SMTP = "django.core.mail.backends.smtp.EmailBackend"


def page(name: str, *arguments: Any) -> str:
    return reverse(f"exchange:{name}", args=arguments)


def text_of(response: Any) -> str:
    return str(response.content.decode())


def add(client: Any, kind: str, address: str) -> str:
    fields = {"kind": kind, "address": address, "least": "warning"}
    return text_of(client.post(page("alert_channel_new"), fields, follow=True))


def test_a_channel_by_mail_that_cannot_send_says_so_on_the_form_and_when_it_is_saved(
    enter: Any, world: World, settings: Any
) -> None:
    settings.EMAIL_BACKEND = ""
    client = enter(world.admin)

    assert "平台没有配置外发邮件" in text_of(client.get(page("alert_channel_new")))
    said = add(client, "mail", "duty@example.org")
    assert "通道已增加，但现在还发不出去" in said
    assert said.count("平台没有配置外发邮件") == 1
    assert "之后的告警会发到那里" not in said
    assert "平台没有配置外发邮件" in text_of(client.get(page("alert_channels")))
    told = text_of(client.post(page("alert_channel_test", AlertChannel.objects.get().pk), follow=True))
    assert "测试没有发出：平台没有配置邮件服务器。由系统管理员设置JINQIAO_MAIL。" in told
    event = AuditEvent.objects.get(action="exchange.alert.test_channel")
    assert (event.outcome, event.details["code"]) == ("failed", "exchange.alert.mail_off")


def test_mail_that_stays_on_this_machine_is_not_said_to_be_sent(enter: Any, world: World, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

    assert "平台的邮件只写在本机" in add(enter(world.admin), "mail", "duty@example.org")


def test_with_mail_the_test_is_handed_over(enter: Any, world: World) -> None:
    client = enter(world.admin)
    assert "之后的告警会发到那里" in add(client, "mail", "duty@example.org")

    told = text_of(client.post(page("alert_channel_test", AlertChannel.objects.get().pk), follow=True))
    assert "测试已交给duty@example.org的服务器" in told
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["duty@example.org"], "[测试] 告警通道测试")


def test_a_mail_server_that_does_not_answer_is_told(enter: Any, world: World, settings: Any) -> None:
    client = enter(world.admin)
    add(client, "mail", "duty@example.org")
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = SMTP, "127.0.0.1", 1

    told = text_of(client.post(page("alert_channel_test", AlertChannel.objects.get().pk), follow=True))
    assert "测试没有发出：告警没有送达（mail）：ConnectionRefusedError。" in told


def test_a_webhook_is_tested_and_what_it_answers_is_told(enter: Any, world: World, receiver: Receiver) -> None:
    client = enter(world.admin)
    add(client, "webhook", receiver.url)
    test = page("alert_channel_test", AlertChannel.objects.get().pk)

    assert "测试已送达" in text_of(client.post(test, follow=True))
    ((headers, body),) = receiver.got
    assert "X-Jinqiao-Signature" in headers
    assert b'"state": "test"' in body
    receiver.status = 503
    assert "测试没有发出：告警没有送达（webhook）：503。" in text_of(client.post(test, follow=True))


def test_only_who_keeps_a_channel_tests_it(enter: Any, world: World) -> None:
    add(enter(world.admin), "mail", "duty@example.org")
    test = page("alert_channel_test", AlertChannel.objects.get().pk)

    assert enter(world.provider_admin).post(test).status_code == 404
    assert enter(make_post(Role.AUDITOR)).post(test).status_code == 403
    assert not mail.outbox


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "api.minzheng.example, 10.8.0.0/16")


def test_the_forms_name_the_hosts_that_are_allowed(enter: Any, world: World, listed: None) -> None:
    form = SourceForm(world.provider_admin, Engine.HTTP)

    assert "许可名单：api.minzheng.example、10.8.0.0/16" in str(form.fields["database"].help_text)
    assert "api.minzheng.example" in text_of(enter(world.admin).get(page("alert_channel_new")))


def test_an_empty_list_of_hosts_says_how_it_is_filled(
    enter: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JINQIAO_REACHABLE_HOSTS", raising=False)
    form = SourceForm(world.provider_admin, Engine.HTTP)

    assert "JINQIAO_REACHABLE_HOSTS" in str(form.fields["database"].help_text)
    assert "许可名单是空的" in text_of(enter(world.admin).get(page("alert_channel_new")))
