"""Delivery: exactly the rows of the batch, once, visible at once, only what changed is moved."""

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.connectors.ledger import LedgerTarget, run_table
from jinqiao.dataplane.connectors.postgresql_target import PostgresqlTarget
from jinqiao.dataplane.errors import (
    ChunkDamaged,
    ChunkMissing,
    ManifestMismatch,
    RunStopped,
    TargetKeyNotUnique,
    TargetNotTransactional,
    TargetRefused,
    TargetSchemaMismatch,
    TargetTableMissing,
)
from jinqiao.dataplane.pipeline import Spool
from jinqiao.dataplane.pipeline.orders import target_columns
from jinqiao.kernel.contracts.exchange import BatchManifest, CopyMode, DeliveryCounts, ExchangeOrder, Progress, Stage
from jinqiao.kernel.contracts.tables import Connection, Engine, Mask
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.crypto.identity import Identity
from tests.dataplane.connectors.test_round_trips import ENGINES, place_of
from tests.dataplane.exchanges import (
    CONSUMER,
    PEOPLE,
    change,
    exchange,
    hand_over,
    order,
    people,
    read_table,
    rows_of,
    some_people,
    sqlite_at,
)
from tests.servers import Server

pytestmark = pytest.mark.servers
Place = tuple[Connection, str]
WATERMARK: dict[str, Any] = {"mode": CopyMode.WATERMARK, "watermark_column": "updated"}


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place_of(request.param, request, tmp_path)


