"""A department's own system says over HTTP that data has arrived."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from jinqiao.exchange import actions
from jinqiao.exchange.models import Run
from tests.exchange.factories import World, make_world
from tests.factories import seed_calendar

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings: Any, tmp_path: Path) -> World:
    settings.RELAY_ROOT = tmp_path
    seed_calendar()
    return make_world()


def announce(number: str, authorization: str) -> Any:
    return Client().post(f"/api/arrivals/{number}", headers={"authorization": authorization} if authorization else {})


def test_the_token_of_a_source_starts_the_tasks_that_wait_for_it(world: World) -> None:
    task = world.task()
    actions.plan_task(task, by=world.parties.asker, on_arrival=True)
    token = actions.give_arrival_token(world.source, by=world.parties.clerk)

    response = announce(world.source.number, f"Bearer {token}")

    assert (response.status_code, response.json()) == (200, {"tasks": 1})
    assert Run.objects.get().task == task


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic wrong"])
def test_without_the_token_nothing_happens(world: World, authorization: str) -> None:
    actions.give_arrival_token(world.source, by=world.parties.clerk)

    for number in (world.source.number, "SJY-0000"):
        response = announce(number, authorization)
        assert (response.status_code, response.json()["code"]) == (403, "exchange.source.arrival_refused")
    assert not Run.objects.exists()
