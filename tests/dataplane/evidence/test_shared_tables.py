"""Addresses of the database that replicas share, and tables that several make at the same moment."""

import threading
from collections.abc import Iterator

import psycopg
import pytest

from jinqiao.dataplane.evidence.shared_tables import address_of, has_password, table_number
from tests import servers

TABLE = "jinqiao_made_by_many"


@pytest.fixture
def database(postgresql_server: servers.Server) -> Iterator[servers.Server]:
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}")
    yield postgresql_server
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}")


def test_only_addresses_of_postgresql_are_taken_and_a_wrong_one_is_not_repeated() -> None:
    assert has_password("postgresql://u:p@h/d")
    assert not has_password("postgresql://u@h1,h2:5433/d?passfile=/etc/x&sslmode=verify-full")
    for wrong in ("mysql://u:geheim@h/d", "host=h password=geheim", "postgresql://u:geheim@h/d?nothing=1", ""):
        with pytest.raises(ValueError, match="no address") as refused:
            has_password(wrong)
        assert "geheim" not in str(refused.value)


def test_what_an_address_says_goes_before_what_we_say() -> None:
    assert "connect_timeout=3" in address_of("postgresql://u@h/d")
    assert "connect_timeout=9" in address_of("postgresql://u@h/d?connect_timeout=9")


@pytest.mark.servers
def test_many_who_make_a_table_at_the_same_moment_have_the_same(database: servers.Server) -> None:
    ready, numbers = threading.Barrier(6, timeout=30), set()

    def make() -> None:
        with psycopg.connect(address_of(database.url), autocommit=True) as db:
            ready.wait()
            numbers.add(table_number(db, TABLE, (f"CREATE TABLE IF NOT EXISTS {TABLE} (number int)",)))

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(numbers) == 1