class City:
    """A source that changes, a target that follows."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder, self.place = folder, place
        self.table = f"residents_{uuid.uuid4().hex[:8]}"
        self.source = people(folder / "source.db", some_people(20))
        self.spool = Spool(folder / "spool")
        self.runs = 0

    def order(self, **changes: Any) -> ExchangeOrder:
        self.runs += 1
        return order(f"{self.table}-{self.runs}", **({"target_table": self.table, "chunk_rows": 7} | changes))

    def run(self, **changes: Any) -> DeliveryCounts:
        return exchange(self.order(**changes), self.source, self.place[0], self.spool, ("", self.place[1]))[1]

    def change(self, *statements: str) -> None:
        change(self.folder / "source.db", *statements)

    def delivered(self) -> list[tuple[Any, ...]]:
        columns = target_columns(order())[:2]
        with open_source(*self.place) as source:
            return sorted(tuple(row.values()) for row in read_table(source, self.table, columns).to_pylist())

    def sent(self) -> list[tuple[Any, ...]]:
        return [row[:2] for row in rows_of(self.folder / "source.db", "people")]


@pytest.fixture
def city(tmp_path: Path, place: Place) -> City:
    return City(tmp_path, place)


def counts(
    received: int, inserted: int, updated: int, deleted: int, unchanged: int, target_rows: int
) -> DeliveryCounts:
    return DeliveryCounts(
        received=received,
        inserted=inserted,
        updated=updated,
        deleted=deleted,
        unchanged=unchanged,
        target_rows=target_rows,
    )


def test_a_second_full_run_moves_only_what_changed(city: City) -> None:
    assert city.run() == counts(20, 20, 0, 0, 0, 20)
    assert city.run() == counts(20, 0, 0, 0, 20, 20)

    city.change(
        "UPDATE people SET name = '改名' WHERE id = 3", "UPDATE people SET name = NULL WHERE id = 4",
        "UPDATE people SET name = '' WHERE id = 5", "DELETE FROM people WHERE id IN (6, 7)",
        "INSERT INTO people VALUES (100, 'neu', NULL, NULL)",
    )  # fmt: skip

    assert city.run() == counts(19, 1, 3, 2, 15, 19)
    assert city.delivered() == city.sent()


def test_case_and_blanks_count_as_changes(city: City) -> None:
    city.change("UPDATE people SET name = 'abc'")
    city.run()
    city.change("UPDATE people SET name = 'ABC' WHERE id = 1", "UPDATE people SET name = 'abc ' WHERE id = 2")

    assert city.run().updated == 2
    assert city.delivered() == city.sent()


def test_a_watermark_run_brings_what_is_newer_and_deletes_nothing(city: City) -> None:
    assert city.run(**WATERMARK) == counts(20, 20, 0, 0, 0, 20)
    city.change(
        "UPDATE people SET name = 'neu', updated = '2026-03-02 08:00:00' WHERE id = 3",
        "INSERT INTO people VALUES (100, 'x', NULL, '2026-03-02 09:00:00')",
        "DELETE FROM people WHERE id = 9",
    )

    assert city.run(**WATERMARK, after="2026-03-01T12:00:00.000000") == counts(2, 1, 1, 0, 0, 21)
    assert city.run(**WATERMARK, after="2026-03-02T09:00:00.000000", overlap_s=7200) == counts(2, 0, 0, 0, 2, 21)


def test_without_a_key_the_target_shows_the_last_batch(city: City) -> None:
    keyless = {"items": (replace(PEOPLE[0], mask=Mask.HIDDEN), PEOPLE[1]), "key_columns": ("id",)}
    assert city.run(**keyless) == counts(20, 20, 0, 0, 0, 20)
    city.change("DELETE FROM people WHERE id > 5", "UPDATE people SET name = 'gleich'")

    assert city.run(**keyless) == counts(5, 5, 0, 20, 0, 5)
    with open_source(*city.place) as source:
        columns = target_columns(order(items=keyless["items"]))
        assert read_table(source, city.table, columns).to_pylist() == [{"id": "***", "name": "gleich"}] * 5


def test_an_empty_batch_empties_the_target(city: City) -> None:
    city.run()
    city.change("DELETE FROM people")

    assert city.run() == counts(0, 0, 0, 20, 0, 0)


def staged(city: City, **changes: Any) -> tuple[ExchangeOrder, BatchManifest]:
    asked = city.order(**changes)
    with open_source(city.source) as source:
        manifest = pipeline.extract(asked, source, spool=city.spool)
    hand_over(city.spool, asked.run_id, manifest)
    return asked, manifest


def deliver(city: City, asked: ExchangeOrder, manifest: BatchManifest, **options: Any) -> DeliveryCounts:
    with open_target(*city.place) as target:
        return pipeline.deliver(asked, manifest, target, **({"spool": city.spool, "identity": CONSUMER} | options))


def test_delivering_again_writes_nothing_and_tells_the_same(city: City) -> None:
    asked, manifest = staged(city)
    first = deliver(city, asked, manifest)
    city.spool.purge(asked.run_id)

    assert deliver(city, asked, manifest) == first == counts(20, 20, 0, 0, 0, 20)


def test_a_stopped_delivery_shows_nothing_and_goes_on_where_it_was(city: City) -> None:
    city.run()
    city.change("UPDATE people SET name = 'neu'")
    asked, manifest = staged(city)
    told: list[Progress] = []

    with pytest.raises(RunStopped):
        deliver(city, asked, manifest, progress=told.append, stop=lambda: len(told) >= 2)
    assert {name for _, name in city.delivered()} != {"neu"}
    assert "neu" not in {name for _, name in city.delivered()}
    for number in (1, 2):  # what is in the target's run table is not needed again
        city.spool.incoming(asked.run_id).chunk_path(number).unlink()

    assert deliver(city, asked, manifest, progress=told.append) == counts(20, 0, 20, 0, 0, 20)
    assert told[-1].stage is Stage.RECONCILE
    assert city.delivered() == city.sent()


def test_a_damaged_or_missing_chunk_changes_nothing(city: City) -> None:
    city.run()
    city.change("UPDATE people SET name = 'neu'")
    asked, manifest = staged(city)
    before = city.delivered()
    good = city.spool.incoming(asked.run_id).read_chunk(3)

    city.spool.incoming(asked.run_id).write_chunk(3, good[:-1] + b"x")
    with pytest.raises(ChunkDamaged):
        deliver(city, asked, manifest)
    city.spool.incoming(asked.run_id).chunk_path(3).unlink()
    with pytest.raises(ChunkMissing):
        deliver(city, asked, manifest)
    assert city.delivered() == before

    city.spool.incoming(asked.run_id).write_chunk(3, good)
    assert deliver(city, asked, manifest).updated == 20


def test_another_nodes_identity_opens_nothing(city: City) -> None:
    asked, manifest = staged(city)

    with pytest.raises(SealBroken):
        deliver(city, asked, manifest, identity=Identity.generate())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"run_id": "another"}, "run"),
        ({"columns": ()}, "columns"),
        ({"chunks": ()}, "rows"),
        ({"rows": 19}, "rows"),
        ({"rows_read": 21}, "quarantine"),
        ({"batch_digest": "00"}, "digest"),
    ],
)
def test_a_manifest_that_contradicts_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    city = City(tmp_path, (sqlite_at(tmp_path / "b.db"), ""))
    asked, manifest = staged(city)

    with pytest.raises(ManifestMismatch) as caught:
        deliver(city, asked, replace(manifest, **changes))

    assert caught.value.details["reason"] == reason


def test_a_target_that_cannot_hold_the_rows_is_refused_before_anything_changes(city: City) -> None:
    city.run()
    wider = (*PEOPLE, replace(PEOPLE[1], code="second", item="第二"))
    asked, manifest = staged(city, items=wider)

    with pytest.raises(TargetSchemaMismatch) as caught:
        deliver(city, asked, manifest)

    assert "second" in caught.value.details["columns"]
    assert city.delivered() == city.sent()


def test_a_target_table_is_made_only_where_that_is_allowed(city: City) -> None:
    with pytest.raises(TargetTableMissing):
        city.run(create_target=False)

    city.run()
    assert city.run(create_target=False).unchanged == 20


@pytest.mark.parametrize("kind", ["VARCHAR(2)", "INTEGER", "DATE"])
def test_a_column_that_is_too_narrow_is_named(
    place: Place, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    if place[0].engine is Engine.CSV:
        return  # every column there holds every text
    city = City(tmp_path, place)
    run_sql(
        place,
        request,
        f"CREATE TABLE {city.table} (id BIGINT PRIMARY KEY, name {kind}, born DATE, updated {time_type(place)})",
    )

    with pytest.raises(TargetSchemaMismatch) as caught:
        city.run()

    assert caught.value.details["columns"] == "name"


def time_type(place: Place) -> str:
    return {Engine.MYSQL: "DATETIME(6)", Engine.POSTGRESQL: "TIMESTAMP", Engine.SQLITE: "DATETIME"}[place[0].engine]


def run_sql(place: Place, request: pytest.FixtureRequest, *statements: str) -> None:
    if place[0].engine is Engine.SQLITE:
        change(Path(place[0].database), *statements)
    else:
        name = "postgresql_server" if place[0].engine is Engine.POSTGRESQL else "mariadb_server"
        server: Server = request.getfixturevalue(name)
        server.execute(*statements)


def test_a_table_of_the_consumers_own_keeps_its_other_columns(
    place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if place[0].engine is Engine.CSV:
        return  # a file is replaced as a whole
    city = City(tmp_path, place)
    run_sql(
        place, request,
        f"CREATE TABLE {city.table} (id BIGINT PRIMARY KEY, name VARCHAR(200), born DATE, updated {time_type(place)}, note VARCHAR(9))",
        f"INSERT INTO {city.table} (id, name, note) VALUES (3, 'alt', '自己的'), (999, 'weg', 'x')",
    )  # fmt: skip

    assert city.run() == counts(20, 19, 1, 1, 0, 20)
    run_sql(place, request, f"UPDATE {city.table} SET note = 'x' WHERE note = '自己的'")
    assert city.delivered() == city.sent()


def test_a_constraint_of_the_target_rolls_everything_back(
    place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if place[0].engine is Engine.CSV:
        return  # files have no constraints
    city = City(tmp_path, place)
    run_sql(
        place, request,
        f"CREATE TABLE {city.table} (id BIGINT PRIMARY KEY, name VARCHAR(200), born DATE, updated {time_type(place)}, CHECK (id < 15))",
    )  # fmt: skip

    with pytest.raises(TargetRefused) as caught:
        city.run()

    assert city.delivered() == []
    assert "王小明" not in str(caught.value.details)
    manifest = city.spool.outgoing(f"{city.table}-1").manifest()
    assert manifest is not None
    with open_target(*place) as target:
        assert isinstance(target, LedgerTarget)
        assert not target.has(run_table(manifest.batch_id))  # a batch that will never be merged leaves no rows behind


def test_a_key_that_does_not_tell_rows_apart_is_refused(city: City) -> None:
    city.run(key_columns=("id",))
    city.change("UPDATE people SET born = '2000-01-01'")
    before = city.delivered()

    with pytest.raises(TargetKeyNotUnique):
        city.run(key_columns=("born",))

    assert city.delivered() == before


def test_a_table_without_transactions_is_no_target(mariadb_server: Server, tmp_path: Path) -> None:
    city = City(tmp_path, (mariadb_server.connection(), mariadb_server.password))
    mariadb_server.execute(
        f"CREATE TABLE {city.table} (id BIGINT PRIMARY KEY, name VARCHAR(200), born DATE, updated DATETIME(6)) ENGINE=MyISAM"
    )

    with pytest.raises(TargetNotTransactional) as caught:
        city.run()

    assert caught.value.details["engine"] == "MyISAM"


def test_a_server_that_takes_no_local_files_gets_plain_inserts(mariadb_server: Server, tmp_path: Path) -> None:
    city = City(tmp_path, (mariadb_server.connection(), mariadb_server.password))
    mariadb_server.execute("SET GLOBAL local_infile = 0")
    try:
        assert city.run() == counts(20, 20, 0, 0, 0, 20)
    finally:
        mariadb_server.execute("SET GLOBAL local_infile = 1")

    assert city.delivered() == city.sent()


def test_a_batch_extracted_again_leaves_no_run_table_behind(mariadb_server: Server, tmp_path: Path) -> None:
    city = City(tmp_path, (mariadb_server.connection(), mariadb_server.password))
    before = set(mariadb_server.fetch("SHOW TABLES LIKE 'jinqiao_run_%'"))
    asked, manifest = staged(city)
    told: list[Progress] = []
    with pytest.raises(RunStopped):
        deliver(city, asked, manifest, progress=told.append, stop=lambda: len(told) >= 1)
    assert set(mariadb_server.fetch("SHOW TABLES LIKE 'jinqiao_run_%'")) > before
    city.spool.purge(asked.run_id)
    with open_source(city.source) as source:
        again = pipeline.extract(asked, source, spool=city.spool)
    hand_over(city.spool, asked.run_id, again)

    assert deliver(city, asked, again).inserted == 20
    assert set(mariadb_server.fetch("SHOW TABLES LIKE 'jinqiao_run_%'")) == before


@pytest.fixture
def loaded_by(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Which connection (process of the server) took which chunk."""
    taken: dict[int, int] = {}
    load = PostgresqlTarget.load

    def noted(self: PostgresqlTarget, plan: Any, chunk: Any, rows: Any) -> None:
        load(self, plan, chunk, rows)
        taken[chunk.number] = self._connection.info.backend_pid

    monkeypatch.setattr(PostgresqlTarget, "load", noted)
    return taken


