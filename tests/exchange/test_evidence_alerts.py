"""Alerts of evidence: what does not hold, is not witnessed, does not come or is contradicted reaches the authority and who audits."""

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import OF_EVIDENCE, AlertKind
from jinqiao.exchange.errors import EvidenceBroken, NotYourAlert
from jinqiao.exchange.models import Alert, AlertDelivery, Call, EvidenceAnchor, EvidenceSegment, Node, NodeCommand
from jinqiao.exchange.queries.alerts import RuleBook, alerts_found
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import RECEIPT, CallRecord, EvidenceBatch
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult
from jinqiao.kernel.contracts.health import GatewayState
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.web.exchange.alert_view import detail_pairs
from jinqiao.workflow.models import ToDo
from tests.exchange.factories import Served, call_record, evidence_batches
from tests.exchange.test_anchors import anchor_of, answer, offer, shipped, witness_of
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db


@pytest.fixture
def auditor(served: Served) -> Post:
    """Who audits, in an organisation of its own."""
    Node.objects.update(spool_free_bytes=10**10, seen_at=moments.now())
    return make_post(Role.AUDITOR, make_organisation("金昌市审计局"))


def open_of(kind: AlertKind) -> list[Alert]:
    return list(Alert.objects.filter(kind=kind, closed_at=None).order_by("id"))


def desks(kind: AlertKind) -> set[tuple[int, str]]:
    todos = ToDo.objects.filter(kind=f"exchange.alert.{kind.value}", done_at=None)
    return set(todos.values_list("organisation_id", "role"))


def refuse(served: Served, batch: EvidenceBatch) -> None:
    """What the machine interface does with a batch that does not hold."""
    with pytest.raises(EvidenceBroken) as caught:
        actions.accept_evidence(served.gateway.node, batch)
    actions.note_broken(served.gateway.node, caught.value)


def test_a_refused_batch_is_on_the_desks_of_the_authority_and_of_the_audit_until_the_chain_goes_on(
    served: Served, auditor: Post
) -> None:
    bureau = served.world.parties.bureau
    first, second = evidence_batches([call_record(served, 1)], [call_record(served, 2)])
    actions.accept_evidence(served.gateway.node, first)

    refuse(served, dataclasses.replace(second, merkle_root="00" * 32))
    refuse(served, dataclasses.replace(second, merkle_root="00" * 32))
    (alert,) = open_of(AlertKind.EVIDENCE_BROKEN)
    assert (alert.node, alert.organisation, alert.severity) == (served.gateway.node, bureau.organisation, "serious")
    assert alert.details == {"lane": "lane-1", "batch": 2, "reason": "root"}
    assert desks(AlertKind.EVIDENCE_BROKEN) == {
        (bureau.organisation_id, "bureau"),
        (auditor.organisation_id, "auditor"),
    }
    actions.watch()
    assert open_of(AlertKind.EVIDENCE_BROKEN) == [alert]

    actions.accept_evidence(served.gateway.node, second)
    assert open_of(AlertKind.EVIDENCE_BROKEN) == []
    assert desks(AlertKind.EVIDENCE_BROKEN) == set()


def test_it_goes_by_mail_to_the_authority_and_to_the_audit_and_not_to_a_department(
    served: Served, auditor: Post
) -> None:
    parties = served.world.parties
    actions.add_alert_channel(by=parties.bureau, kind="mail", address="duty@bureau.example")
    actions.add_alert_channel(by=auditor, kind="mail", address="duty@audit.example")
    actions.add_alert_channel(by=served.world.provider_admin, kind="mail", address="ops@minzheng.example")
    (batch,) = evidence_batches([call_record(served, 1)])

    refuse(served, dataclasses.replace(batch, chain="00" * 32))
    for delivery in AlertDelivery.objects.order_by("id"):
        actions.send_alert(delivery.pk)

    assert sorted(address for message in mail.outbox for address in message.to) == [
        "duty@audit.example",
        "duty@bureau.example",
    ]
    assert "存证不成立" in mail.outbox[0].subject


def test_an_alert_of_a_task_does_not_go_to_the_audit(served: Served, auditor: Post) -> None:
    actions.add_alert_channel(by=auditor, kind="mail", address="duty@audit.example")
    Node.objects.filter(pk=served.world.provider_node.node.pk).update(spool_free_bytes=1)

    actions.watch()
    assert open_of(AlertKind.DISK_LOW)
    assert not AlertDelivery.objects.exists()


