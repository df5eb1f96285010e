"""Look-ups in a SQLite file are done at once where they are small, and in a thread where they are not."""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jinqiao.dataplane.gateway.errors import SourceNotReachable, SourceNotUsable
from jinqiao.dataplane.gateway.sources import sqlite
from jinqiao.dataplane.gateway.sources.base import Reading, Row, Statement
from jinqiao.dataplane.gateway.sources.sqlite import SqliteLookups
from jinqiao.kernel.contracts.tables import Connection, Engine, Operator, RowCondition

PEOPLE = 1_000
MANY = 5_000  # rows of the one crowded key: more steps than are spent at once
CROWDED = "crowded"


class Watched(SqliteLookups):
    """Counts what went to a thread."""

    in_threads = 0

    async def _slowly(self, sql: str, parameters: tuple[Any, ...]) -> list[Row]:
        self.in_threads += 1
        return await super()._slowly(sql, parameters)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE person (id_no TEXT, name TEXT)")
        db.execute("CREATE INDEX person_id ON person (id_no)")
        db.executemany("INSERT INTO person VALUES (?, ?)", [(str(at), f"name {at}") for at in range(PEOPLE)])
        db.executemany("INSERT INTO person VALUES (?, ?)", [(CROWDED, str(at)) for at in range(MANY)])
    return path


def run(file: Path, conversation: Callable[[Watched, Statement], Awaitable[None]]) -> None:
    async def talk() -> None:
        lookups = Watched(Connection(engine=Engine.SQLITE, database=str(file)))
        columns = lookups.columns("person")
        statement = lookups.statement(
            Reading("person", tuple(columns.values()), (columns["id_no"],), (), 2 * MANY), columns
        )
        try:
            await conversation(lookups, statement)
        finally:
            await lookups.close()

    asyncio.run(talk())


