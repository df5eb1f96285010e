"""The two departments that most tests of movement are about, and a relay of their own.

They are set up once for a module, in a transaction around all its tests, and each test works on a copy in a transaction of its
own: nothing of one test is seen by another. Modules whose tests commit make their own (`make_world`).
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from tests.exchange.factories import Served, World, make_served, make_world


@pytest.fixture(autouse=True)
def relay(settings: Any, tmp_path: Path) -> Path:
    settings.RELAY_ROOT = tmp_path / "relay"
    return tmp_path / "relay"


@pytest.fixture(scope="module")
def standing_world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    with django_db_blocker.unblock():
        around = transaction.atomic()
        around.__enter__()
        try:
            yield make_world()
        finally:
            transaction.set_rollback(True)
            around.__exit__(None, None, None)


@pytest.fixture
def world(standing_world: World, db: None) -> World:
    keys = (standing_world.provider_node.identity, standing_world.consumer_node.identity)
    return copy.deepcopy(standing_world, {id(key): key for key in keys})


@pytest.fixture(scope="module")
def standing_service(django_db_setup: None, django_db_blocker: Any) -> Iterator[Served]:
    with django_db_blocker.unblock():
        around = transaction.atomic()
        around.__enter__()
        try:
            yield make_served()
        finally:
            transaction.set_rollback(True)
            around.__exit__(None, None, None)


@pytest.fixture
def served(standing_service: Served, db: None) -> Served:
    """An interface grant with its service, its gateway and an application, set up once for a module as the world is."""
    hands = (standing_service.gateway, standing_service.world.provider_node, standing_service.world.consumer_node)
    return copy.deepcopy(standing_service, {id(one.identity): one.identity for one in hands})
