"""Numbers of requests and grants."""

import threading

import pytest
from django.db import connection, transaction

from jinqiao.sharing import actions
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.errors import RequestNotInState
from jinqiao.sharing.models import Grant, SharingRequest
from jinqiao.sharing.numbers import next_request_number
from tests.sharing.factories import fields, make_parties, make_request


@pytest.mark.django_db
def test_every_year_counts_from_one_and_a_failed_draft_uses_no_number(parties):
    assert make_request(parties).number == "SQ-2026-0001"
    with transaction.atomic():
        assert next_request_number(2026) == "SQ-2026-0002"
        transaction.set_rollback(True)
    assert make_request(parties).number == "SQ-2026-0002"
    assert next_request_number(2027) == "SQ-2027-0001"


@pytest.mark.django_db(transaction=True)
def test_drafts_made_at_the_same_time_get_numbers_without_gaps_or_doubles():
    parties = make_parties()
    failures = together(lambda: actions.draft_request(parties.entry, by=parties.asker, fields=fields()), 6)
    assert failures == []
    numbers = sorted(SharingRequest.objects.values_list("number", flat=True))
    assert numbers == [f"SQ-2026-{n:04d}" for n in range(1, 7)]


@pytest.mark.django_db(transaction=True)
def test_two_heads_who_approve_at_the_same_time_make_one_grant():
    parties = make_parties()
    request = make_request(parties, RequestState.REPLY_APPROVAL)
    failures = together(lambda: actions.approve_decision(request, by=parties.provider_head, approved=True), 3)
    assert [type(failure) for failure in failures] == [RequestNotInState, RequestNotInState]
    assert Grant.objects.get().number == f"{request.number}/1"


def together(act, times):
    """Run `act` in as many threads at once; what they raised."""
    gate, failures = threading.Barrier(times), []

    def work():
        gate.wait()
        try:
            act()
        except Exception as failure:  # noqa: BLE001 -- handed to the test
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures
