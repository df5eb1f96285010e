"""The change log of PostgreSQL: a beginning without a gap, then the last state of every key that changed."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.connectors import ReadPlan, open_source
from jinqiao.dataplane.connectors.postgresql import PostgresqlSource
from jinqiao.dataplane.connectors.postgresql_slots import slot_of
from jinqiao.dataplane.connectors.values import arrow_schema, arrow_type, fit
from jinqiao.dataplane.errors import (
    FilterNotPossible,
    LogGap,
    LogNotAllowed,
    LogNotEnabled,
    LogNotPossible,
    PublicationMissing,
    ReplicaIdentityMissing,
    RunStopped,
    SlotInUse,
    SlotsExhausted,
)
from jinqiao.dataplane.pipeline.modes.log import LogSession
from jinqiao.dataplane.pipeline.orders import target_columns, value_column
from jinqiao.dataplane.staging.memory import Memory
from jinqiao.dataplane.staging.spool import RunSpool
from jinqiao.kernel.contracts.exchange import CopyMode, ExchangeOrder
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType, Operator, RowCondition
from jinqiao.kernel.crypto.suites import suite
from tests import servers
from tests.dataplane.exchanges import order, people
from tests.dataplane.pipeline.replica import Replica, Row

ITEMS = (
    GrantedItem(item="编号", code="number", column="id", type=LogicalType.INTEGER),
    GrantedItem(item="姓名", code="name", column="name", type=LogicalType.TEXT),
    GrantedItem(item="档案", code="file", column="file", type=LogicalType.TEXT),
)
LONG = "档案" * 2000
_numbers = itertools.count(1)


class City:
    """A table of its own, a task that follows its log, and the replica that the task keeps."""

    def __init__(self, server: servers.Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.table = f"log_{next(_numbers)}"
        self.source = open_source(server.connection(), server.password)
        assert isinstance(self.source, PostgresqlSource)
        self.order = order(
            mode=CopyMode.LOG, items=ITEMS, task_id=f"T-{self.table}", source_table=self.table, key_columns=("id",)
        )
        self.replica = Replica(lenient=True)
        self.make("id int PRIMARY KEY, name varchar(60), file text")

    def make(self, columns: str) -> None:
        self.execute(f"DROP TABLE IF EXISTS {self.table}", f"CREATE TABLE {self.table} ({columns})")

    def keep_files_out_of_line(self) -> None:
        """So that an update of another column leaves the long value out of the log."""
        self.execute(f"ALTER TABLE {self.table} ALTER file SET STORAGE EXTERNAL")

    def execute(self, *statements: str) -> None:
        self.server.execute(*statements)

    def rows(self) -> dict[Any, Row]:
        return {row[0]: row for row in self.server.fetch(f"SELECT id, name, file FROM {self.table}")}

    def session(self, **changes: Any) -> LogSession:
        given = replace(self.order, **changes)
        return LogSession(given, self.source, self.source.schema(self.table))

    def run(
        self, *, arrives: bool = True, meanwhile: Callable[[], None] = lambda: None, **changes: Any
    ) -> tuple[int, int]:
        """One run; rows and deletes handed over. `meanwhile` happens after the snapshot was opened."""
        given = replace(self.order, **changes)
        session = self.session(**changes)
        plan = ReadPlan(
            table=self.table,
            columns=tuple(item.column for item in given.grant.items),
            row_filter=given.grant.row_filter,
        )
        with session.open_snapshot(self.source, plan, parallel=2, resume=None, chunk_rows=100) as snapshot:
            meanwhile()
            session.fetch(snapshot, self.memory())
            with snapshot.reader() as reader:
                read = [batch for split in snapshot.state.splits for batch in reader.read(split)]
        rows = [session.filter(shown(given, batch)) for batch in read]
        session.end_split([])
        deletes = list(session.deletes())
        cursor = session.save("B")
        if arrives:
            self.replica.take(rows, deletes, complete=session.complete)
            self.order = replace(self.order, after=cursor)
        return sum(batch.num_rows for batch in rows), sum(batch.num_rows for batch in deletes)

    def memory(self) -> Memory:
        key, folder = suite("international").new_key(), self.folder / f"run-{next(_numbers)}"
        return Memory(RunSpool(folder), batch_id="B", key=key, suite_name="international")

    def close(self) -> None:
        self.source.close()
        self.source.drop_slot(slot_of(self.order))
        self.execute(f"DROP TABLE IF EXISTS {self.table}")


def shown(given: ExchangeOrder, batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of the source as columns of the target."""
    fitted = [fit(batch.column(item.column), arrow_type(value_column(item))) for item in given.grant.items]
    assert all(one.bad is None for one in fitted)
    return pa.RecordBatch.from_arrays([one.values for one in fitted], schema=arrow_schema(target_columns(given)))


