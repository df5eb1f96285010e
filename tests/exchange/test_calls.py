"""Finding calls, their sums, and what proves one."""

from datetime import date, timedelta
from typing import Any

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.exchange.enums import ErrorOwner
from jinqiao.exchange.models import Anomaly, Call, CallTally
from jinqiao.exchange.queries import statistics
from jinqiao.exchange.queries.calls import CallsWanted, calls_found, proof_of
from jinqiao.kernel.contracts.evidence import RECEIPT
from tests.exchange.factories import Served
from tests.exchange.oversight import at, keep
from tests.factories import make_post

pytestmark = pytest.mark.django_db
DAY = date(2026, 3, 17)


def several(served: Served) -> None:
    keep(
        served,
        {"at": at(DAY, 9), "duration_us": 1000, "rows": 2, "end_user": "zhang"},
        {"at": at(DAY, 9, 59), "duration_us": 3000, "case_number": "GZF-77", "environment": "sandbox"},
        {"at": at(DAY, 10), "outcome": "gateway.items.not_granted", "rows": 0, "duration_us": 100},
        {"at": at(DAY - timedelta(days=1), 23), "outcome": "gateway.source.unreachable", "rows": 0},
        {"at": at(DAY, 11), "operation": RECEIPT, "rows": 0},
        {"at": at(DAY, 12), "operation": "count", "purpose": "另一个用途"},
    )


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 5),
        ({"since": DAY}, 4),
        ({"until": DAY - timedelta(days=1)}, 1),
        ({"hour": at(DAY, 9)}, 2),
        ({"text": "GZF-77"}, 1),
        ({"environment": "sandbox"}, 1),
        ({"operation": "count"}, 1),
        ({"operation": RECEIPT}, 1),
        ({"outcome": "ok"}, 3),
        ({"outcome": "refused"}, 2),
        ({"outcome": "gateway.source.unreachable"}, 1),
        ({"owner": "provider"}, 1),
        ({"owner": "consumer"}, 1),
        ({"purpose": "另一个用途"}, 1),
        ({"end_user": "zhang"}, 1),
        ({"service": "none"}, 0),
    ],
)
def test_calls_are_found_by_what_is_asked(served: Served, wanted: dict[str, Any], count: int) -> None:
    several(served)

    assert calls_found(make_post(Role.AUDITOR), CallsWanted(**wanted)).count() == count


def test_statistics_count_what_the_search_finds(served: Served) -> None:
    several(served)
    post = make_post(Role.BUREAU)
    period = CallsWanted(since=DAY - timedelta(days=1), until=DAY, environment="production")
    whole = statistics.total(post, period)

    assert (whole.calls, whole.answered, whole.refused, whole.rows) == (4, 2, 2, 3)
    assert whole.calls == calls_found(post, period).count()
    for dimension in statistics.DIMENSIONS:
        lines = statistics.by(post, period, dimension)
        assert lines, dimension
        if dimension not in ("owner", "hour"):
            assert sum(line.calls for line in lines) == whole.calls, dimension
    assert {line.key: line.calls for line in statistics.by(post, period, "owner")} == {
        ErrorOwner.CONSUMER: 1,
        ErrorOwner.PROVIDER: 1,
    }
    assert [(day.on, day.answered, day.refused) for day in statistics.daily(post, period)] == [
        (DAY - timedelta(days=1), 0, 1),
        (DAY, 2, 1),
    ]
    assert [line.key for line in statistics.by(post, period, "hour")] == [at(DAY, 9), at(DAY, 10), at(DAY, 12)]


def test_later_batches_are_added_to_the_same_hour(served: Served) -> None:
    keep(served, {"at": at(DAY)}, {"at": at(DAY)})
    keep(served, {"at": at(DAY), "duration_us": 8_000_000})

    (tally,) = CallTally.objects.all()
    assert (tally.calls, tally.rows, sum(tally.durations.values())) == (3, 3, 3)


def test_a_department_finds_and_counts_its_own_sides_calls(served: Served) -> None:
    several(served)
    parties = served.world.parties
    for post, count in (
        (parties.asker, 4),
        (parties.clerk, 4),
        (served.developer, 4),
        (make_post(Role.DEVELOPER, parties.provider), 0),
        (make_post(Role.OPERATOR), 0),
    ):
        period = CallsWanted(since=DAY - timedelta(days=1), until=DAY, environment="production")
        assert calls_found(post, period).count() == statistics.total(post, period).calls == count


def test_a_call_is_proved_by_its_batch_and_leads_to_its_grant(served: Served) -> None:
    (record,) = keep(served, {})
    proof = proof_of(Call.objects.get(call_id=record.call_id))

    assert proof.segment is not None
    assert (proof.segment.lane, proof.anchor) == (record.lane, None)
    assert (proof.grant, proof.service, proof.application) == (served.grant, served.service, served.application)


def test_an_anomaly_lists_its_calls(served: Served) -> None:
    keep(served, {"at": at(DAY), "subjects": ("k:aa",)}, {"at": at(DAY), "subjects": ("k:bb",)})
    anomaly = Anomaly.objects.create(
        kind="same_person",
        key="1",
        rules_version="1",
        subject="k:aa",
        since=at(DAY, 0),
        until=at(DAY, 23),
        found_at=at(DAY),
    )

    assert calls_found(make_post(Role.BUREAU), CallsWanted(anomaly=anomaly)).count() == 1