def test_the_auditor_takes_note_of_what_concerns_evidence_alone(served: Served, auditor: Post) -> None:
    (batch,) = evidence_batches([call_record(served, 1)])
    refuse(served, dataclasses.replace(batch, chain="00" * 32))
    (alert,) = open_of(AlertKind.EVIDENCE_BROKEN)
    assert actions.see_alert(alert, by=auditor).seen_by == auditor
    assert alerts_found(served.world.provider_admin).filter(pk=alert.pk).exists()  # it keeps the gateway

    Node.objects.filter(pk=served.world.provider_node.node.pk).update(spool_free_bytes=1)
    actions.watch()
    (other,) = open_of(AlertKind.DISK_LOW)
    with pytest.raises(NotYourAlert):
        actions.see_alert(other, by=auditor)


def test_a_kept_batch_that_comes_with_other_content_is_told_and_the_next_of_the_kept_chain_ends_it(
    served: Served, auditor: Post
) -> None:
    first, second = evidence_batches([call_record(served, 1)], [call_record(served, 2)])
    actions.accept_evidence(served.gateway.node, first)
    (other,) = evidence_batches([call_record(served, 1, rows=0)])

    refuse(served, other)
    assert open_of(AlertKind.EVIDENCE_BROKEN)[0].details["reason"] == "rewritten"
    actions.accept_evidence(served.gateway.node, first)  # known already: says nothing new
    assert open_of(AlertKind.EVIDENCE_BROKEN)
    actions.accept_evidence(served.gateway.node, second)
    assert not open_of(AlertKind.EVIDENCE_BROKEN)


def test_another_lane_that_goes_on_mends_nothing(served: Served, auditor: Post) -> None:
    (batch,) = evidence_batches([call_record(served, 1)])
    refuse(served, dataclasses.replace(batch, chain="00" * 32))

    (elsewhere,) = evidence_batches([call_record(served, 1, lane="lane-2", call_id="elsewhere")])
    actions.accept_evidence(served.gateway.node, elsewhere)
    assert open_of(AlertKind.EVIDENCE_BROKEN)


def test_an_anchor_that_contradicts_is_told_and_a_later_one_that_holds_ends_it(served: Served, auditor: Post) -> None:
    first, last = shipped(served)
    with pytest.raises(EvidenceBroken) as caught:
        offer(served, anchor_of(served, first, chain="00" * 32))
    actions.note_broken(served.gateway.node, caught.value)
    (alert,) = open_of(AlertKind.EVIDENCE_BROKEN)
    assert alert.details["reason"] == "anchor"

    offer(served, anchor_of(served, last))
    assert not open_of(AlertKind.EVIDENCE_BROKEN)


def test_a_witness_that_refuses_is_told_until_it_countersigns_itself(
    served: Served, auditor: Post, tmp_path: Path
) -> None:
    hands = witness_of(served)
    first, last = shipped(served)
    offer(served, anchor_of(served, first))
    command = hands.take(CommandKind.COUNTERSIGN)

    hands.answer(hands.failed(command, "node.witness.contradiction", retryable=False))
    (alert,) = open_of(AlertKind.WITNESS_REFUSED)
    assert (alert.node, alert.details["witness"]) == (served.gateway.node, hands.node.number)
    assert alert.details["code"] == "node.witness.contradiction"

    offer(served, anchor_of(served, last))
    hands.answer(answer(hands, hands.take(CommandKind.COUNTERSIGN), tmp_path))
    assert not open_of(AlertKind.WITNESS_REFUSED)


def test_a_countersignature_that_does_not_hold_is_told_and_a_node_s_own_trouble_is_not(
    served: Served, auditor: Post
) -> None:
    hands = witness_of(served)
    first, last = shipped(served)
    offer(served, anchor_of(served, first))
    hands.answer(hands.failed(hands.take(CommandKind.COUNTERSIGN), "node.disk.full", retryable=False))
    assert not open_of(AlertKind.WITNESS_REFUSED)

    offer(served, anchor_of(served, last))
    command = hands.take(CommandKind.COUNTERSIGN)
    hands.answer(CommandResult(command_id=command.id, ok=True, finished_at=moments.now()))
    assert open_of(AlertKind.WITNESS_REFUSED)[0].details["reason"] == "countersignature"


