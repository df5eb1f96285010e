"""Rows of PostgreSQL in its own binary form, as they are and with a mark of each beside them."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from jinqiao.dataplane.connectors import open_source, postgresql_reading
from jinqiao.dataplane.connectors.base import ReadPlan
from jinqiao.dataplane.connectors.postgresql import PostgresqlSource
from jinqiao.dataplane.connectors.snapshots import WHOLE, Tuples
from jinqiao.dataplane.errors import StatementTimedOut
from jinqiao.dataplane.pipeline.modes.cursors import Scale
from jinqiao.dataplane.staging.spool import Spool
from jinqiao.kernel.contracts.exchange import ChunkForm
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Engine, LogicalType
from tests.dataplane.exchanges import PEOPLE, exchange, order, read_table
from tests.servers import Server

pytestmark = pytest.mark.servers
TABLE = "marked"
COLUMNS = ("id", "name", "day", "at")
PLAN = ReadPlan(table=TABLE, columns=COLUMNS)


@pytest.fixture
def source(postgresql_server: Server) -> Iterator[PostgresqlSource]:
    postgresql_server.execute(
        f"CREATE TABLE {TABLE} (id integer PRIMARY KEY, name text, day date, at timestamp)",
        f"INSERT INTO {TABLE} SELECT i, CASE WHEN i % 3 > 0 THEN repeat('名', i % 50) END, date '1899-12-31' + i * 37,"
        " CASE WHEN i % 7 > 0 THEN timestamp '1999-12-31 23:59:59.999999' + (i - 500) * interval '1 day 1 microsecond' END"
        " FROM generate_series(1, 1000) AS n(i)",
    )
    try:
        with open_source(postgresql_server.connection(), postgresql_server.password) as opened:
            assert isinstance(opened, PostgresqlSource)
            yield opened
    finally:
        postgresql_server.execute(f"DROP TABLE {TABLE}")


def copied(source: PostgresqlSource, mark: str = "", *, plan: ReadPlan = PLAN) -> list[Tuples]:
    with (
        source.open_snapshot(plan, parallel=1, chunk_rows=100_000) as snapshot,
        snapshot.raw_reader(COLUMNS, mark) as reader,
    ):
        return [tuples for split in snapshot.state.splits for tuples in reader.copy(split)]


def joined(pieces: list[Tuples]) -> bytes:
    return b"".join(piece.data for piece in pieces)


@pytest.mark.parametrize("mark", ["id", "day", "at"])
def test_a_mark_is_that_of_its_row_and_leaves_the_rows_as_they_are(
    source: PostgresqlSource, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = copied(source)
    assert (sum(piece.rows for piece in plain), plain[0].marks) == (1000, None)
    monkeypatch.setattr(postgresql_reading, "PIECE_BYTES", 4096)

    marked = copied(source, mark)

    assert len(marked) > 5
    assert joined(marked) == joined(plain)
    column = next(column for column in source.schema(TABLE).columns if column.name == mark)
    read = pa.concat_arrays([batch.column(mark) for batch in source.read(PLAN)])
    assert pa.concat_arrays([piece.marks for piece in marked]).equals(Scale(column).numbers(read))


def test_rows_are_told_apart(source: PostgresqlSource) -> None:
    (whole,) = copied(source, "at")

    chosen = whole.only([0, 999, 3])

    assert chosen.rows == 3
    first, last, fourth = (bytes(whole.data[whole.ends[at] : whole.ends[at + 1]]) for at in (0, 999, 3))
    assert chosen.data == first + last + fourth
    assert last[2:14] == (8).to_bytes(4, "big") + (1000).to_bytes(8, "big")


def test_an_infinite_time_is_the_end_of_the_scale_and_what_lies_before_the_year_1_is_no_mark(
    source: PostgresqlSource, postgresql_server: Server
) -> None:
    postgresql_server.execute(
        f"DELETE FROM {TABLE} WHERE id > 4",
        f"UPDATE {TABLE} SET at = 'infinity', day = '-infinity' WHERE id = 1",
        f"UPDATE {TABLE} SET at = '1970-01-01 00:00:01', day = '1970-01-02' WHERE id = 2",
        f"UPDATE {TABLE} SET at = '-infinity', day = 'infinity' WHERE id = 3",
        f"UPDATE {TABLE} SET at = '0044-03-15 12:00:00 BC', day = '0001-12-31 BC' WHERE id = 4",
    )

    for mark, one, last in (("at", 1_000_000, (1 << 63) - 1), ("day", 1, (1 << 31) - 1)):
        marks = pa.concat_arrays([piece.marks for piece in copied(source, mark)]).to_pylist()
        assert sorted(number for number in marks if number is not None) == [one, last]
        assert marks.count(None) == 2


def test_a_table_without_rows_gives_none(source: PostgresqlSource, postgresql_server: Server) -> None:
    postgresql_server.execute(f"TRUNCATE {TABLE}")

    assert copied(source) == copied(source, "at") == []


def test_a_reading_that_was_broken_off_ends_its_connection_whoever_lent_it(
    source: PostgresqlSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_reading, "PIECE_BYTES", 4096)
    with source.open_snapshot(PLAN, parallel=1, chunk_rows=100_000) as snapshot:
        reader = snapshot.raw_reader(COLUMNS)
        copying = reader.copy(WHOLE)
        next(copying)
        copying.close()
        assert snapshot._connection.closed


def test_whoever_lent_a_connection_has_it_back(source: PostgresqlSource) -> None:
    with source.open_snapshot(PLAN, parallel=1, chunk_rows=100_000) as snapshot:
        with snapshot.raw_reader(COLUMNS) as reader:
            assert sum(piece.rows for piece in reader.copy(WHOLE)) == 1000
        assert not snapshot._connection.closed
        with snapshot.raw_reader(COLUMNS, "at") as again:
            assert sum(piece.rows for piece in again.copy(WHOLE)) == 1000


@pytest.mark.parametrize("mark", ["", "at"])
def test_a_statement_that_takes_too_long_is_ended_with_its_own_error(
    source: PostgresqlSource, postgresql_server: Server, mark: str
) -> None:
    postgresql_server.execute(
        f"CREATE VIEW slow AS SELECT id, name, day, at FROM {TABLE} WHERE pg_sleep(0.01) IS NOT NULL",
    )
    try:
        with pytest.raises(StatementTimedOut):
            copied(source, mark, plan=ReadPlan(table="slow", columns=COLUMNS, statement_timeout_s=1))
    finally:
        postgresql_server.execute("DROP VIEW slow")


def test_a_number_without_bounds_comes_to_its_text_column_as_its_text(
    postgresql_server: Server, tmp_path: Path
) -> None:
    amount = GrantedItem(item="金额", code="amount", column="amount", type=LogicalType.TEXT)
    given = ["1.500", "-0.0000000001", "NaN", "1234567890123456789012345678901234567890.12"]
    postgresql_server.execute(
        "DROP TABLE IF EXISTS boundless, boundless_there",
        "CREATE TABLE boundless (id bigint PRIMARY KEY, amount numeric)",
        "INSERT INTO boundless VALUES " + ", ".join(f"({at}, '{text}')" for at, text in enumerate(given)),
    )
    place, passwords = postgresql_server.connection(), (postgresql_server.password,) * 2
    terms = order(
        items=(PEOPLE[0], amount),
        source_table="boundless",
        target_table="boundless_there",
        target_engine=Engine.POSTGRESQL,
    )

    manifest, _ = exchange(terms, place, place, Spool(tmp_path / "spool"), passwords)

    assert manifest.form is ChunkForm.PGCOPY
    with open_source(place, postgresql_server.password) as there:
        columns = there.schema("boundless_there").columns
        assert read_table(there, "boundless_there", columns).column("amount").to_pylist() == given
