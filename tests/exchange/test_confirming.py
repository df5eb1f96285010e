"""Receipts of consumers are paired with the calls that gateways recorded, and what does not fit is found."""

from dataclasses import replace

from jinqiao.accounts.enums import Role
from jinqiao.exchange import actions
from jinqiao.exchange.models import Call
from jinqiao.exchange.queries.calls import CallsWanted, calls_found
from jinqiao.kernel.contracts.evidence import RECEIPT, CallRecord
from tests.exchange.factories import Served, call_record, evidence_batches
from tests.factories import make_post

FITS, OTHER = "ab" * 32, "cd" * 32


def call(served: Served, number: int, name: str) -> CallRecord:
    return replace(call_record(served, number), call_id=name, answer_commitment=FITS)


def receipt(served: Served, number: int, of: str, answer: str = FITS, **changes: str) -> CallRecord:
    record = call_record(served, number)
    return replace(
        record, call_id=f"receipt-{number}", operation=RECEIPT, confirms=of, answer_commitment=answer, rows=0, **changes
    )


def accept(served: Served, *lists: list[CallRecord]) -> None:
    for batch in evidence_batches(*lists):
        actions.accept_evidence(served.gateway.node, batch)


def found(pairing: str) -> set[str]:
    post = make_post(Role.AUDITOR)
    return set(calls_found(post, CallsWanted(pairing=pairing)).values_list("call_id", flat=True))


def test_a_call_is_confirmed_contradicted_or_waits_and_a_receipt_without_call_is_found(served: Served) -> None:
    accept(
        served,
        [call(served, 1, "right"), call(served, 2, "wrong"), call(served, 3, "silent")],
        [receipt(served, 4, "right"), receipt(served, 5, "wrong", OTHER), receipt(served, 6, "never recorded")],
    )

    told = {one.call_id: one.confirmation_fits for one in Call.objects.exclude(operation=RECEIPT)}
    assert told == {"right": True, "wrong": False, "silent": None}
    assert found("unconfirmed") == {"silent"}
    assert found("contradicted") == {"wrong"}
    assert found("unmatched") == {"receipt-6"}


def test_a_receipt_may_come_before_its_call(served: Served) -> None:
    accept(served, [receipt(served, 1, "late")], [call(served, 2, "late")])

    assert Call.objects.get(call_id="late").confirmation_fits is True
    assert found("unmatched") == set()


def test_another_applications_receipt_confirms_nothing(served: Served) -> None:
    accept(served, [call(served, 1, "theirs"), receipt(served, 2, "theirs", application="app-of-others")])

    assert Call.objects.get(call_id="theirs").confirmed_at is None
    assert found("unmatched") == {"receipt-2"}
