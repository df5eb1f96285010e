"""The same question to SQLite, PostgreSQL and MariaDB gets the same answer, and nothing else than the question is run."""

import asyncio
import contextlib
import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.sources.base import Statement
from jinqiao.dataplane.gateway.sources.mariadb import MariadbLookups
from jinqiao.dataplane.gateway.sources.postgresql import PostgresqlLookups
from jinqiao.dataplane.gateway.sources.readers import ServiceReader
from jinqiao.kernel.contracts.tables import Connection, Engine, Mask, Operator, RowCondition
from jinqiao.kernel.ports import free_port
from tests import servers
from tests.dataplane.gateway.engines import ALL, COLUMNS, ITEMS, NASTY, ask, rows_sql, table_of, world_of
from tests.dataplane.gateway.world import ANN, Caller, make_table, make_world, records, talk

_OTHERS = Statement(
    "SELECT id FROM information_schema.processlist WHERE id <> connection_id() AND command = 'Sleep' AND user = 'root'",
    (),
    (),
)


def test_every_type_arrives_as_json_says_it(tmp_path: Path, source: tuple[Connection, str, Any]) -> None:
    answer = ask(world_of(tmp_path, source), by={"id_no": ANN})
    assert answer["rows"] == [
        {
            "id_no": ANN,
            "name": "安小雅",
            "whole": 42,
            "amount": "12.500",
            "share": 0.1,
            "yes": True,
            "day": "2026-02-28",
            "at": "2026-03-01T09:30:00.000000",
            "bytes": "00ff",
        }
    ]


KEYS = [
    ("name", "安小雅", 1),
    ("name", NASTY, 1),
    ("name", "安小雅 ", 0),
    ("name", "' OR '1'='1", 0),
    ("name", "\\' OR 1=1 -- ", 0),
    ("name", "安小雅\\", 0),
    ("name", "x%' OR name LIKE '%", 0),
    ("whole", 42, 1),
    ("whole", "42", 1),
    ("whole", -1, 1),
    ("amount", "12.5", 1),
    ("amount", "12.500", 1),
    ("yes", True, 1),
    ("day", "2026-02-28", 1),
    ("at", "2026-03-01T09:30:00", 1),
    ("bytes", "00ff", 1),
    ("id_no", "62030219900101002X", 1),
    ("id_no", "62030219900101002x", 0),
    ("id_no", ANN.translate(str.maketrans("0123456789", "０１２３４５６７８９")), 0),
    ("id_no", ANN + "0000", 0),
]


def test_a_key_of_each_type_finds_exactly_its_row(tmp_path: Path, source: tuple[Connection, str, Any]) -> None:
    world = world_of(tmp_path, source)
    world.services = tuple(replace(world.services[0], service=f"by-{code}", key_items=(code,)) for code in ALL)
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for code, value, found in KEYS:
            answer = (await caller.ask(service=f"by-{code}", by={code: value}, items=["name"])).json()
            assert (code, value, answer["count"]) == (code, value, found)

    talk(world, conversation)


FILTERS = [
    ("area", Operator.EQUAL, ("620302",), 1),
    ("area", Operator.STARTS_WITH, ("6203",), 1),
    ("area", Operator.STARTS_WITH, ("6204",), 0),
    ("area", Operator.ONE_OF, ("620301", "620302"), 1),
    ("area", Operator.ONE_OF, ("620301", "620321"), 0),
    ("whole", Operator.AT_LEAST, ("42",), 1),
    ("whole", Operator.AT_LEAST, ("43",), 0),
    ("whole", Operator.AT_MOST, ("100",), 1),
    ("amount", Operator.AT_LEAST, ("12.500",), 1),
    ("amount", Operator.AT_LEAST, ("12.501",), 0),
    ("day", Operator.AT_MOST, ("2026-02-28",), 1),
    ("day", Operator.AT_MOST, ("2026-02-27",), 0),
    ("at", Operator.AT_LEAST, ("2026-03-01T09:30:00.000000",), 1),
    ("at", Operator.AT_LEAST, ("2026-03-01T09:30:00.000001",), 0),
    ("note", Operator.EQUAL, ("' OR ''='",), 0),
]


def test_the_row_filter_holds_for_each_operator_and_type(tmp_path: Path, source: tuple[Connection, str, Any]) -> None:
    world = world_of(tmp_path, source)
    plain = world.services[0]
    world.services = tuple(
        replace(
            plain,
            service=f"filter-{at}",
            grant=replace(plain.grant, row_filter=(RowCondition(column=column, operator=operator, values=values),)),
        )
        for at, (column, operator, values, _) in enumerate(FILTERS)
    )
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for at, (column, operator, values, found) in enumerate(FILTERS):
            answer = (await caller.ask(service=f"filter-{at}", by={"id_no": ANN}, items=["name"])).json()
            assert (column, operator, values, answer["count"]) == (column, operator, values, found)

    talk(world, conversation)