def test_what_is_open_of_a_gateway_that_is_retired_closes_with_that_reason(served: Served, auditor: Post) -> None:
    gateway, bureau = served.gateway.node, served.world.parties.bureau
    actions.add_alert_channel(by=auditor, kind="mail", address="duty@audit.example")
    hands = witness_of(served)
    first, last = shipped(served)
    offer(served, anchor_of(served, first))
    hands.answer(hands.failed(hands.take(CommandKind.COUNTERSIGN), "node.witness.contradiction", retryable=False))
    refuse(served, dataclasses.replace(last, merkle_root="00" * 32))
    EvidenceSegment.objects.update(received_at=moments.now() - timedelta(days=8))
    gateway_kinds = {"evidence_broken", "witness_refused", "anchor_unwitnessed", "evidence_silent"}
    Node.objects.filter(pk=gateway.pk).update(seen_at=moments.now())
    actions.watch()
    assert {alert.kind for alert in Alert.objects.filter(node=gateway, closed_at=None)} == gateway_kinds
    actions.suspend_node(gateway, by=bureau, reason="检修")
    actions.watch()
    assert open_of(AlertKind.EVIDENCE_BROKEN)
    assert open_of(AlertKind.WITNESS_REFUSED)

    actions.resume_node(gateway, by=bureau)
    actions.watch()
    actions.retire_node(gateway, by=bureau, reason="撤并")
    actions.watch()
    actions.watch()

    closed = Alert.objects.filter(node=gateway, details__closed_because="gateway_retired")
    assert {alert.kind for alert in closed} == gateway_kinds
    assert not Alert.objects.filter(node=gateway, closed_at=None).exists()
    assert desks(AlertKind.EVIDENCE_BROKEN) == desks(AlertKind.WITNESS_REFUSED) == set()
    (broken,) = closed.filter(kind="evidence_broken")
    assert broken.details["reason"] == "rewritten"  # the fact stays
    trails = AuditEvent.objects.filter(action="exchange.alert.close", details__closed_because="gateway_retired")
    assert trails.count() == len(gateway_kinds)
    for delivery in AlertDelivery.objects.filter(alert=broken, is_closing=True):
        actions.send_alert(delivery.pk)
    assert "解除原因：网关已停用" in mail.outbox[-1].body
    (pair,) = [pair for pair in detail_pairs(broken) if pair.label == "解除原因"]
    assert "网关已停用" in str(pair.value)


def test_what_a_witness_refused_closes_with_that_reason_when_the_witness_is_retired(
    served: Served, auditor: Post
) -> None:
    actions.add_alert_channel(by=auditor, kind="mail", address="duty@audit.example")
    hands = witness_of(served)
    first, _last = shipped(served)
    offer(served, anchor_of(served, first))
    hands.answer(hands.failed(hands.take(CommandKind.COUNTERSIGN), "node.witness.contradiction", retryable=False))
    actions.watch()
    (refused,) = open_of(AlertKind.WITNESS_REFUSED)

    actions.retire_node(hands.node, by=served.world.parties.bureau, reason="撤并")
    actions.watch()

    refused.refresh_from_db()
    assert refused.closed_at is not None
    assert (refused.details["closed_because"], refused.details["code"]) == (
        "witness_retired",
        "node.witness.contradiction",
    )
    assert desks(AlertKind.WITNESS_REFUSED) == set()
    (delivery,) = AlertDelivery.objects.filter(alert=refused, is_closing=True)
    actions.send_alert(delivery.pk)
    assert "解除原因：见证节点已停用" in mail.outbox[-1].body
    (pair,) = [pair for pair in detail_pairs(refused) if pair.label == "解除原因"]
    assert "见证节点已停用" in str(pair.value)


def test_records_that_contradict_each_other_are_told_on_after_their_gateway_is_retired(
    served: Served, auditor: Post
) -> None:
    for batch in evidence_batches([_call(served, 1, "wrong")], [_receipt(served, 2, "wrong", OTHER)]):
        actions.accept_evidence(served.gateway.node, batch)
    actions.watch()
    actions.retire_node(served.gateway.node, by=served.world.parties.bureau, reason="撤并")

    actions.watch()
    assert open_of(AlertKind.RECEIPTS_CONTRADICT)  # its keeper does not end an inquiry by giving it up
    days = RuleBook().rule(AlertKind.RECEIPTS_CONTRADICT).number("watched_days")
    Call.objects.filter(confirmation_fits=False).update(confirmed_at=moments.now() - timedelta(days=days, hours=1))
    actions.watch()
    assert not open_of(AlertKind.RECEIPTS_CONTRADICT)


