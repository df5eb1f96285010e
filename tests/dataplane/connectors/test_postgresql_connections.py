"""The connections of one PostgreSQL source: few, handed on from step to step, given back."""

from collections.abc import Iterator

import pytest

from jinqiao.dataplane.connectors import ReadPlan, open_source
from jinqiao.dataplane.connectors.postgresql import PostgresqlSource
from jinqiao.dataplane.connectors.snapshots import WHOLE
from jinqiao.dataplane.errors import AuthenticationFailed
from tests.servers import Server

pytestmark = pytest.mark.servers
PLAN = ReadPlan(table="asked", columns=("id",))


@pytest.fixture
def city(postgresql_server: Server) -> Iterator[Server]:
    postgresql_server.execute(
        "CREATE TABLE asked (id int PRIMARY KEY, seen timestamp)",
        "INSERT INTO asked SELECT i, now() FROM generate_series(1, 10) i",
    )
    yield postgresql_server
    postgresql_server.execute("DROP TABLE asked")


def source_of(server: Server) -> PostgresqlSource:
    source = open_source(server.connection(), server.password)
    assert isinstance(source, PostgresqlSource)
    return source


def sessions(server: Server) -> list[int]:
    """Backends of ours at the server: psycopg's carry our name, those of ADBC too."""
    found = server.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'jinqiao' ORDER BY backend_start")
    return [int(pid) for (pid,) in found]


def test_columns_clock_and_snapshot_are_asked_for_over_one_connection(city: Server) -> None:
    before = set(sessions(city))
    with source_of(city) as source:
        schema = source.schema("asked")
        (first,) = set(sessions(city)) - before
        source.watermark_facts(PLAN, schema.columns[1])
        with source.open_snapshot(PLAN) as snapshot:
            assert snapshot.state.handle["backend"] == first
            assert set(sessions(city)) - before == {first}


def test_a_connection_that_the_server_has_ended_meanwhile_is_made_anew(city: Server) -> None:
    with source_of(city) as source:
        source.schema("asked")
        city.fetch("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'jinqiao'")
        assert source.test().startswith("PostgreSQL")
        with source.open_snapshot(PLAN) as snapshot, snapshot.reader() as reader:
            assert sum(batch.num_rows for batch in reader.read(WHOLE)) == 10


def test_what_was_opened_ahead_is_used_by_the_first_reader_and_opened_once(city: Server) -> None:
    with source_of(city) as source:
        source.warm()
        source.warm()
        with source.open_snapshot(PLAN) as snapshot, snapshot.reader() as reader:
            assert sum(batch.num_rows for batch in reader.read(WHOLE)) == 10
            with snapshot.reader() as second:
                assert sum(batch.num_rows for batch in second.read(WHOLE)) == 10


def test_what_was_opened_ahead_holds_no_transaction_open(city: Server) -> None:
    with source_of(city) as source:
        source.warm()
        spare = source._connections._spare
        assert spare is not None
        spare.result()  # it is there
        open_ = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jinqiao' AND xact_start IS NOT NULL"
        assert city.fetch(open_) == [(0,)]


def test_a_source_that_is_closed_has_given_everything_back(city: Server) -> None:
    source = source_of(city)
    source.schema("asked")
    source.warm()
    kept, spare = source._connections._kept, source._connections._spare
    assert kept is not None
    assert spare is not None
    source.close()
    source.close()
    assert kept.closed
    assert spare.result()._connection is None


def test_a_wrong_password_is_told_where_the_rows_are_wanted(city: Server) -> None:
    with open_source(city.connection(), "falsch") as source:
        source.warm()  # says nothing
        with pytest.raises(AuthenticationFailed):
            list(source.read(PLAN))
        with pytest.raises(AuthenticationFailed):
            source.schema("asked")