@pytest.fixture
def city(postgresql_server: servers.Server, tmp_path: Path) -> Iterator[City]:
    made = City(postgresql_server, tmp_path)
    yield made
    made.close()


def test_nothing_is_lost_and_nothing_doubled_between_the_copy_and_the_log(city: City) -> None:
    city.execute(f"INSERT INTO {city.table} SELECT i, '张三', NULL FROM generate_series(1, 500) i")

    def meanwhile() -> None:
        city.execute(
            f"INSERT INTO {city.table} VALUES (501, '新', NULL)",
            f"UPDATE {city.table} SET name = '改' WHERE id = 1",
            f"DELETE FROM {city.table} WHERE id = 2",
        )

    assert city.run(meanwhile=meanwhile) == (500, 0)
    assert 501 not in city.replica.rows

    assert city.run() == (2, 1)
    assert city.replica.rows == city.rows()
    assert city.run() == (0, 0)


def test_what_was_read_and_did_not_arrive_is_read_again(city: City) -> None:
    city.run()
    city.execute(f"INSERT INTO {city.table} VALUES (1, '张三', NULL)")

    assert city.run(arrives=False) == (1, 0)
    assert city.run() == (1, 0)
    assert city.run() == (0, 0)


def test_a_key_that_changes_is_a_delete_and_an_insert(city: City) -> None:
    city.execute(f"INSERT INTO {city.table} VALUES (1, '张三', NULL)")
    city.run()
    city.execute(f"UPDATE {city.table} SET id = 7 WHERE id = 1")

    assert city.run() == (1, 1)
    assert city.replica.rows == {7: (7, "张三", None)}


def test_only_the_last_state_of_a_key_comes(city: City) -> None:
    city.run()
    city.execute(
        f"INSERT INTO {city.table} VALUES (1, '一', NULL), (2, '二', NULL)",
        f"UPDATE {city.table} SET name = name || '改'",
        f"DELETE FROM {city.table} WHERE id = 2",
    )

    assert city.run() == (1, 1)
    assert city.replica.rows == {1: (1, "一改", None)}


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_a_long_value_that_did_not_change_comes_with_its_row(city: City, identity: str) -> None:
    city.keep_files_out_of_line()
    city.execute(
        f"ALTER TABLE {city.table} REPLICA IDENTITY {identity}",
        f"INSERT INTO {city.table} VALUES (1, '张三', '{LONG}'), (2, '李四', '{LONG}')",
    )
    city.run()
    city.execute(f"UPDATE {city.table} SET name = '改' WHERE id = 1")

    assert city.run() == (1, 0)
    assert city.replica.rows == city.rows()

    city.execute(f"UPDATE {city.table} SET id = 9 WHERE id = 2", f"UPDATE {city.table} SET name = '又改' WHERE id = 9")
    assert city.run() == (1, 1)
    assert city.replica.rows == city.rows()


def test_a_table_that_was_altered_between_two_changes_is_followed(city: City) -> None:
    city.execute(f"INSERT INTO {city.table} VALUES (1, '张三', '甲'), (2, '李四', '乙')")
    city.run()
    city.execute(
        f"UPDATE {city.table} SET name = '改' WHERE id = 1",
        f"ALTER TABLE {city.table} ADD COLUMN phone text, DROP COLUMN file",
        f"ALTER TABLE {city.table} ADD COLUMN file text DEFAULT '丙'",
        f"UPDATE {city.table} SET name = '又' WHERE id = 2",
    )

    assert city.run() == (2, 0)
    assert city.replica.rows == city.rows() == {1: (1, "改", "丙"), 2: (2, "又", "丙")}


def test_a_truncated_table_makes_the_batch_complete(city: City) -> None:
    city.execute(f"INSERT INTO {city.table} VALUES (1, '张三', NULL), (2, '李四', NULL)")
    city.run()
    city.execute(
        f"INSERT INTO {city.table} VALUES (3, '前', NULL)",
        f"TRUNCATE {city.table}",
        f"INSERT INTO {city.table} VALUES (4, '后', NULL)",
    )

    assert city.run() == (1, 0)
    assert city.replica.rows == {4: (4, "后", None)}