def test_records_that_no_other_department_witnesses_are_told_after_an_hour(
    served: Served, auditor: Post, tmp_path: Path
) -> None:
    first, last = shipped(served)
    actions.watch()
    assert not open_of(AlertKind.ANCHOR_UNWITNESSED)
    EvidenceSegment.objects.filter(batch=first.batch).update(received_at=moments.now() - timedelta(minutes=61))
    actions.watch(listening_s=60)
    assert not open_of(AlertKind.ANCHOR_UNWITNESSED)  # nobody could have asked a witness meanwhile

    actions.watch()
    (alert,) = open_of(AlertKind.ANCHOR_UNWITNESSED)
    assert (alert.details["batch"], alert.details["witnesses"]) == (1, 1)
    assert desks(AlertKind.ANCHOR_UNWITNESSED) == {
        (served.world.parties.bureau.organisation_id, "bureau"),
        (auditor.organisation_id, "auditor"),
    }

    hands = witness_of(served)
    offer(served, anchor_of(served, last))
    hands.answer(answer(hands, hands.take(CommandKind.COUNTERSIGN), tmp_path))
    actions.watch()
    assert not open_of(AlertKind.ANCHOR_UNWITNESSED)


def test_the_last_anchor_of_a_lane_is_asked_for_again_when_there_is_a_witness(served: Served, tmp_path: Path) -> None:
    Node.objects.filter(pk=served.world.consumer_node.node.pk).update(seen_at=None)
    (_first, last) = shipped(served)
    offer(served, anchor_of(served, last))
    assert EvidenceAnchor.objects.get().asked is None
    assert actions.ask_missing_witnesses() == 0

    hands = witness_of(served)
    assert actions.ask_missing_witnesses() == 1
    assert actions.ask_missing_witnesses() == 0  # it has time to answer
    hands.answer(hands.failed(hands.take(CommandKind.COUNTERSIGN), "node.disk.full", retryable=False))
    assert actions.ask_missing_witnesses() == 0
    NodeCommand.objects.update(created_at=moments.now() - timedelta(minutes=11))
    assert actions.ask_missing_witnesses() == 1

    hands.answer(answer(hands, hands.take(CommandKind.COUNTERSIGN), tmp_path))
    assert EvidenceAnchor.objects.get().witness == hands.node
    assert actions.ask_missing_witnesses() == 0


def test_a_gateway_in_contact_that_brings_no_record_for_long_is_told(served: Served, auditor: Post) -> None:
    shipped(served)
    EvidenceSegment.objects.update(received_at=moments.now() - timedelta(days=8))
    Node.objects.filter(pk=served.gateway.node.pk).update(seen_at=moments.now() - timedelta(hours=1))
    actions.watch()
    assert not open_of(AlertKind.EVIDENCE_SILENT)  # it is silent as a whole, which is another alert
    assert open_of(AlertKind.NODE_SILENT)

    Node.objects.filter(pk=served.gateway.node.pk).update(seen_at=moments.now())
    actions.watch()
    (alert,) = open_of(AlertKind.EVIDENCE_SILENT)
    assert alert.node == served.gateway.node

    actions.set_alert_rule("evidence_silent", by=served.world.parties.bureau, parameters={"quiet_s": 864_000})
    actions.watch()
    assert not open_of(AlertKind.EVIDENCE_SILENT)


FITS, OTHER = "ab" * 32, "cd" * 32


def _call(served: Served, number: int, name: str, **changes: Any) -> CallRecord:
    return call_record(served, number, **{"call_id": name, "answer_commitment": FITS, **changes})


def _receipt(served: Served, number: int, of: str, commitment: str, **changes: Any) -> CallRecord:
    fields = {"operation": RECEIPT, "confirms": of, "answer_commitment": commitment, "rows": 0, **changes}
    return call_record(served, number, **fields)


