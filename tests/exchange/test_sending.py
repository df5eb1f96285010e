"""Alerts by mail and webhook: to whom they concern, signed, to allowed hosts only, and tried again."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.core import mail

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions.sending import MOST_ATTEMPTS, signature
from jinqiao.exchange.enums import DeliveryState
from jinqiao.exchange.errors import AlertNotSent, ChannelAddressWrong, ChannelTaken, NotYourAlert
from jinqiao.exchange.models import AlertChannel, AlertDelivery, Node, OutboxMessage
from jinqiao.exchange.tasks import work_message
from jinqiao.kernel.hosts import HostNotAllowed
from tests.exchange.factories import World
from tests.factories import make_organisation, make_post


@dataclass
class Receiver:
    """A webhook's other end on this machine."""

    url: str = ""
    status: int = 204
    location: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((dict(self.headers), body))
            self.send_response(found.status)
            if found.location:
                self.send_header("Location", found.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "127.0.0.0/8")
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield found
    server.shutdown()
    server.server_close()


def trouble(world: World) -> None:
    """The provider's node runs out of disk."""
    Node.objects.filter(pk=world.provider_node.node.pk).update(spool_free_bytes=1)
    Node.objects.filter(pk=world.consumer_node.node.pk).update(spool_free_bytes=10**10)
    actions.watch()


def work() -> list[BaseException]:
    """One round of the worker over the waiting messages; what it would try again."""
    found: list[BaseException] = []
    for message in OutboxMessage.objects.filter(topic="alert.send").order_by("id"):
        try:
            work_message(message.pk)
        except AlertNotSent as error:
            found.append(error)
    return found


def test_a_webhook_gets_a_signed_message_without_data_when_an_alert_opens_and_closes(
    world: World, receiver: Receiver
) -> None:
    _channel, secret = actions.add_alert_channel(by=world.provider_admin, kind="webhook", address=receiver.url)
    trouble(world)
    work()
    Node.objects.update(spool_free_bytes=10**10)
    actions.watch()
    work()
    work()  # the same messages again: nothing is sent twice

    told = [json.loads(body) for _headers, body in receiver.got]
    assert [message["state"] for message in told] == ["open", "closed"]
    assert (told[0]["kind"], told[0]["node"]) == ("disk_low", world.provider_node.node.number)
    assert told[0]["message"] != told[1]["message"]
    for headers, body in receiver.got:
        given = headers["X-Jinqiao-Signature"]
        seconds = int(given.split(",")[0].removeprefix("t="))
        assert signature(secret.encode(), seconds, body) == given
    assert set(AlertDelivery.objects.values_list("state", flat=True)) == {DeliveryState.SENT}


def test_the_key_of_a_webhook_is_kept_sealed(world: World, receiver: Receiver) -> None:
    channel, secret = actions.add_alert_channel(by=world.provider_admin, kind="webhook", address=receiver.url)

    assert secret
    assert secret not in channel.sealed_secret
    assert secret not in "".join(str(event.details) for event in AuditEvent.objects.all())


def test_mail_goes_to_the_side_that_answers_and_to_the_bureau(world: World) -> None:
    authority = make_post(Role.BUREAU, make_organisation("金昌市数据局", is_authority=True))
    actions.add_alert_channel(by=world.provider_admin, kind="mail", address="ops@minzheng.example")
    actions.add_alert_channel(by=world.admin, kind="mail", address="ops@zhujian.example")
    actions.add_alert_channel(by=authority, kind="mail", address="duty@bureau.example")
    trouble(world)
    work()

    assert sorted(address for message in mail.outbox for address in message.to) == [
        "duty@bureau.example",
        "ops@minzheng.example",
    ]
    assert "节点磁盘不足" in mail.outbox[0].subject
    assert world.provider_node.node.name in mail.outbox[0].body


def test_a_channel_takes_only_what_is_serious_enough_and_nothing_while_it_is_off(world: World) -> None:
    quiet, _ = actions.add_alert_channel(by=world.provider_admin, kind="mail", address="a@b.example", least="serious")
    off, _ = actions.add_alert_channel(by=world.provider_admin, kind="mail", address="c@d.example")
    actions.switch_alert_channel(off, by=world.provider_admin, is_active=False)
    actions.set_alert_rule("disk_low", by=world.parties.bureau, severity="warning")
    trouble(world)
    work()

    assert mail.outbox == []
    assert not quiet.deliveries.exists()


def test_a_receiver_that_fails_is_tried_again_and_then_given_up(world: World, receiver: Receiver) -> None:
    actions.add_alert_channel(by=world.provider_admin, kind="webhook", address=receiver.url)
    receiver.status = 500
    trouble(world)
    tries = [len(work()) for _ in range(MOST_ATTEMPTS)]

    delivery = AlertDelivery.objects.get()
    assert tries == [1] * (MOST_ATTEMPTS - 1) + [0]
    assert (delivery.state, delivery.attempts, delivery.problem) == (
        DeliveryState.FAILED,
        MOST_ATTEMPTS,
        "exchange.alert.not_sent",
    )
    assert AuditEvent.objects.filter(action="exchange.alert.send", outcome="failed").count() == 1


def test_a_receiver_that_mends_itself_hears_it_after_all(world: World, receiver: Receiver) -> None:
    actions.add_alert_channel(by=world.provider_admin, kind="webhook", address=receiver.url)
    receiver.status = 503
    trouble(world)
    assert len(work()) == 1
    receiver.status = 200

    assert work() == []
    assert AlertDelivery.objects.get().state == DeliveryState.SENT


def test_a_webhook_that_leads_elsewhere_is_not_followed(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions.add_alert_channel(by=world.provider_admin, kind="webhook", address=receiver.url)
    receiver.status, receiver.location = 307, "http://169.254.169.254/latest"
    trouble(world)
    work()

    assert AlertDelivery.objects.get().problem == "host.access.not_allowed"
    assert len(receiver.got) == 1


def test_a_host_that_is_taken_off_the_list_is_reached_no_more(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions.add_alert_channel(by=world.provider_admin, kind="webhook", address=receiver.url)
    monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "hooks.example.cn")
    trouble(world)
    work()

    assert (receiver.got, AlertDelivery.objects.get().state) == ([], DeliveryState.FAILED)


def test_without_a_mail_server_mail_says_so(world: World, settings: Any) -> None:
    settings.EMAIL_BACKEND = ""
    actions.add_alert_channel(by=world.provider_admin, kind="mail", address="a@b.example")
    trouble(world)
    work()

    assert AlertDelivery.objects.get().problem == "exchange.alert.mail_off"


@pytest.mark.parametrize(
    ("kind", "address", "error"),
    [
        ("mail", "nobody", ChannelAddressWrong),
        ("mail", "a@b.example\nBcc: x@y.example", ChannelAddressWrong),
        ("webhook", "http://127.0.0.1:1/", HostNotAllowed),
        ("webhook", "https://hooks.example/" + "x" * 300, ChannelAddressWrong),
    ],
)
def test_an_address_that_cannot_be_is_refused(world: World, kind: str, address: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        actions.add_alert_channel(by=world.provider_admin, kind=kind, address=address)


def test_channels_are_set_by_the_administrator_of_their_department(world: World) -> None:
    with pytest.raises(NotYourAlert):
        actions.add_alert_channel(by=world.parties.clerk, kind="mail", address="a@b.example")
    channel, _ = actions.add_alert_channel(by=world.provider_admin, kind="mail", address="a@b.example")
    with pytest.raises(ChannelTaken):
        actions.add_alert_channel(by=world.provider_admin, kind="mail", address="a@b.example")
    with pytest.raises(NotYourAlert):
        actions.drop_alert_channel(channel, by=world.admin)
    actions.drop_alert_channel(channel, by=world.provider_admin)
    assert not AlertChannel.objects.exists()
