"""A call, and a run, proved by one file: it holds without the platform, tells a changed byte, and says nothing of any other call."""

from dataclasses import replace
from pathlib import Path

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.dataplane.verify import main
from jinqiao.exchange import actions
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.errors import ReceiptMissing
from jinqiao.exchange.models import Call, EvidenceSegment, Node, Run
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.contracts.evidence import KnownIdentity, SignedReceipt
from jinqiao.kernel.contracts.exchange import CommandKind
from jinqiao.kernel.crypto.identity import Identity, sign_message
from jinqiao.kernel.evidence.proofs import CallNotInEvidence, NotAnchored
from jinqiao.kernel.evidence.statements import statement_bytes, verify_statement
from tests.exchange.factories import Served, World, call_record, evidence_batches
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

    told = verify_statement(raw)
    verdict, record = told.verdict, told.record
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
        assert not verify_statement(changed).verdict.ok, (at, raw[max(0, at - 20) : at + 20])
    assert verify_statement(raw[:-1]).verdict.reason == "proof.form"


def test_the_word_of_another_department_is_in_the_proof(served: Served, tmp_path: Path) -> None:
    hands = witness_of(served)
    Node.objects.exclude(pk=hands.node.pk).update(seen_at=None)  # nobody else can be asked
    call = ship(served)
    hands.answer(answer(hands, hands.take(CommandKind.COUNTERSIGN), tmp_path))

    verdict = verify_statement(statement_bytes(actions.prove_call(call, by=make_post(Role.AUDITOR)))).verdict

    assert verdict.findings == []
    assert set(verdict.witnesses) == {"platform", hands.node.number}


def test_a_record_that_was_changed_at_the_centre_is_not_proved(served: Served) -> None:
    call = ship(served)
    segment = EvidenceSegment.objects.get(batch=2)
    EvidenceSegment.objects.filter(batch=3).update(lines=segment.lines)

    verdict = verify_statement(statement_bytes(actions.prove_call(call, by=make_post(Role.AUDITOR)))).verdict
    assert verdict.ok
    with pytest.raises(CallNotInEvidence):
        actions.prove_call(Call.objects.get(number=8), by=make_post(Role.AUDITOR))


def test_both_sides_prove_a_call_and_nobody_else(served: Served) -> None:
    call = ship(served)
    parties = served.world.parties
    for post in (parties.asker, parties.clerk):
        assert verify_statement(statement_bytes(actions.prove_call(call, by=post))).verdict.ok
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


# ── receipts of runs ──


def finished(world: World) -> Run:
    return world.finished(world.run())


def test_the_receipt_of_a_run_holds_without_the_platform(world: World, tmp_path: Path) -> None:
    run = finished(world)
    receipt = run.receipt

    raw = statement_bytes(actions.prove_receipt(run, by=make_post(Role.AUDITOR)))

    told = verify_statement(raw)
    assert told.verdict.findings == []
    assert told.receipt is not None
    assert told.receipt.to_json() == receipt.body
    assert {one.node for one in told.verdict.signers} == {"platform", receipt.sender.number, receipt.receiver.number}
    assert receipt.sender_signature.encode() in raw
    assert receipt.receiver_signature.encode() in raw
    file = tmp_path / "receipt.json"
    file.write_bytes(raw)
    assert main([str(file)]) == 0
    keys = [receipt.sender_key_id, receipt.receiver_key_id, platform_identity().key_id]
    assert main([str(file), *(part for key in keys for part in ("--trust", key))]) == 0
    assert main([str(file), "--trust", keys[0]]) == 1
    assert AuditEvent.objects.get(action="exchange.receipt.export").about_label == run.number


def test_no_byte_of_a_receipt_changes_unseen(world: World) -> None:
    raw = statement_bytes(actions.prove_receipt(finished(world), by=make_post(Role.AUDITOR)))

    for at in range(0, len(raw), 5):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        assert not verify_statement(changed).verdict.ok, (at, raw[max(0, at - 20) : at + 20])


def test_a_wrong_identity_and_a_wrong_signature_are_told_apart(world: World, tmp_path: Path) -> None:
    run = finished(world)
    message = actions.prove_receipt(run, by=make_post(Role.AUDITOR))
    given = SignedReceipt.from_json(message.body)
    file, identities = tmp_path / "receipt.json", tmp_path / "identities.json"
    file.write_bytes(statement_bytes(message))

    def with_identities(*entries: KnownIdentity) -> tuple[int, list[str]]:
        identities.write_bytes(canonical_json([entry.to_json() for entry in entries]))
        told = verify_statement(file.read_bytes(), identities=entries)
        codes = [finding.code.value for finding in told.verdict.findings]
        return main([str(file), "--identities", str(identities)]), codes

    assert with_identities(*given.identities) == (0, [])
    stranger = Identity.generate(given.sender.suite).public.to_json()
    others = [entry for entry in given.identities if entry.node != run.receipt.sender.number]
    wrong = KnownIdentity(node=run.receipt.sender.number, kind="node", identity=stranger)
    assert with_identities(wrong, *others) == (1, ["identity.unknown"])
    swapped = [replace(entry, node="somebody") if entry not in others else entry for entry in given.identities]
    assert with_identities(*swapped) == (1, ["receipt.signature"])

    forged = replace(given, sender=replace(given.sender, signature=given.receiver.signature if given.receiver else ""))
    signed = sign_message(forged, platform_identity())
    verdict = verify_statement(statement_bytes(signed)).verdict
    assert [finding.code.value for finding in verdict.findings] == ["receipt.signature"]
    assert run.receipt.sender.number in verdict.findings[0].text("en")


def test_a_receipt_of_another_run_does_not_pass_for_the_other_sides_word(world: World) -> None:
    task = world.task()
    first, second = (
        SignedReceipt.from_json(actions.prove_receipt(run, by=make_post(Role.AUDITOR)).body)
        for run in (world.finished(world.run(task)), world.finished(world.run(task)))
    )
    signed = sign_message(replace(first, receiver=second.receiver), platform_identity())

    assert verify_statement(statement_bytes(signed)).verdict.reason == "receipt.differs"


def test_a_receipt_that_one_side_has_signed_is_an_open_point(world: World, tmp_path: Path) -> None:
    run = world.run()
    with pytest.raises(ReceiptMissing):
        actions.prove_receipt(run, by=make_post(Role.AUDITOR))
    world.handed_over(run)

    file = tmp_path / "receipt.json"
    file.write_bytes(statement_bytes(actions.prove_receipt(run, by=world.parties.clerk)))

    assert main([str(file)]) == 3
    with pytest.raises(ReceiptMissing):
        actions.prove_receipt(run, by=make_post(Role.OPERATOR))