def test_a_row_that_the_grant_no_longer_lets_through_is_gone(city: City) -> None:
    inside = RowCondition(column="name", operator=Operator.STARTS_WITH, values=("金川",))
    city.order = replace(city.order, grant=replace(city.order.grant, row_filter=(inside,)))
    city.execute(f"INSERT INTO {city.table} VALUES (1, '金川区', NULL), (2, '永昌县', NULL)")
    assert city.run() == (1, 0)

    city.execute(
        f"UPDATE {city.table} SET name = '永昌' WHERE id = 1", f"UPDATE {city.table} SET name = '金川' WHERE id = 2"
    )

    assert city.run() == (1, 1)
    assert city.replica.rows == {2: (2, "金川", None)}


def test_the_order_of_texts_is_the_databases_own_and_not_filtered_by_here(city: City) -> None:
    least = RowCondition(column="name", operator=Operator.AT_LEAST, values=("金",))

    with pytest.raises(FilterNotPossible):
        city.session(grant=replace(city.order.grant, row_filter=(least,)))


def test_a_row_that_a_check_sets_aside_is_gone(city: City) -> None:
    city.execute(f"INSERT INTO {city.table} VALUES (1, '张三', NULL)")
    city.run()
    city.execute(f"UPDATE {city.table} SET name = '坏' WHERE id = 1")
    session = city.session()
    plan = ReadPlan(table=city.table, columns=("id", "name", "file"))

    session.follow(plan)
    assert sum(batch.num_rows for batch in session.changes(plan)) == 1  # none of them is passed on
    session.end_split([])
    assert [batch.to_pylist() for batch in session.deletes() if batch.num_rows] == [[{"number": 1}]]


def test_a_run_takes_no_more_than_it_may_and_the_next_goes_on(city: City) -> None:
    city.run()
    for number in range(6):
        city.execute(f"INSERT INTO {city.table} VALUES ({2 * number}, '甲', NULL), ({2 * number + 1}, '乙', NULL)")
    counts = []
    for _ in range(4):
        session = LogSession(city.order, city.source, city.source.schema(city.table), most_keys=3)
        plan = ReadPlan(table=city.table, columns=("id", "name", "file"))
        session.follow(plan)
        counts.append(sum(batch.num_rows for batch in session.changes(plan)))
        city.order = replace(city.order, after=session.save("B"))

    assert counts == [4, 4, 4, 0]  # never the half of a transaction


def test_changes_of_other_tables_move_the_position_and_nothing_else(city: City) -> None:
    city.run()
    before = city.order.after
    city.execute(
        f"CREATE TABLE {city.table}_other AS SELECT generate_series(1, 5000) i", f"DROP TABLE {city.table}_other"
    )

    assert city.run() == (0, 0)
    assert city.order.after != before


VALUES = {
    "flag boolean": (LogicalType.BOOLEAN, "true"),
    "amount numeric(20, 4)": (LogicalType.DECIMAL, "-123456789012.3400"),
    "ratio double precision": (LogicalType.DOUBLE, "0.1"),
    "share real": (LogicalType.DOUBLE, "1.1"),
    "born date": (LogicalType.DATE, "'1890-02-28'"),
    "seen timestamptz": (LogicalType.DATETIME, "'1900-06-01 00:00:00.123456+00'"),
    "told timestamp": (LogicalType.DATETIME, "'2101-12-31 23:59:59.9'"),
    "code char(8)": (LogicalType.TEXT, "'62 '"),
    "scan bytea": (LogicalType.BINARY, "'\\xdeadbeef'"),
    "papers jsonb": (LogicalType.TEXT, "'{\"号\": [1, null]}'"),
    "tags text[]": (LogicalType.TEXT, "ARRAY['甲', NULL, '𠮷\"']"),
    "due interval": (LogicalType.TEXT, "'1 day 02:03:04.5'"),
    "big bigint": (LogicalType.INTEGER, "-9223372036854775808"),
    "twice int GENERATED ALWAYS AS (id * 2) STORED": (LogicalType.INTEGER, "DEFAULT"),
}


def test_every_type_comes_from_the_log_as_it_comes_from_the_table(city: City) -> None:
    names = [declared.split()[0] for declared in VALUES]
    city.make("id int PRIMARY KEY, " + ", ".join(VALUES))
    items = [ITEMS[0]] + [
        GrantedItem(item=name, code=name, column=name, type=kind, precision=20, scale=4)
        for name, (kind, _) in zip(names, VALUES.values(), strict=True)
    ]
    city.order = replace(city.order, grant=replace(city.order.grant, items=tuple(items)))
    values = ", ".join(literal for _, literal in VALUES.values())
    city.execute(f"INSERT INTO {city.table} VALUES (1, {values})", f"INSERT INTO {city.table} VALUES (2)")
    city.run()
    copied = dict(city.replica.rows)
    city.execute(f"UPDATE {city.table} SET id = id + 10")

    assert city.run() == (2, 2)
    twice = names.index("twice") + 1
    for key in (1, 2):
        expected = [key + 10, *copied[key][1:]]
        expected[twice] = (key + 10) * 2
        assert city.replica.rows[key + 10] == tuple(expected)