def test_chunks_that_wait_come_over_two_connections(
    postgresql_server: Server, tmp_path: Path, loaded_by: dict[int, int]
) -> None:
    city = City(tmp_path, (postgresql_server.connection(), postgresql_server.password))

    assert city.run(chunk_rows=3) == counts(20, 20, 0, 0, 0, 20)

    assert loaded_by.keys() == set(range(1, 8))
    assert len(set(loaded_by.values())) == 2
    assert city.delivered() == city.sent()
    assert city.run(chunk_rows=50).unchanged == 20  # a single chunk needs no other


def test_a_server_that_gives_no_second_connection_takes_chunk_after_chunk(
    postgresql_server: Server, tmp_path: Path, loaded_by: dict[int, int]
) -> None:
    postgresql_server.execute(
        "CREATE ROLE lonely LOGIN PASSWORD 'lonely' CONNECTION LIMIT 1", "CREATE SCHEMA lonely AUTHORIZATION lonely"
    )
    try:
        city = City(
            tmp_path, (replace(postgresql_server.connection(), user="lonely", options={"schema": "lonely"}), "lonely")
        )

        assert city.run(chunk_rows=3) == counts(20, 20, 0, 0, 0, 20)

        assert (len(loaded_by), len(set(loaded_by.values()))) == (7, 1)
        assert postgresql_server.fetch(f'SELECT count(*) FROM lonely."{city.table}"') == [(20,)]
    finally:
        postgresql_server.execute("DROP OWNED BY lonely CASCADE", "DROP ROLE lonely")


def test_what_fails_on_one_connection_leaves_what_the_other_has_loaded(
    postgresql_server: Server, tmp_path: Path, loaded_by: dict[int, int]
) -> None:
    city = City(tmp_path, (postgresql_server.connection(), postgresql_server.password))
    asked, manifest = staged(city, chunk_rows=3)
    city.spool.incoming(asked.run_id).write_chunk(4, b"damaged")

    with pytest.raises(ChunkDamaged):
        deliver(city, asked, manifest)

    assert loaded_by.keys() >= {1, 2, 3}
    assert not loaded_by.keys() & {4}


def test_guomi_nodes_exchange_with_their_own_algorithms(tmp_path: Path) -> None:
    city = City(tmp_path, (sqlite_at(tmp_path / "b.db"), ""))
    consumer = Identity.generate("guomi")
    asked, manifest = staged(city, consumer_identity=consumer.public.to_json())

    assert manifest.suite == "guomi"
    assert deliver(city, asked, manifest, identity=consumer).inserted == 20