def test_small_look_ups_never_go_to_a_thread_however_many_there_are(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # so few that the steps of BEGIN and COMMIT, on which SQLite counts too, come to the end of the count every now and then
    monkeypatch.setattr(sqlite, "STEPS_AT_ONCE", 60)
    chance = random.Random(20261130)

    async def conversation(lookups: Watched, statement: Statement) -> None:
        for _ in range(3_000):
            keys = [(str(chance.randrange(PEOPLE)),) for _ in range(chance.randint(1, 12))]
            found = await lookups.fetch_many(statement, keys)
            assert found == [[(key, f"name {key}")] for (key,) in keys]
        assert lookups.in_threads == 0

    run(file, conversation)


def test_a_look_up_that_takes_long_goes_to_a_thread_and_takes_the_others_along_for_a_while_only(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(sqlite, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def conversation(lookups: Watched, statement: Statement) -> None:
        crowd, one = await lookups.fetch_many(statement, [(CROWDED,), ("7",)])
        assert (len(crowd), one) == (MANY, [("7", "name 7")])
        assert lookups.in_threads == 2
        now[0] += sqlite.SLOW_FOR_S - 0.1
        assert await lookups.fetch_many(statement, [("8",)]) == [[("8", "name 8")]]
        assert lookups.in_threads == 3
        now[0] += 0.2
        assert await lookups.fetch_many(statement, [("9",)]) == [[("9", "name 9")]]
        assert lookups.in_threads == 3

    run(file, conversation)


def replaced(file: Path, columns: str, rows: list[tuple[str, ...]]) -> None:
    """Another file takes its name, as a daily export does."""
    beside = file.with_suffix(".new")
    with contextlib.closing(sqlite3.connect(beside)) as db, db:
        db.execute(f"CREATE TABLE person ({columns})")
        db.executemany(f"INSERT INTO person VALUES ({', '.join('?' * len(rows[0]))})", rows)
    beside.replace(file)


def test_a_file_that_was_replaced_is_read_from_then_on_at_once_and_in_threads(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOOK_EVERY_S", 0.0)

    async def conversation(lookups: Watched, statement: Statement) -> None:
        assert await lookups.fetch(statement, ("1",)) == [("1", "name 1")]
        assert len(await lookups.fetch(statement, (CROWDED,))) == MANY
        for _ in range(sqlite.THREADS):  # whichever thread takes it
            await asyncio.gather(*(lookups._slowly(statement.sql, ("1", "1")) for _ in range(4)))
        replaced(file, "id_no TEXT, name TEXT", [("1", "another")])
        assert await lookups.fetch(statement, ("1",)) == [("1", "another")]
        for _ in range(sqlite.THREADS):
            found = await asyncio.gather(*(lookups._slowly(statement.sql, ("1", "1")) for _ in range(4)))
            assert found == [[("1", "another")]] * 4
        assert len(lookups._opened) <= sqlite.THREADS
        assert await lookups.fetch(statement, (CROWDED,)) == []

    run(file, conversation)


def test_a_file_that_was_removed_is_not_reachable_until_there_is_one_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOOK_EVERY_S", 0.0)

    async def conversation(lookups: Watched, statement: Statement) -> None:
        assert await lookups.fetch(statement, ("1",)) == [("1", "name 1")]
        file.unlink()
        for _ in range(2):
            with pytest.raises(SourceNotReachable):
                await lookups.fetch(statement, ("1",))
        replaced(file, "id_no TEXT, name TEXT", [("1", "again")])
        assert await lookups.fetch(statement, ("1",)) == [("1", "again")]

    run(file, conversation)


def test_between_two_looks_the_file_is_not_asked_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOOK_EVERY_S", 3600.0)

    async def conversation(lookups: Watched, statement: Statement) -> None:
        assert await lookups.fetch(statement, ("1",)) == [("1", "name 1")]
        file.unlink()
        assert await lookups.fetch(statement, ("1",)) == [("1", "name 1")]

    run(file, conversation)


def test_a_reader_looks_at_the_columns_of_the_new_file_and_a_column_that_is_gone_is_no_text(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOOK_EVERY_S", 0.0)
    forgotten: list[str] = []

    class Reader:
        def forget(self) -> None:
            forgotten.append("columns")

    async def conversation(lookups: Watched, statement: Statement) -> None:
        reader = Reader()
        lookups.readers.add(reader)
        assert await lookups.fetch(statement, ("1",)) == [("1", "name 1")]
        assert forgotten == []
        replaced(file, "id_no TEXT, full_name TEXT", [("1", "another")])
        with pytest.raises(SourceNotUsable):  # not ("1", "name")
            await lookups.fetch(statement, ("1",))
        assert forgotten == ["columns"]
        assert list(lookups.columns("person")) == ["id_no", "full_name"]

    run(file, conversation)


@pytest.mark.parametrize("operator", [Operator.EQUAL, Operator.ONE_OF, Operator.AT_LEAST, Operator.STARTS_WITH])
def test_a_row_filter_whose_column_is_gone_lets_no_row_through(
    file: Path, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOOK_EVERY_S", 0.0)

    async def conversation(lookups: Watched, statement: Statement) -> None:
        columns = lookups.columns("person")
        condition = RowCondition(column="name", operator=operator, values=("name",))
        filtered = lookups.statement(
            Reading("person", (columns["id_no"],), (columns["id_no"],), (condition,), 2), columns
        )
        await lookups.fetch(filtered, ("1",))
        replaced(file, "id_no TEXT", [("1",)])
        with pytest.raises(SourceNotUsable):
            await lookups.fetch(filtered, ("1",))

    run(file, conversation)


def test_another_content_that_was_copied_into_the_same_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cp new.db current.db`: two exports that were made alike have the same counter, by which SQLite would tell them apart."""
    monkeypatch.setattr(sqlite, "LOOK_EVERY_S", 0.0)
    statement = Statement("SELECT v FROM t WHERE id = 77", (), ())

    def export(name: str) -> Path:
        with contextlib.closing(sqlite3.connect(tmp_path / name)) as db:
            db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
            db.executemany("INSERT INTO t VALUES (?, ?)", [(number, name) for number in range(5000)])
            db.commit()
        return tmp_path / name

    async def ask() -> list[Any]:
        current, following = export("older"), export("newer")
        source = SqliteLookups(Connection(engine=Engine.SQLITE, database=str(current)))
        try:
            found = await source.fetch(statement, ())
            current.write_bytes(following.read_bytes())
            found += await source.fetch(statement, ())
            with contextlib.closing(sqlite3.connect(current)) as db:
                db.execute("UPDATE t SET v = 'written'")
                db.commit()
            return found + await source.fetch(statement, ())
        finally:
            await source.close()

    assert asyncio.run(ask()) == [("older",), ("newer",), ("written",)]
