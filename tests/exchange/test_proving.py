"""A call proved by one file: it holds without the platform, tells a changed byte, and says nothing of any other call."""

from pathlib import Path

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.dataplane.verify import main
from jinqiao.exchange import actions
from jinqiao.exchange.models import Call, EvidenceSegment
from jinqiao.kernel.contracts.exchange import CommandKind
from jinqiao.kernel.evidence.proofs import CallNotInEvidence, NotAnchored
from jinqiao.kernel.evidence.statements import statement_bytes, verify_statement
from tests.exchange.factories import Served, call_record, evidence_batches
from tests.exchange.test_anchors import anchor_of, answer, offer, witness_of
from tests.factories import make_post

pytestmark = pytest.mark.django_db


def ship(served: Served) -> Call:
    """Three batches of three calls, the second one's second is proved; an anchor of the third covers it."""
    batches = evidence_batches(*([call_record(served, 3 * at + n) for n in (1, 2, 3)] for at in range(3)))
    for batch in batches:
        actions.accept_evidence(served.gateway.node, batch)
    offer(served, anchor_of(served, batches[-1], number=9))
    return Call.objects.get(number=5)


def test_one_record_is_proved_without_the_platform_and_without_another_record(served: Served, tmp_path: Path) -> None:
    call = ship(served)

    raw = statement_bytes(actions.prove_call(call, by=make_post(Role.AUDITOR)))

    verdict, record = verify_statement(raw)
    assert verdict.findings == []
    assert (verdict.exported_by, verdict.witnesses) == ("platform", ("platform",))
    assert record is not None
    assert (record.call_id, record.number) == (call.call_id, 5)
    assert raw.count(b"GZF-") == 1
    (tmp_path / "proof.json").write_bytes(raw)
    assert main([str(tmp_path / "proof.json")]) == 0
    assert main([str(tmp_path / "proof.json"), "--trust", "00" * 16]) == 1
    event = AuditEvent.objects.get(action="exchange.evidence.prove")
    assert event.about_label == call.call_id


def test_no_byte_of_a_proof_changes_unseen(served: Served) -> None:
    raw = statement_bytes(actions.prove_call(ship(served), by=make_post(Role.BUREAU)))

    for at in range(0, len(raw), 7):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        assert not verify_statement(changed)[0].ok, (at, raw[max(0, at - 20) : at + 20])
    assert verify_statement(raw[:-1])[0].reason == "proof.form"


def test_the_word_of_another_department_is_in_the_proof(served: Served, tmp_path: Path) -> None:
    hands = witness_of(served)
    call = ship(served)
    hands.answer(answer(hands, hands.take(CommandKind.COUNTERSIGN), tmp_path))

    verdict, _ = verify_statement(statement_bytes(actions.prove_call(call, by=make_post(Role.AUDITOR))))

    assert verdict.findings == []
    assert set(verdict.witnesses) == {"platform", hands.node.number}


def test_a_record_that_was_changed_at_the_centre_is_not_proved(served: Served) -> None:
    call = ship(served)
    segment = EvidenceSegment.objects.get(batch=2)
    EvidenceSegment.objects.filter(batch=3).update(lines=segment.lines)

    verdict, _ = verify_statement(statement_bytes(actions.prove_call(call, by=make_post(Role.AUDITOR))))
    assert verdict.ok
    with pytest.raises(CallNotInEvidence):
        actions.prove_call(Call.objects.get(number=8), by=make_post(Role.AUDITOR))


def test_both_sides_prove_a_call_and_nobody_else(served: Served) -> None:
    call = ship(served)
    parties = served.world.parties
    for post in (parties.asker, parties.clerk):
        assert verify_statement(statement_bytes(actions.prove_call(call, by=post)))[0].ok
    with pytest.raises(CallNotInEvidence):
        actions.prove_call(call, by=make_post(Role.OPERATOR))


def test_there_is_no_proof_before_an_anchor_nor_after_the_time_of_keeping(served: Served) -> None:
    (batch,) = evidence_batches([call_record(served, 1)])
    actions.accept_evidence(served.gateway.node, batch)
    call, auditor = Call.objects.get(), make_post(Role.AUDITOR)

    with pytest.raises(NotAnchored):
        actions.prove_call(call, by=auditor)
    EvidenceSegment.objects.update(lines=None)
    with pytest.raises(CallNotInEvidence):
        actions.prove_call(call, by=auditor)