def test_masks_are_laid_on_whatever_the_source_is(tmp_path: Path, source: tuple[Connection, str, Any]) -> None:
    masks = {"id_no": Mask.IDENTITY_NUMBER, "name": Mask.NAME, "whole": Mask.PHONE, "day": Mask.HIDDEN}
    items = tuple(replace(item, mask=masks.get(item.code, Mask.NONE)) for item in ITEMS)
    answer = ask(world_of(tmp_path, source, grant={"items": items}), by={"id_no": ANN}, items=list(masks))
    assert answer["rows"] == [{"id_no": "620302********0015", "name": "安**", "whole": "***", "day": "***"}]


def test_a_missing_table_is_told_without_a_word_of_the_database(
    tmp_path: Path, source: tuple[Connection, str, Any]
) -> None:
    connection, _, run = source
    world = world_of(tmp_path, source)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask(by={"id_no": ANN}, items=["name"])).status_code == 200
        run(f"DROP TABLE {table_of(connection.engine)}")
        response = await caller.ask(by={"id_no": ANN}, items=["name"])
        assert (response.status_code, response.json()["code"]) == (503, "gateway.source.not_usable")
        for word in ("人口", "table", "SELECT", connection.database, "id_no", "relation", "1146", "42P01"):
            # as a word of its own: the number of the call is drawn by chance
            assert not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", response.text.replace("数据源、表和字段", ""))

    talk(world, conversation)
    assert [record["outcome"] for record in records(world)] == ["ok", "gateway.source.not_usable"]


def test_a_table_that_was_altered_is_read_anew(tmp_path: Path, source: tuple[Connection, str, Any]) -> None:
    connection, _, run = source
    world = world_of(tmp_path, source)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask(by={"id_no": ANN}, items=["name"])).json()["count"] == 1
        run(f"DROP TABLE {table_of(connection.engine)}")
        assert (await caller.ask(by={"id_no": ANN}, items=["name"])).status_code == 503
        run(f"CREATE TABLE {table_of(connection.engine)} ({COLUMNS[connection.engine]})")
        run(rows_sql(connection.engine))
        assert (await caller.ask(by={"id_no": ANN}, items=["name"])).json()["count"] == 1

    talk(world, conversation)


def test_thirty_callers_at_once_each_get_their_own_row(tmp_path: Path, source: tuple[Connection, str, Any]) -> None:
    connection, _, run = source
    values = ", ".join(f"('p{n}', 'n{n}', {n}, NULL, NULL, NULL, NULL, NULL, NULL, '620302', 's')" for n in range(30))
    run(f"INSERT INTO {table_of(connection.engine)} VALUES {values}")

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        async def one(n: int) -> None:
            rows = (await caller.ask(by={"id_no": f"p{n}"}, items=["name", "whole"])).json()["rows"]
            assert rows == [{"name": f"n{n}", "whole": n}]

        await asyncio.gather(*(one(n) for n in range(30)))

    talk(world_of(tmp_path, source), conversation)


def test_a_slow_source_is_given_up_on(tmp_path: Path, source: tuple[Connection, str, Any], monkeypatch: Any) -> None:
    connection, _, run = source
    endless = {
        Engine.SQLITE: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT max(i) FROM n",
        Engine.POSTGRESQL: "SELECT count(*) FROM generate_series(1, 200000000)",
        Engine.MYSQL: "SELECT sleep(20)",
    }[connection.engine]
    run("DROP VIEW IF EXISTS endless")
    run(f"CREATE VIEW endless AS SELECT '{ANN}' AS id_no, 'x' AS name, '620302' AS area, ({endless}) AS whole")
    for kind in ("sqlite.SqliteLookups", "postgresql.PostgresqlLookups", "mariadb.MariadbLookups"):
        module, name = kind.split(".")
        lookups = getattr(__import__(f"jinqiao.dataplane.gateway.sources.{module}", fromlist=[name]), name)
        monkeypatch.setitem(lookups.__init__.__kwdefaults__, "timeout_s", 0.5)
    world = world_of(tmp_path, source)
    world.services = (replace(world.services[0], table="endless"),)
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        # others are served meanwhile: the loop is not held up
        slow = asyncio.ensure_future(caller.ask(by={"id_no": ANN}, items=["whole"]))
        await asyncio.sleep(0.2)
        assert (await caller.client.get("/gateway/health/live")).status_code == 200
        response = await slow
        assert (response.status_code, response.json()["code"]) == (503, "gateway.source.timeout")

    try:
        talk(world, conversation)
    finally:
        run("DROP VIEW endless")