actions = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 6), st.sampled_from(["张三", "李四"])),
    st.tuples(st.just("rename"), st.integers(0, 6), st.integers(0, 6)),
    st.tuples(st.just("file"), st.integers(0, 6), st.sampled_from([LONG, LONG[::-1]])),
    st.tuples(st.just("delete"), st.integers(0, 6), st.none()),
    st.tuples(st.just("truncate"), st.none(), st.none()),
    st.tuples(st.just("roll back"), st.integers(0, 6), st.none()),
    st.tuples(st.just("run"), st.booleans(), st.none()),
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(actions, max_size=14))
def test_whatever_changes_each_run_that_arrives_leaves_the_target_as_the_source(city: City, steps: list[Any]) -> None:
    city.make("id int PRIMARY KEY, name varchar(60), file text")
    city.keep_files_out_of_line()
    city.order, city.replica = replace(city.order, after=""), Replica(lenient=True)
    city.run()
    table = city.table
    for what, key, more in [*steps, ("run", True, None)]:
        match what:
            case "put":
                city.execute(
                    f"INSERT INTO {table} VALUES ({key}, '{more}', '{LONG}') ON CONFLICT (id) DO UPDATE SET name = excluded.name"
                )
            case "rename":
                city.execute(
                    f"UPDATE {table} SET id = {more} WHERE id = {key} AND NOT EXISTS (SELECT FROM {table} WHERE id = {more})"
                )
            case "file":
                city.execute(f"UPDATE {table} SET file = '{more}' WHERE id = {key}")
            case "delete":
                city.execute(f"DELETE FROM {table} WHERE id = {key}")
            case "truncate":
                city.execute(f"TRUNCATE {table}")
            case "roll back":
                with city.server.connect() as connection, connection.transaction(force_rollback=True):
                    connection.execute(f"DELETE FROM {table} WHERE id <> {key}")
            case _:
                city.run(arrives=key)
                if key:
                    assert city.replica.rows == city.rows()


# --- what the log needs, and who watches it -------------------------------------------------------------------------


def test_a_slot_is_seen_with_what_it_keeps_and_is_gone_once_dropped(city: City) -> None:
    city.run()
    city.execute(f"INSERT INTO {city.table} SELECT i, '张三', repeat('x', 500) FROM generate_series(1, 2000) i")
    (status,) = [one for one in city.source.slots() if one.name == slot_of(city.order)]

    assert (status.active, status.wal_status) == (False, "reserved")
    assert status.retained_bytes >= status.lag_bytes > 500_000

    assert city.source.drop_slot(status.name)
    assert not city.source.drop_slot(status.name)
    assert status.name not in {one.name for one in city.source.slots()}
    assert city.server.fetch(f"SELECT 1 FROM pg_publication WHERE pubname = '{status.name}'") == []


def test_a_beginning_that_never_arrived_begins_anew(city: City) -> None:
    city.execute(f"INSERT INTO {city.table} VALUES (1, '张三', NULL)")

    assert city.run(arrives=False) == (1, 0)
    assert city.run() == (1, 0)
    assert [one.name for one in city.source.slots()].count(slot_of(city.order)) == 1


@pytest.mark.parametrize("reason", ["dropped", "passed", "other"])
def test_a_log_that_does_not_reach_back_is_a_gap_by_name(city: City, reason: str) -> None:
    city.run()
    slot = slot_of(city.order)
    if reason == "passed":
        city.execute(f"INSERT INTO {city.table} VALUES (1, '张三', NULL)")
        city.execute(f"SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())")
    else:
        city.execute(f"SELECT pg_drop_replication_slot('{slot}')")
    if reason == "other":
        city.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')")

    with pytest.raises(LogGap) as gap:
        city.run()

    assert gap.value.details == {"slot": slot, "reason": reason}


def test_a_slot_that_another_reads_is_in_use(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    from jinqiao.dataplane.connectors import postgresql_slots

    monkeypatch.setattr(postgresql_slots, "_WAIT_S", 0.3)
    city.run()
    slot = slot_of(city.order)
    address = f"host={city.server.host} port={city.server.port} user={city.server.user} dbname={city.server.database}"
    with closing(
        psycopg.connect(address, password=city.server.password, replication="database", autocommit=True)
    ) as other:
        other.pgconn.exec_(
            f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names '{slot}')".encode()
        )

        with pytest.raises(SlotInUse):
            city.run()


