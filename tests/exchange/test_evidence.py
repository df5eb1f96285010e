"""Evidence is verified link by link before it is kept."""

import dataclasses
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.errors import EvidenceBroken, EvidenceGap, NodeKindWrong
from jinqiao.exchange.models import Call, EvidenceSegment
from tests.exchange.factories import Served, call_record, evidence_batches, make_node

pytestmark = pytest.mark.django_db


def test_batches_of_a_lane_are_kept_in_their_order_as_calls(served: Served) -> None:
    first, second = evidence_batches(
        [call_record(served, 1), call_record(served, 2, outcome="gateway.items.not_granted", rows=0)],
        [call_record(served, 3)],
    )
    actions.accept_evidence(served.gateway.node, first)
    actions.accept_evidence(served.gateway.node, second)

    calls = Call.objects.order_by("number")
    assert [(call.number, call.outcome, call.case_number) for call in calls] == [
        (1, "ok", "GZF-1"),
        (2, "gateway.items.not_granted", "GZF-2"),
        (3, "ok", "GZF-3"),
    ]
    assert EvidenceSegment.objects.get(batch=2).chain == second.chain


def test_the_same_batch_again_is_confirmed_without_change(served: Served) -> None:
    (batch,) = evidence_batches([call_record(served, 1)])
    kept = actions.accept_evidence(served.gateway.node, batch)

    assert actions.accept_evidence(served.gateway.node, batch) == kept
    assert Call.objects.count() == 1


def test_a_missing_batch_is_asked_for(served: Served) -> None:
    _first, second = evidence_batches([call_record(served, 1)], [call_record(served, 2)])

    with pytest.raises(EvidenceGap) as caught:
        actions.accept_evidence(served.gateway.node, second)
    assert caught.value.details["expected"] == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"merkle_root": "00" * 32}, "root"),
        ({"chain": "00" * 32}, "chain"),
        ({"previous": "11" * 32}, "previous"),
        ({"lines": ()}, "empty"),
    ],
)
def test_a_batch_with_a_broken_link_is_refused(served: Served, changes: dict[str, Any], reason: str) -> None:
    (batch,) = evidence_batches([call_record(served, 1)])

    with pytest.raises(EvidenceBroken) as caught:
        actions.accept_evidence(served.gateway.node, dataclasses.replace(batch, **changes))
    assert caught.value.details["reason"] == reason
    assert not Call.objects.exists()


def test_a_changed_record_does_not_fit_the_root(served: Served) -> None:
    (batch,) = evidence_batches([call_record(served, 1), call_record(served, 2)])
    changed = (batch.lines[0], batch.lines[1].replace('"rows":1', '"rows":0'))

    with pytest.raises(EvidenceBroken):
        actions.accept_evidence(served.gateway.node, dataclasses.replace(batch, lines=changed))


@pytest.mark.parametrize("changes", [{"number": 2}, {"gateway": "other"}])
def test_records_stand_in_their_place(served: Served, changes: dict[str, Any]) -> None:
    (batch,) = evidence_batches([call_record(served, **{"number": 1, **changes})])

    with pytest.raises(EvidenceBroken) as caught:
        actions.accept_evidence(served.gateway.node, batch)
    assert caught.value.details["reason"] == "record"


@pytest.mark.parametrize(
    "changes",
    [
        {"at": datetime(2026, 3, 18, 1, 0)},  # noqa: DTZ001 -- that it says of no place is what is wrong with it
        {"at": datetime(9999, 12, 31, 23, 59, tzinfo=UTC)},
        {"rows": -1},
        {"keys": 2**31},
        {"duration_us": -1},
        {"case_number": "GZF\x001"},
        {"items": ("xm", "\x00")},
    ],
    ids=repr,
)
def test_a_record_that_cannot_be_kept_is_refused(served: Served, changes: dict[str, Any]) -> None:
    (batch,) = evidence_batches([call_record(served, 1), call_record(served, 2, **changes)])

    with pytest.raises(EvidenceBroken) as caught:
        actions.accept_evidence(served.gateway.node, batch)
    assert caught.value.details["reason"] == "record"
    assert not Call.objects.exists()


def test_a_call_in_which_the_machine_stood_still_is_kept(served: Served) -> None:
    (batch,) = evidence_batches([call_record(served, 1, duration_us=3600 * 10**6)])
    actions.accept_evidence(served.gateway.node, batch)
    assert Call.objects.get().duration_us == 2**31 - 1


def test_history_is_not_written_anew(served: Served) -> None:
    (batch,) = evidence_batches([call_record(served, 1)])
    (other,) = evidence_batches([call_record(served, 1, rows=0)])
    actions.accept_evidence(served.gateway.node, batch)

    with pytest.raises(EvidenceBroken) as caught:
        actions.accept_evidence(served.gateway.node, other)
    assert caught.value.details["reason"] == "rewritten"


def test_broken_evidence_is_an_event_of_the_trail(served: Served) -> None:
    actions.note_broken(served.gateway.node, EvidenceBroken(lane="lane-1", batch=1, reason="root"))

    assert AuditEvent.objects.get(action="exchange.evidence.accept").outcome == "failed"


def test_the_first_answered_call_stops_the_providers_clock(served: Served) -> None:
    refused, answered = evidence_batches([call_record(served, 1, outcome="refused")], [call_record(served, 2)])
    actions.accept_evidence(served.gateway.node, refused)
    served.grant.refresh_from_db()
    assert served.grant.provided_at is None

    actions.accept_evidence(served.gateway.node, answered)

    served.grant.refresh_from_db()
    assert served.grant.provided_at is not None


def test_a_front_end_node_ships_no_evidence(served: Served) -> None:
    (batch,) = evidence_batches([call_record(served, 1)])
    with pytest.raises(NodeKindWrong):
        actions.accept_evidence(served.world.provider_node.node, batch)


def test_a_gateway_tells_nothing_of_other_departments_data(served: Served) -> None:
    """Otherwise any department's own gateway could have another's grant suspended."""
    stranger = make_node(served.world.parties.consumer, NodeKind.GATEWAY).node
    for changes in ({}, {"provider": stranger.organisation.credit_code}):
        (batch,) = evidence_batches([call_record(served, 1, gateway=stranger.number, call_id="forged", **changes)])
        with pytest.raises(EvidenceBroken) as caught:
            actions.accept_evidence(stranger, batch)
        assert caught.value.details["reason"] == "provider"

    assert not Call.objects.exists()
    served.grant.refresh_from_db()
    assert served.grant.provided_at is None


def test_a_number_of_a_call_stands_in_one_record_only(served: Served) -> None:
    first, other = call_record(served, 1), call_record(served, 1, lane="lane-2")
    (here,), (there,) = evidence_batches([first]), evidence_batches([replace(other, call_id=first.call_id)])
    actions.accept_evidence(served.gateway.node, here)

    with pytest.raises(EvidenceBroken) as caught:
        actions.accept_evidence(served.gateway.node, there)
    assert caught.value.details["reason"] == "call_id"
    assert Call.objects.count() == 1
