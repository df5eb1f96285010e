"""The two departments and the query service that most tests of movement, and of its pages and interfaces, are about.

They are set up once for a module, in a transaction around all its tests, and each test works on a copy in a transaction of its
own: nothing of one test is seen by another. Modules whose tests commit make their own (`make_world`, `make_served`).
The `conftest.py` of a folder imports the four fixtures.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from django.db import transaction

from tests.exchange.factories import Served, World, make_served, make_world

Made = TypeVar("Made")


@contextmanager
def _standing(blocker: Any, make: Callable[[], Made]) -> Iterator[Made]:
    with blocker.unblock():
        around = transaction.atomic()
        around.__enter__()
        try:
            yield make()
        finally:
            transaction.set_rollback(True)
            around.__exit__(None, None, None)


@pytest.fixture(scope="module")
def standing_world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    with _standing(django_db_blocker, make_world) as made:
        yield made


@pytest.fixture
def world(standing_world: World, db: None) -> World:
    keys = (standing_world.provider_node.identity, standing_world.consumer_node.identity)
    return copy.deepcopy(standing_world, {id(key): key for key in keys})


@pytest.fixture(scope="module")
def standing_service(django_db_setup: None, django_db_blocker: Any) -> Iterator[Served]:
    with _standing(django_db_blocker, make_served) as made:
        yield made


@pytest.fixture
def served(standing_service: Served, db: None) -> Served:
    """An interface grant with its service, its gateway and an application."""
    hands = (standing_service.gateway, standing_service.world.provider_node, standing_service.world.consumer_node)
    return copy.deepcopy(standing_service, {id(one.identity): one.identity for one in hands})
