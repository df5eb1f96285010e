"""Packs by gateway and period: asked for on a page, made by the worker, verified without the platform."""

import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit.models import AuditEvent
from jinqiao.dataplane.verify import main
from jinqiao.exchange import actions, tasks
from jinqiao.exchange.actions import packs
from jinqiao.exchange.actions.packs import FOLDER, file_of
from jinqiao.exchange.errors import EvidencePackGone, NodeKindWrong, NotYourEvidence
from jinqiao.exchange.models import OutboxMessage
from jinqiao.exchange.queries.packs import PackAsked, PackState, packs_asked
from jinqiao.kernel.contracts.evidence import RECEIPT
from jinqiao.kernel.evidence.packs import open_pack, verify_pack
from tests.exchange.factories import Served, call_record, evidence_batches
from tests.exchange.oversight import at
from tests.exchange.test_anchors import anchor_of, offer
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db
DAY = date(2026, 3, 18)


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> None:
    settings.HOME = tmp_path


def ship(served: Served, *days: int) -> None:
    """A batch for each day (from DAY), of two calls; an anchor of the last one."""
    lists = [
        [call_record(served, 2 * number + one, at=at(DAY + timedelta(days=day), 9 + one)) for one in (1, 2)]
        for number, day in enumerate(days)
    ]
    batches = evidence_batches(*lists)
    for batch in batches:
        actions.accept_evidence(served.gateway.node, batch)
    offer(served, anchor_of(served, batches[-1], number=2 * len(days)))


def authority() -> Post:
    return make_post(Role.BUREAU, organisation=make_organisation(is_authority=True))


def worked(asked: PackAsked) -> PackAsked:
    for message in tasks.waiting_messages():
        tasks.work_message(message)
    return PackAsked.of(OutboxMessage.objects.get(pk=asked.pk))


def numbers_in(file: Path) -> set[int]:
    with open_pack(file) as pack:
        return {int(line.split('"number":')[1].split(",")[0]) for line in pack.lines()}


def test_the_calls_of_a_period_and_what_covers_them_are_in_the_pack(served: Served, tmp_path: Path) -> None:
    ship(served, 0, 1, 2, 3)

    asked = actions.ask_pack(
        served.gateway.node, DAY + timedelta(days=1), DAY + timedelta(days=1), by=make_post(Role.AUDITOR)
    )
    made = worked(asked)

    assert (made.state, made.done, made.total, made.records) == (PackState.READY, 3, 3, 6)
    verdict = verify_pack(file_of(made))
    assert verdict.findings == []
    assert (verdict.exported_by, verdict.first_batches, verdict.anchors) == ("platform", {"lane-1": 2}, 1)
    assert numbers_in(file_of(made)) == {3, 4, 5, 6, 7, 8}  # the day's, and on to the anchor that covers them
    assert main([str(file_of(made))]) == 0


def test_a_changed_byte_of_the_pack_is_found(served: Served, tmp_path: Path) -> None:
    ship(served, 0)
    raw = file_of(worked(actions.ask_pack(served.gateway.node, DAY, DAY, by=authority()))).read_bytes()

    changed = tmp_path / "changed.zip"
    for place in range(0, len(raw), 97):
        changed.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        assert main([str(changed)]) == 1, place


def test_a_receipt_whose_call_lies_outside_of_the_period_is_no_open_point(served: Served) -> None:
    call = call_record(served, 1, at=at(DAY - timedelta(days=1)))
    receipt = call_record(
        served, 1, at=at(DAY), lane="lane-2", call_id="receipt", operation=RECEIPT, confirms=call.call_id, rows=0
    )
    for record in (call, receipt):
        (batch,) = evidence_batches([record])
        actions.accept_evidence(served.gateway.node, batch)
        offer(served, anchor_of(served, batch))

    made = worked(actions.ask_pack(served.gateway.node, DAY, DAY, by=authority()))

    assert verify_pack(file_of(made)).findings == []


def test_what_cannot_be_written_says_why(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = worked(actions.ask_pack(served.gateway.node, DAY, DAY, by=authority()))
    assert (nothing.state, nothing.code) == (PackState.FAILED, "evidence.pack.empty")

    ship(served, 0)

    def full(*_arguments: Any, **_options: Any) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(packs, "export_evidence", full)
    failed = worked(actions.ask_pack(served.gateway.node, DAY, DAY, by=authority()))
    assert (failed.state, failed.code) == (PackState.FAILED, "exchange.evidence.pack_not_written")


def test_only_the_authority_and_the_auditor_ask_for_packs_and_take_them(served: Served) -> None:
    ship(served, 0)
    asked = actions.ask_pack(served.gateway.node, DAY, DAY, by=authority())
    row = OutboxMessage.objects.get(pk=asked.pk)
    with pytest.raises(EvidencePackGone):
        actions.take_pack(row, by=authority())
    worked(asked)
    row.refresh_from_db()

    for post in (served.world.parties.clerk, served.world.parties.asker, make_post(Role.BUREAU)):
        with pytest.raises(NotYourEvidence):
            actions.ask_pack(served.gateway.node, DAY, DAY, by=post)
        with pytest.raises(NotYourEvidence):
            actions.take_pack(row, by=post)
    with pytest.raises(NodeKindWrong):
        actions.ask_pack(served.world.provider_node.node, DAY, DAY, by=authority())

    assert actions.take_pack(row, by=make_post(Role.AUDITOR)).is_file()
    events = AuditEvent.objects.filter(action__startswith="exchange.evidence.")
    assert [event.action for event in events.order_by("number")] == [
        "exchange.evidence.export",
        "exchange.evidence.download",
    ]


def test_packs_are_made_once_and_removed_after_a_week(served: Served, tmp_path: Path) -> None:
    ship(served, 0)
    made = worked(actions.ask_pack(served.gateway.node, DAY, DAY, by=authority()))
    before = file_of(made).stat().st_mtime_ns
    actions.make_pack(made.token)
    actions.make_pack("no such token")
    assert file_of(made).stat().st_mtime_ns == before
    assert actions.forget_packs() == 0

    OutboxMessage.objects.update(created_at=OutboxMessage.objects.get(pk=made.pk).created_at - timedelta(days=8))

    half, young = (tmp_path / FOLDER / f".{made.token}.zip.{name}" for name in ("1.aa", "2.bb"))
    for left in (half, young):
        left.write_bytes(b"PK")
    os.utime(half, (1, 1))
    assert actions.forget_packs() == 1
    assert not half.exists()
    young.unlink()
    assert list((tmp_path / FOLDER).iterdir()) == []
    assert [PackAsked.of(row).state for row in packs_asked(served.gateway.node.pk)] == [PackState.REMOVED]
