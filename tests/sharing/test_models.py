"""Constraints that hold whatever the code does, and tables of moves."""

from datetime import date

import pytest
from django.db import IntegrityError, transaction

from jinqiao.sharing.enums import (
    CHANGE_MOVES,
    GRANT_MOVES,
    REQUEST_MOVES,
    ChangeState,
    GrantState,
    RequestState,
)
from jinqiao.sharing.models import Decision, GrantChange, SharingRequest
from tests.sharing.factories import make_grant, make_request


@pytest.mark.parametrize(
    ("states", "moves"),
    [(RequestState, REQUEST_MOVES), (GrantState, GRANT_MOVES), (ChangeState, CHANGE_MOVES)],
)
def test_every_state_has_its_row_of_moves(states, moves):
    assert set(moves) == set(states)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"use_until": date(2020, 1, 1)}, "request_period_in_order"),
        ({"provider_id": "consumer"}, "request_between_two_organisations"),
    ],
)
def test_the_database_keeps_requests_in_order(parties, change, constraint):
    request = make_request(parties)
    change = {name: parties.consumer.pk if value == "consumer" else value for name, value in change.items()}
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        SharingRequest.objects.filter(pk=request.pk).update(**change)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"agrees": False}, "decision_refusal_cites_article_and_reason"),
        ({"valid_until": None}, "decision_agreement_has_end"),
        ({"approved_at": None}, "decision_approved_by_and_at_together"),
    ],
)
def test_the_database_keeps_decisions_complete(parties, change, constraint):
    make_grant(parties)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Decision.objects.update(**change)


@pytest.mark.django_db
def test_the_database_keeps_one_change_pending_per_grant(parties):
    grant = make_grant(parties)
    values = {
        "grant": grant,
        "valid_until": grant.valid_until,
        "reason": "缩小",
        "drafted_by": parties.clerk,
        "drafted_at": grant.created_at,
    }
    GrantChange.objects.create(**values)
    with pytest.raises(IntegrityError), transaction.atomic():
        GrantChange.objects.create(**values)