def test_receipts_that_contradict_are_told_once_a_day_for_each_application(served: Served, auditor: Post) -> None:
    earlier = moments.now() - timedelta(hours=2)
    for batch in evidence_batches(
        [_call(served, 1, "right"), _call(served, 2, "wrong")],
        [_receipt(served, 3, "right", FITS), _receipt(served, 4, "wrong", OTHER)],
        [_receipt(served, 5, "never recorded", FITS, at=earlier), _receipt(served, 6, "not yet recorded", FITS)],
    ):
        actions.accept_evidence(served.gateway.node, batch)

    actions.watch()
    found = open_of(AlertKind.RECEIPTS_CONTRADICT)
    assert {alert.details["application"] for alert in found} == {served.application.number}
    assert sum(alert.details["contradicted"] for alert in found) == 1
    assert sum(alert.details["unmatched"] for alert in found) == 1
    actions.watch()
    assert open_of(AlertKind.RECEIPTS_CONTRADICT) == found

    actions.set_alert_rule("receipts_contradict", by=served.world.parties.bureau, parameters={"least_calls": 5})
    actions.watch()
    assert not open_of(AlertKind.RECEIPTS_CONTRADICT)


def test_receipts_that_fit_are_no_alert(served: Served, auditor: Post) -> None:
    earlier = moments.now() - timedelta(hours=2)
    for batch in evidence_batches(
        [_call(served, 1, "right", at=earlier), _receipt(served, 2, "right", FITS, at=earlier)],
    ):
        actions.accept_evidence(served.gateway.node, batch)

    actions.watch()
    assert not open_of(AlertKind.RECEIPTS_CONTRADICT)


def test_a_rule_of_evidence_is_switched_off_for_all_only(served: Served, auditor: Post) -> None:
    (batch,) = evidence_batches([call_record(served, 1)])
    actions.set_alert_rule("evidence_broken", by=served.world.parties.bureau, is_on=False)

    refuse(served, dataclasses.replace(batch, chain="00" * 32))
    assert not open_of(AlertKind.EVIDENCE_BROKEN)
    with pytest.raises(NotYourAlert):
        actions.set_alert_rule("evidence_broken", by=auditor, is_on=True)
    assert len(OF_EVIDENCE) == 5


def test_an_anchor_by_a_strange_key_is_told(served: Served, auditor: Post) -> None:
    (first,) = shipped(served, 1)
    with pytest.raises(EvidenceBroken) as caught:
        offer(served, anchor_of(served, first, Identity.generate()))
    actions.note_broken(served.gateway.node, caught.value)

    assert open_of(AlertKind.EVIDENCE_BROKEN)[0].details["batch"] == 0


def test_records_that_wait_at_a_gateway_by_its_own_word_are_told(served: Served, auditor: Post) -> None:
    now = moments.now()
    oldest = now - timedelta(days=2)  # it was away for long

    def says(**fields: Any) -> None:
        actions.note_state(served.gateway.node, GatewayState(at=now, **fields))
        actions.watch()

    def earlier(**ago: timedelta) -> None:
        kept = Node.objects.get(pk=served.gateway.node.pk).gateway_state
        kept |= {name: (moments.now() - value).isoformat() for name, value in ago.items()}
        Node.objects.filter(pk=served.gateway.node.pk).update(gateway_state=kept)

    says(waiting_batches=3, waiting_since=oldest, recorded_at=now)
    assert not open_of(AlertKind.EVIDENCE_SILENT)  # it has just come back
    earlier(waiting_from=timedelta(minutes=31), heard_at=timedelta(minutes=6))
    says(waiting_batches=3, waiting_since=oldest, recorded_at=now)
    assert not open_of(AlertKind.EVIDENCE_SILENT)  # away again meanwhile
    earlier(waiting_from=timedelta(minutes=31))
    says(waiting_batches=3, waiting_since=oldest + timedelta(minutes=1), recorded_at=now)
    assert not open_of(AlertKind.EVIDENCE_SILENT)  # some have come
    earlier(waiting_from=timedelta(minutes=31))
    says(waiting_batches=3, waiting_since=oldest + timedelta(minutes=1), recorded_at=now)
    (alert,) = open_of(AlertKind.EVIDENCE_SILENT)
    assert alert.details["waiting"] == 3

    says(waiting_batches=0, recorded_at=now - timedelta(hours=1))  # recorded, not waiting, and not here
    assert open_of(AlertKind.EVIDENCE_SILENT) == [alert]
    shipped(served)
    actions.watch()
    assert not open_of(AlertKind.EVIDENCE_SILENT)