@pytest.mark.servers
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_an_unreachable_server_is_unavailable_and_no_secret_is_told(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: servers.Server = request.getfixturevalue(f"{name}_server")
    table = table_of(server.engine)
    server.execute(
        f"DROP TABLE IF EXISTS {table}", f"CREATE TABLE {table} ({COLUMNS[server.engine]})", rows_sql(server.engine)
    )
    closed = free_port()
    for connection, password, code in (
        (server.connection(port=closed), server.password, "gateway.source.unavailable"),
        (server.connection(), "a-wrong-password", "gateway.source.not_usable"),
        (server.connection(database="nowhere"), server.password, "gateway.source.not_usable"),
    ):
        world = world_of(tmp_path / code / str(connection.port) / connection.database, (connection, password, None))
        answer = ask(world, by={"id_no": ANN})
        assert answer["code"] == code
        assert password not in json.dumps(answer)
        assert str(closed) not in json.dumps(answer)


@pytest.mark.servers
def test_connections_that_the_server_ended_while_they_were_idle_cost_no_call(mariadb_server: servers.Server) -> None:
    async def live() -> list[Any]:
        lookups = MariadbLookups(mariadb_server.connection(), mariadb_server.password)
        slow, quick = Statement("SELECT SLEEP(0.1)", (), ()), Statement("SELECT 1", (), ())
        try:
            await asyncio.gather(*(lookups.fetch(slow, ()) for _ in range(4)))
            rested = [number for (number,) in await lookups.fetch(_OTHERS, ())]
            mariadb_server.execute(*(f"KILL {number}" for number in rested))
            return [await lookups.fetch(quick, ()) for _ in range(6)]
        finally:
            await lookups.close()

    assert asyncio.run(live()) == [[(1,)]] * 6


@pytest.mark.servers
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_a_source_that_is_closed_while_it_is_asked_keeps_no_connection(
    name: str, request: pytest.FixtureRequest
) -> None:
    """As that of a service which a policy takes away."""
    server: servers.Server = request.getfixturevalue(f"{name}_server")
    is_postgresql = server.engine is Engine.POSTGRESQL
    kind = PostgresqlLookups if is_postgresql else MariadbLookups
    slow = Statement("SELECT 42 FROM pg_sleep(0.5)" if is_postgresql else "SELECT 42 + SLEEP(0.5)", (), ())
    ours = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jinqiao gateway'"
        if is_postgresql
        else "SELECT count(*) FROM information_schema.processlist WHERE id <> connection_id() AND db = DATABASE()"
    )

    def connections() -> int:
        return int(server.fetch(ours)[0][0])

    async def live() -> None:
        lookups = kind(server.connection(), server.password)
        before = await asyncio.to_thread(connections)
        under_way = asyncio.ensure_future(lookups.fetch(slow, ()))
        while await asyncio.to_thread(connections) == before:
            await asyncio.sleep(0.01)
        await lookups.close()
        assert [int(number) for (number,) in await under_way] == [42]
        for _ in range(300):
            if await asyncio.to_thread(connections) == before:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the connection is still there")

    asyncio.run(live())


@pytest.mark.servers
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_a_connection_that_was_cut_is_thrown_away(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server: servers.Server = request.getfixturevalue(f"{name}_server")
    table = table_of(server.engine)
    server.execute(
        f"DROP TABLE IF EXISTS {table}", f"CREATE TABLE {table} ({COLUMNS[server.engine]})", rows_sql(server.engine)
    )
    world = world_of(tmp_path, (server.connection(), server.password, None))

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask(by={"id_no": ANN}, items=["name"])).status_code == 200
        if server.engine is Engine.POSTGRESQL:
            server.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jinqiao gateway'"
            )
        else:
            for (number,) in server.fetch("SELECT id FROM information_schema.processlist WHERE id <> connection_id()"):
                server.execute(f"KILL {number}")
        await asyncio.sleep(0.1)
        codes = [(await caller.ask(by={"id_no": ANN}, items=["name"])).status_code for _ in range(3)]
        assert codes[-1] == 200
        assert set(codes) <= {200, 503}

    talk(world, conversation)


def test_a_service_on_a_folder_of_files_is_refused_as_not_usable(tmp_path: Path) -> None:
    world = make_world(tmp_path, connection=Connection(engine=Engine.CSV, database=str(tmp_path)))
    world.publish()
    assert ask(world, by={"sfzh": ANN}, items=["xm"])["code"] == "gateway.source.not_usable"


def test_a_password_that_cannot_be_unsealed_stops_only_its_service(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    good = world.services[0]
    sealed = world.platform.public.seal(b"for somebody else")
    broken = replace(good, service="broken-001", connection=replace(good.connection, sealed_password=sealed))
    world.services = (good, broken)
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).status_code == 200
        assert (await caller.ask(service="broken-001")).json()["code"] == "gateway.source.not_usable"

    talk(world, conversation)


def test_a_sqlite_file_that_was_replaced_is_read_with_its_own_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jinqiao.dataplane.gateway.sources.sqlite.LOOK_EVERY_S", 0.0)
    world = make_world(tmp_path)
    world.publish()
    file = Path(world.services[0].connection.database)
    beside = Path(make_table(file.with_suffix(".new")).database)
    with contextlib.closing(sqlite3.connect(beside)) as db, db:
        db.execute("UPDATE person SET status = '新'")
        db.execute("ALTER TABLE person ADD COLUMN added TEXT")

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert gateway._desk is not None
        service = world.services[0].service
        assert (await caller.ask()).status_code == 200
        reader = gateway._desk.readers._readers[service]
        assert isinstance(reader, ServiceReader)
        assert "added" not in (reader._columns or {})
        beside.replace(file)
        for _ in range(2):  # the first one finds it, and its statement fits the new table, too
            answer = await caller.ask()
            assert answer.json()["rows"][0]["hyzk"] == "新"
        assert "added" in (reader._columns or {})

    talk(world, conversation)
