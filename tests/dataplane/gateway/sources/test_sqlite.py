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

from jinqiao.dataplane.gateway.sources import sqlite
from jinqiao.dataplane.gateway.sources.base import Reading, Row, Statement
from jinqiao.dataplane.gateway.sources.sqlite import SqliteLookups
from jinqiao.kernel.contracts.tables import Connection, Engine

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