def test_a_beginning_waits_for_open_transactions_and_ends_when_it_is_told_to(city: City) -> None:
    with city.server.connect() as connection, connection.transaction():
        connection.execute(f"INSERT INTO {city.table} VALUES (1, '张三', NULL)")
        session = city.session()
        asked = iter([False, False])
        plan = ReadPlan(table=city.table, columns=("id",), stop=lambda: next(asked, True))

        with pytest.raises(RunStopped):
            session.open_snapshot(city.source, plan, parallel=1, resume=None, chunk_rows=100)


def test_a_table_whose_rows_the_log_cannot_name_is_refused_before_it_is_published(city: City) -> None:
    city.make("id int, name varchar(60), file text")

    with pytest.raises(ReplicaIdentityMissing) as refused:
        city.run()

    assert "REPLICA IDENTITY FULL" in refused.value.details["statement"]
    city.execute(f"INSERT INTO {city.table} VALUES (1, '张三', NULL)", f"UPDATE {city.table} SET name = '改'")


def test_an_account_without_rights_is_told_what_to_ask_for(city: City) -> None:
    reader = f"reader_{city.table}"
    city.execute(f"CREATE ROLE {reader} LOGIN PASSWORD 'x'", f"GRANT SELECT ON {city.table} TO {reader}")
    try:
        city.source.close()
        city.source = open_source(city.server.connection(user=reader), "x")
        with pytest.raises(LogNotAllowed) as refused:
            city.run()
        assert refused.value.details["statement"] == f"ALTER ROLE {reader} REPLICATION"

        city.execute(f"ALTER ROLE {reader} REPLICATION")
        with pytest.raises(PublicationMissing) as unpublished:
            city.run()

        city.execute(unpublished.value.details["statement"], f"INSERT INTO {city.table} VALUES (1, '张三', NULL)")
        assert city.run() == (1, 0)
        assert city.run() == (0, 0)
    finally:
        city.source.close()
        city.source = open_source(city.server.connection(), city.server.password)
        city.source.drop_slot(slot_of(city.order))
        city.execute(f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")


def test_a_publication_that_leaves_something_out_is_made_anew(city: City) -> None:
    slot = slot_of(city.order)
    city.execute(f"CREATE PUBLICATION {slot} FOR TABLE {city.table} WITH (publish = 'insert')")
    city.run()
    city.execute(f"INSERT INTO {city.table} VALUES (1, '张三', NULL)", f"DELETE FROM {city.table}")

    assert city.run() == (0, 1) or city.replica.rows == {}
    assert city.server.fetch(f"SELECT pubdelete FROM pg_publication WHERE pubname = '{slot}'") == [(True,)]


def test_a_server_that_writes_no_logical_log_says_so(tmp_path: Path) -> None:
    with servers.postgresql(settings=("fsync=off", "log_min_messages=fatal", "wal_level=replica")) as server:
        plain = City(server, tmp_path)
        with pytest.raises(LogNotEnabled) as refused:
            plain.run()
        plain.source.close()
        assert refused.value.details == {"level": "replica"}


def test_a_server_that_has_no_slot_left_says_so(city: City) -> None:
    names = [f"taken_{number}" for number in range(20)]
    try:
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            city.execute(*(f"SELECT pg_create_physical_replication_slot('{name}')" for name in names))
        with pytest.raises(SlotsExhausted):
            city.run()
    finally:
        city.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'taken%'"
        )


def test_only_postgresql_has_a_log(tmp_path: Path) -> None:
    source = open_source(people(tmp_path / "city.db", []))

    with pytest.raises(LogNotPossible):
        LogSession(order(mode=CopyMode.LOG), source, source.schema("people"))


def test_the_name_of_a_slot_is_one_that_postgresql_takes() -> None:
    for task in ("T-1", "任务/一", "X" * 200, "a.b c"):
        name = slot_of(order(mode=CopyMode.LOG, task_id=task))
        assert len(name) <= 63
        assert name.startswith("jinqiao_")
        assert all(letter.isascii() and (letter.isalnum() or letter == "_") for letter in name)
        assert name == name.lower()
    assert slot_of(order(slot="jinqiao_people")) == "jinqiao_people"
    assert slot_of(order(slot="x'; DROP")) != "x'; DROP"
