"""Full disks and lost connections: a clean error, nothing half done, and the same call succeeds when the trouble is over."""

import resource
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import ReadPlan, open_source, open_target
from jinqiao.dataplane.errors import ConnectionLost, SpoolFull, TargetDiskFull
from jinqiao.dataplane.pipeline import Spool
from jinqiao.dataplane.pipeline.orders import target_columns
from jinqiao.kernel.contracts.exchange import DeliveryCounts
from jinqiao.kernel.contracts.tables import Column, Connection, LogicalType
from tests.dataplane.exchanges import (
    CONSUMER,
    csv_at,
    exchange,
    hand_over,
    order,
    people,
    some_people,
    sqlite_at,
    write_table,
)
from tests.servers import Server

COLUMNS = (target_columns(order())[0], Column(name="name", type=LogicalType.TEXT))
ALL = DeliveryCounts(received=3000, inserted=3000, updated=0, deleted=0, unchanged=0, target_rows=3000)


@contextmanager
def files_end_at(size_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond `size_bytes`: the nearest thing to a full disk that needs no privilege."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_spool_is_said_and_the_run_can_start_again(tmp_path: Path) -> None:
    source = people(tmp_path / "a.db", some_people(3000))
    spool = Spool(tmp_path / "spool")

    with files_end_at(10_000), open_source(source) as opened, pytest.raises(SpoolFull) as caught:
        pipeline.extract(order(), opened, spool=spool)

    assert caught.value.retryable
    assert spool.outgoing("RUN-1").manifest() is None
    assert not list(spool.outgoing("RUN-1").folder.glob("chunk-*"))
    assert exchange(order(), source, sqlite_at(tmp_path / "b.db"), spool)[1] == ALL


@pytest.mark.parametrize("kind", ["sqlite", "csv"])
def test_a_full_target_is_said_and_keeps_what_it_showed(tmp_path: Path, kind: str) -> None:
    source = people(tmp_path / "a.db", some_people(3000))
    target = sqlite_at(tmp_path / "b.db") if kind == "sqlite" else csv_at(tmp_path / "files")
    spool = Spool(tmp_path / "spool")
    with open_source(source) as opened:
        manifest = pipeline.extract(order(chunk_rows=500), opened, spool=spool)
    hand_over(spool, "RUN-1", manifest)

    with files_end_at(60_000), open_target(target) as taken, pytest.raises(TargetDiskFull) as caught:
        pipeline.deliver(order(chunk_rows=500), manifest, taken, spool=spool, identity=CONSUMER)

    assert caught.value.retryable
    if kind == "csv":
        assert not (Path(target.database) / "residents.csv").exists()
    with open_target(target) as taken:
        assert pipeline.deliver(order(chunk_rows=500), manifest, taken, spool=spool, identity=CONSUMER) == ALL


@pytest.mark.servers
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_connection_that_breaks_while_reading_is_said(engine: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue("postgresql_server" if engine == "postgresql" else "mariadb_server")
    place = (server.connection(), server.password)
    table = fill_server(server, place)

    with open_source(*place) as source, pytest.raises(ConnectionLost) as caught:
        for at, _ in enumerate(source.read(ReadPlan(table=table, columns=("id", "name"), batch_rows=1000))):
            if at == 0:
                cut(server, table)

    assert caught.value.retryable


def fill_server(server: Server, place: tuple[Connection, str]) -> str:
    """A table of more bytes than any buffer between the server and its reader holds; its name."""
    table = f"broken_{uuid.uuid4().hex[:8]}"
    rows = pa.table({"id": pa.array(range(80_000), pa.int64()), "name": pa.array(["x" * 800] * 80_000)})
    with open_target(*place) as target:
        write_table(target, table, COLUMNS, ["id"], rows)
    return table


def cut(server: Server, table: str) -> None:
    """End the connection that reads the table, from the server's side."""
    if server.engine.value == "postgresql":
        server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%{table}%' AND pid <> pg_backend_pid()"
        )
        return
    found = server.fetch(f"SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT `id`%{table}%'")
    for (process,) in found:
        server.execute(f"KILL CONNECTION {process}")


@pytest.mark.servers
def test_a_target_that_goes_away_is_said_and_taken_up_again(postgresql_server: Server, tmp_path: Path) -> None:
    place = (postgresql_server.connection(), postgresql_server.password)
    source = people(tmp_path / "a.db", some_people(3000))
    spool = Spool(tmp_path / "spool")
    asked = order("LOST-1", target_table="lost", chunk_rows=500)
    postgresql_server.execute("DROP TABLE IF EXISTS lost")
    with open_source(source) as opened:
        manifest = pipeline.extract(asked, opened, spool=spool)
    hand_over(spool, "LOST-1", manifest)

    def cut_after_two_chunks(progress: object) -> None:
        if getattr(progress, "chunks_done", 0) == 2:
            postgresql_server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'jinqiao' AND pid <> pg_backend_pid()"
            )

    with open_target(*place) as target, pytest.raises(ConnectionLost):
        pipeline.deliver(asked, manifest, target, spool=spool, identity=CONSUMER, progress=cut_after_two_chunks)
    with open_target(*place) as target:
        assert target.state(manifest.batch_id).loaded.keys() == {1, 2}
        assert pipeline.deliver(asked, manifest, target, spool=spool, identity=CONSUMER) == ALL


def test_the_engine_needs_no_django(tmp_path: Path) -> None:
    code = "import sys, jinqiao.dataplane.pipeline, jinqiao.dataplane.connectors.postgresql_target; sys.exit('django' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0
