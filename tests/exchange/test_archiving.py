"""Packs from the centre, and records that are deleted after their time as a recorded act."""

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions.archiving import ARCHIVE, keep_days
from jinqiao.exchange.models import Call, CallSubject, EvidenceDeletion, EvidenceSegment, Node
from jinqiao.kernel import moments
from jinqiao.kernel.evidence.packs import verify_pack
from tests.exchange.factories import Served, call_record, evidence_batches, make_served
from tests.exchange.test_anchors import anchor_of, offer

pytestmark = pytest.mark.django_db


@pytest.fixture
def served(db: None, settings: Any, tmp_path: Path) -> Served:
    return make_served()


def ship(served: Served, *days_ago: int) -> None:
    batches = evidence_batches(
        *(
            [call_record(served, number, at=moments.now() - timedelta(days=days), subjects=("k:ab",), end_user="李四")]
            for number, days in enumerate(days_ago, 1)
        )
    )
    for batch in batches:
        actions.accept_evidence(served.gateway.node, batch)
    offer(served, anchor_of(served, batches[-1]))


def test_the_centre_exports_what_a_gateway_shipped(served: Served, tmp_path: Path) -> None:
    ship(served, 3, 2, 1)
    pack = tmp_path / "pack.zip"

    call_command("evidence_export", served.gateway.node.number, "--out", str(pack), stdout=StringIO())

    verdict = verify_pack(pack)
    assert verdict.findings == []
    assert (verdict.gateway, verdict.exported_by, verdict.records) == (served.gateway.node.number, "platform", 3)
    assert verdict.witnesses == ("platform",)


def test_there_is_nothing_to_export_of_a_gateway_without_calls(served: Served, tmp_path: Path) -> None:
    with pytest.raises(CommandError):
        call_command("evidence_export", served.gateway.node.number, "--out", str(tmp_path / "pack.zip"))
    assert not (tmp_path / "pack.zip").exists()


def test_records_are_archived_and_deleted_after_their_time(served: Served, tmp_path: Path, settings: Any) -> None:
    old = keep_days() + 1
    ship(served, old, old, 1)

    assert actions.delete_old_evidence() == 2
    assert actions.delete_old_evidence() == 0

    assert [segment.lines is None for segment in EvidenceSegment.objects.order_by("batch")] == [True, True, False]
    assert [call.end_user for call in Call.objects.order_by("number")] == ["", "", "李四"]
    assert [call.record is None for call in Call.objects.order_by("number")] == [True, True, False]
    assert CallSubject.objects.count() == 1
    assert AuditEvent.objects.filter(action="exchange.evidence.delete").exists()
    row = EvidenceDeletion.objects.get()
    archive = verify_pack(Path(settings.HOME) / ARCHIVE / row.archive)
    assert archive.ok
    assert archive.records == 2
    actions.export_evidence(Node.objects.get(pk=served.gateway.node.pk), tmp_path / "pack.zip")
    verdict = verify_pack(tmp_path / "pack.zip")
    assert verdict.findings == []
    assert [(one.first_batch, one.last_batch) for one in verdict.deleted] == [(1, 2)]


def test_a_deletion_that_nobody_recorded_is_damage(served: Served, tmp_path: Path) -> None:
    ship(served, 3, 2, 1)
    EvidenceSegment.objects.filter(batch=2).update(lines=None)

    actions.export_evidence(served.gateway.node, tmp_path / "pack.zip")

    assert verify_pack(tmp_path / "pack.zip").reason == "deletion.not_covered"
