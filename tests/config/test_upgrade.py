"""From the state before the last migrations to now, with data in the tables: nothing is lost, and the way back works."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests.factories import make_organisation, make_post

APPS = ("audit", "accounts", "workflow", "catalogue", "sharing", "exchange")


def _leaves() -> list[tuple[str, str]]:
    return [node for node in MigrationExecutor(connection).loader.graph.leaf_nodes() if node[0] in APPS]


def _before() -> list[tuple[str, str]]:
    """The migration before the last, of each app that has one; not where a first migration of another app stands on the last:
    such a home has never been."""
    graph = MigrationExecutor(connection).loader.graph
    targets = []
    for app, name in _leaves():
        if any(graph.nodes[key].initial for key in graph.backwards_plan((app, name))):
            continue
        targets += [parent.key for parent in graph.node_map[(app, name)].parents if parent.key[0] == app][:1]
    return targets


@pytest.mark.django_db(transaction=True)
def test_an_upgrade_keeps_what_stands_and_can_be_taken_back() -> None:
    organisation = make_organisation("金昌市民政局")
    post = make_post("head", organisation, name="闵生")
    latest = _leaves()
    assert _before(), "there is at least one step to take"

    for target in reversed(_before()):  # one after the other: what stands above goes back along
        executor = MigrationExecutor(connection)
        if target in executor.loader.applied_migrations:  # else it has gone already, and would come again
            executor.migrate([target])
    MigrationExecutor(connection).migrate(latest)

    post.refresh_from_db()
    assert post.organisation.name == "金昌市民政局"
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []


@pytest.mark.django_db
def test_every_migration_can_be_taken_back_or_says_why_not() -> None:
    loader = MigrationExecutor(connection).loader
    for key, migration in loader.disk_migrations.items():
        if key[0] not in APPS:
            continue
        for operation in migration.operations:
            assert operation.reversible or (type(migration).__doc__ or "").strip(), key
