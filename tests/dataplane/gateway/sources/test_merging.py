"""Look-ups that are asked together: everybody gets his own rows, and nobody pays for another's mistake."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.gateway.errors import KeyNotValid, SourceNotReachable, SourceTooSlow
from jinqiao.dataplane.gateway.sources.base import Reading, Row, Statement
from jinqiao.dataplane.gateway.sources.merging import Merger
from jinqiao.dataplane.gateway.sources.postgresql import PostgresqlLookups
from jinqiao.kernel.contracts.tables import Column, LogicalType
from tests import servers

ONE, OTHER = (Statement("one", (), ("620302",)), Statement("one", (), ("620321",)))  # the same text, other rows


class Asked:
    """Answers each look-up with a row that names it, and keeps how many were asked together."""

    def __init__(self) -> None:
        self.together: list[int] = []

    async def __call__(self, statement: Statement, keys: Sequence[Sequence[str]]) -> list[list[Row]]:
        self.together.append(len(keys))
        await asyncio.sleep(0)
        if any(key == ("bad",) for key in keys):
            raise KeyNotValid(item="x", type="integer")
        return [[(*statement.fixed, *key)] for key in keys]


@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER]), st.sampled_from(["1", "2", "3", "bad"])), max_size=120))
@settings(max_examples=60)
def test_everybody_gets_his_own_rows_and_only_a_wrong_key_is_refused(asks: list[tuple[Statement, str]]) -> None:
    async def all_at_once() -> list[list[Row] | BaseException]:
        merger = Merger(Asked(), 4)
        return await asyncio.gather(*(merger.fetch(s, (key,)) for s, key in asks), return_exceptions=True)

    for (statement, key), found in zip(asks, asyncio.run(all_at_once()), strict=True):
        if key == "bad":
            assert isinstance(found, KeyNotValid)
        else:
            assert found == [(*statement.fixed, key)]


def test_a_lone_call_waits_for_nobody_and_those_behind_it_share_a_question() -> None:
    async def callers() -> list[int]:
        asked = Asked()
        merger = Merger(asked, 4)
        await merger.fetch(ONE, ("first",))
        await asyncio.gather(*(merger.fetch(ONE, (str(number),)) for number in range(40)))
        return asked.together

    first, *rest = asyncio.run(callers())
    assert first == 1
    assert sum(rest) == 40
    assert len(rest) < 10


def test_a_caller_that_has_gone_is_not_asked_for() -> None:
    async def callers() -> list[int]:
        asked = Asked()
        merger = Merger(asked, 1)
        waiting = [merger.fetch(ONE, (str(number),)) for number in range(10)]
        for gone in waiting[5:]:
            gone.cancel()
        await asyncio.gather(*waiting[:5])
        return asked.together

    assert sum(asyncio.run(callers())) == 5


def test_of_those_who_are_asked_alone_after_a_failure_nobody_is_asked_for_who_has_gone_meanwhile() -> None:
    """A look-up of many that ran into its time-out is asked again one by one: each may take as long, and holds up who comes next."""
    alone: list[tuple[str, ...]] = []

    async def callers() -> None:
        waiting: list[asyncio.Future[list[Row]]] = []

        async def ask(statement: Statement, keys: Sequence[Sequence[str]]) -> list[list[Row]]:
            await asyncio.sleep(0)
            if len(keys) > 1:
                raise SourceTooSlow
            alone.append(tuple(keys[0]))
            for gone in waiting[3:]:  # while the first of them is asked the others' time is over
                gone.cancel()
            return [[tuple(keys[0])]]

        merger = Merger(ask, 1)
        waiting += [merger.fetch(ONE, (str(number),)) for number in range(40)]
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await merger.fetch(ONE, ("next",)) == [("next",)]

    asyncio.run(callers())
    assert alone == [("0",), ("1",), ("2",), ("next",)]


def test_when_the_source_is_away_everybody_hears_it() -> None:
    async def away(statement: Statement, keys: Sequence[Sequence[str]]) -> list[list[Row]]:
        raise SourceNotReachable

    async def callers() -> list[list[Row] | BaseException]:
        merger = Merger(away, 2)
        return await asyncio.gather(*(merger.fetch(ONE, (str(n),)) for n in range(7)), return_exceptions=True)

    assert [type(problem) for problem in asyncio.run(callers())] == [SourceNotReachable] * 7


@pytest.mark.servers
def test_postgresql_answers_many_look_ups_in_one_question_each_with_its_rows_and_its_limit() -> None:
    with servers.postgresql() as server:
        server.execute(
            "CREATE TABLE person (id_no char(18), area text, name text)",
            "INSERT INTO person SELECT 'P' || n % 50, CASE WHEN n % 2 = 0 THEN 'ours' ELSE 'theirs' END, 'name ' || n"
            " FROM generate_series(1, 1000) AS n",
        )
        connection = server.connection()

        async def ask() -> tuple[list[list[Row]], list[list[Row]]]:
            source = PostgresqlLookups(connection, server.password)
            columns = {name: Column(name=name, type=LogicalType.TEXT, native_type=native)
                       for name, native in (("id_no", "character(18)"), ("area", "text"), ("name", "text"))}  # fmt: skip
            wanted = (columns["id_no"], columns["area"])
            statement = source.statement(Reading("person", (columns["name"],), wanted, (), 3), columns)
            keys = [(f"P{n}", "ours") for n in range(60)]
            try:
                alone = [await source.fetch(statement, key) for key in keys]
                together = await source.fetch_many(statement, keys)
            finally:
                await source.close()
            return alone, together

        alone, together = asyncio.run(ask())
        assert [sorted(tuple(row) for row in rows) for rows in alone] == [sorted(rows) for rows in together]
        assert [len(rows) for rows in together[:4]] == [3, 0, 3, 0]
        assert together[50:] == [[]] * 10


def test_what_breaks_the_driver_is_that_look_ups_own_trouble() -> None:
    async def ask(statement: Statement, keys: Sequence[Sequence[str]]) -> list[list[Row]]:
        await asyncio.sleep(0)
        if ("year 20201",) in keys:
            raise OverflowError("year is out of range")
        return [[tuple(key)] for key in keys]

    async def callers() -> list[list[Row] | BaseException]:
        merger = Merger(ask, 2)
        keys = ["year 20201" if number % 50 == 7 else str(number) for number in range(200)]
        return await asyncio.wait_for(
            asyncio.gather(*(merger.fetch(ONE, (key,)) for key in keys), return_exceptions=True), 20
        )

    for number, found in enumerate(asyncio.run(callers())):
        assert isinstance(found, OverflowError) if number % 50 == 7 else found == [(str(number),)]
