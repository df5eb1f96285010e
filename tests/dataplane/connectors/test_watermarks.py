"""What a source says of its watermark: clocks of every zone, transactions that are open, rows that have none."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from jinqiao.dataplane.connectors import ReadPlan, Source, open_source
from jinqiao.dataplane.connectors.watermarks import MARGIN, WatermarkFacts
from jinqiao.kernel.contracts.tables import Operator, RowCondition
from jinqiao.kernel.moments import CHINA
from tests import servers
from tests.dataplane.exchanges import people

NEAR = timedelta(minutes=2)


def facts(source: Source, table: str, name: str, *conditions: RowCondition) -> WatermarkFacts:
    (column,) = [column for column in source.schema(table).columns if column.name == name]
    return source.watermark_facts(ReadPlan(table=table, columns=(name,), row_filter=conditions), column)


def in_china() -> datetime:
    return datetime.now(CHINA).replace(tzinfo=None)


@pytest.fixture
def marks(postgresql_server: servers.Server) -> Iterator[servers.Server]:
    postgresql_server.execute(
        "CREATE TABLE marks (id int PRIMARY KEY, instant timestamptz, told timestamp, day date NOT NULL)",
        "INSERT INTO marks SELECT i, CASE WHEN i > 3 THEN now() END, now(), now() FROM generate_series(1, 10) i",
    )
    yield postgresql_server
    postgresql_server.execute("DROP TABLE marks")


def test_postgresql_tells_its_time_in_the_frame_of_the_column(marks: servers.Server) -> None:
    with open_source(marks.connection(), marks.password) as source:
        instant, told = facts(source, "marks", "instant"), facts(source, "marks", "told")

    assert abs(instant.now - in_china()) < NEAR
    # a wall-clock time without a zone may be the server's own or China's: the earlier one holds
    (own,) = marks.fetch("SELECT localtimestamp")[0]
    assert abs(told.now - min(own, in_china())) < NEAR


def test_postgresql_counts_granted_rows_without_a_watermark(marks: servers.Server) -> None:
    few = RowCondition(column="id", operator=Operator.AT_LEAST, values=("3",))
    with open_source(marks.connection(), marks.password) as source:
        assert facts(source, "marks", "instant").null_rows == 3
        assert facts(source, "marks", "instant", few).null_rows == 1
        assert facts(source, "marks", "day").null_rows is None  # the catalogue says that there are none


def test_postgresql_is_settled_up_to_its_oldest_open_transaction(marks: servers.Server) -> None:
    with (
        open_source(marks.connection(), marks.password) as source,
        marks.connect() as connection,
        connection.transaction(),
    ):
        (began,) = connection.execute("SELECT now() AT TIME ZONE 'Asia/Shanghai'").fetchone()
        connection.execute("SELECT pg_sleep(0.2)")
        seen = facts(source, "marks", "instant")

        assert seen.settled is not None
        assert seen.settled <= began - MARGIN  # other tests' transactions may be older
        assert seen.ceiling == seen.settled < seen.now - MARGIN


def test_what_postgresql_does_not_show_is_not_claimed(marks: servers.Server) -> None:
    marks.execute("CREATE ROLE marks_reader LOGIN PASSWORD 'x'", "GRANT SELECT ON marks TO marks_reader")
    try:
        with open_source(marks.connection(user="marks_reader"), "x") as source:
            seen = facts(source, "marks", "instant")
        assert seen.settled is None
        assert seen.ceiling == seen.now

        marks.execute("GRANT pg_read_all_stats TO marks_reader")
        with open_source(marks.connection(user="marks_reader"), "x") as source:
            assert facts(source, "marks", "instant").settled is not None
    finally:
        marks.execute("DROP OWNED BY marks_reader", "DROP ROLE marks_reader")


def test_mariadb_tells_its_time_whatever_zone_it_runs_in(mariadb_server: servers.Server) -> None:
    mariadb_server.execute(
        "CREATE TABLE marks (id int PRIMARY KEY, instant timestamp(6) NULL, told datetime(6))",
        "INSERT INTO marks VALUES (1, NULL, NULL), (2, NOW(), NOW()), (3, NULL, NOW())",
        "SET GLOBAL time_zone = '+05:00'",
    )
    try:
        with open_source(mariadb_server.connection(), mariadb_server.password) as source:
            instant, told = facts(source, "marks", "instant"), facts(source, "marks", "told")
        assert abs(instant.now - in_china()) < NEAR
        assert abs(told.now - (in_china() - timedelta(hours=3))) < NEAR
        assert (instant.null_rows, told.null_rows) == (2, 1)
        assert instant.settled is None
    finally:
        mariadb_server.execute("SET GLOBAL time_zone = 'SYSTEM'", "DROP TABLE marks")


def test_a_file_has_the_clock_of_the_node_and_its_empty_watermarks_are_counted(tmp_path: Path) -> None:
    connection = people(tmp_path / "city.db", [(1, "张三", None, None), (2, "李四", None, "2026-03-01 08:00:00")])

    with open_source(connection) as source:
        seen = facts(source, "people", "updated")

    assert seen.null_rows == 1
    assert seen.settled is None
    assert abs(seen.now - (in_china() - timedelta(hours=8))) < NEAR
