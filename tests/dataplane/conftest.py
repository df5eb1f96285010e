"""Real servers for the tests of the data plane, started when the first test of a session asks for them."""

from collections.abc import Iterator

import pytest

from tests import servers


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[servers.Server]:
    # what a server tidies up by itself has a number among the transactions: a table that nobody touched would by chance count as changed
    with servers.postgresql(settings=(*servers.FAST, "autovacuum=off")) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[servers.Server]:
    with servers.mariadb() as server:
        yield server
