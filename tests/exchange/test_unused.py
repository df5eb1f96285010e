"""Grants that nobody uses for thirty days."""

from datetime import date
from typing import Any

import pytest

from jinqiao.exchange import actions
from jinqiao.exchange.actions.unused import UNUSED
from jinqiao.exchange.queries.unused import unused_found, unused_grants
from jinqiao.workflow.models import ToDo
from tests.exchange.factories import Served
from tests.exchange.oversight import at, keep

pytestmark = pytest.mark.django_db


@pytest.fixture
def later(served: Served, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Forty days after the grant."""
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-04-28")
    return served


def test_a_young_grant_is_not_unused(served: Served) -> None:
    del served
    assert not unused_grants().exists()


@pytest.mark.parametrize(
    ("call", "unused"),
    [
        ({}, False),
        ({"outcome": "gateway.items.not_granted"}, True),
        ({"environment": "sandbox"}, True),
        ({"at": at(date(2026, 3, 20))}, True),
    ],
)
def test_an_answered_call_of_the_last_days_is_use(later: Served, call: dict[str, Any], unused: bool) -> None:
    keep(later, {"at": at(date(2026, 4, 20)), **call})

    assert (later.grant in unused_grants()) is unused


def test_an_exchange_is_used_by_a_reconciled_run(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = served.world.grant()
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-04-28")
    assert grant in unused_grants()
    served.world.finished(served.world.run(served.world.task(grant)))

    assert grant not in unused_grants()


def test_the_consumer_is_reminded_once_and_left_alone_when_it_is_used_again(later: Served) -> None:
    assert actions.remind_unused() == 1
    assert actions.remind_unused() == 0
    todo = ToDo.objects.get(kind=UNUSED)
    assert todo.organisation == later.grant.consumer
    keep(later, {"at": at(date(2026, 4, 28))})
    actions.remind_unused()

    todo.refresh_from_db()
    assert todo.done_at is not None


def test_the_list_says_when_it_was_used_last(later: Served) -> None:
    keep(later, {"at": at(date(2026, 3, 20))})
    parties = later.world.parties
    (grant,) = unused_found(parties.bureau, mode="interface")

    assert (grant.last_call, grant.last_run) == (at(date(2026, 3, 20)), None)  # type: ignore[attr-defined]
    assert unused_found(parties.asker, text=grant.number).count() == 1
    assert unused_found(parties.asker, mode="batch").count() == 0
