"""What is wrong with a connection is said by cause, and never with the password."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.connectors.mysql import Place, telling
from jinqiao.dataplane.errors import (
    AuthenticationFailed,
    ConnectionLost,
    ConnectionTimedOut,
    DatabaseMissing,
    FileNotReadable,
    HostUnreachable,
    PermissionDenied,
    TlsFailed,
)
from jinqiao.kernel.contracts.tables import Connection, Engine
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.ports import free_port
from tests.dataplane.exchanges import csv_at, sqlite_at
from tests.servers import Server

pytestmark = pytest.mark.servers
SECRET = "口令-s3cret"


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue("postgresql_server" if request.param == "postgresql" else "mariadb_server")
    return found


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where somebody listens and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield int(listener.getsockname()[1])


def cause(connection: Connection, password: str) -> JinqiaoError:
    with open_source(connection, password) as source, pytest.raises(JinqiaoError) as caught:
        source.test()
    with open_target(connection, password) as target, pytest.raises(type(caught.value)):
        target.test()
    for language in ("zh", "en"):
        text = caught.value.text(language)
        assert password not in f"{caught.value} {caught.value.details} {text.message} {text.mend}"
        assert "{" not in text.message
    assert caught.value.__suppress_context__
    return caught.value


def test_a_good_connection_tells_the_version(server: Server) -> None:
    with (
        open_source(server.connection(), server.password) as source,
        open_target(server.connection(), server.password) as target,
    ):
        version = source.test()

        assert version.split()[0] in ("PostgreSQL", "MariaDB", "MySQL")
        assert version.split()[1][0].isdigit()
        assert target.test() == version


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"host": "no-such-host.invalid"}, HostUnreachable),
        ({"port": free_port()}, HostUnreachable),
        ({"user": "nobody_here"}, AuthenticationFailed),
        ({}, AuthenticationFailed),
    ],
)
def test_each_cause_has_its_own_error(server: Server, changes: dict[str, Any], error: type[JinqiaoError]) -> None:
    assert type(cause(server.connection(**changes), SECRET)) is error


def test_a_missing_database_is_named(server: Server) -> None:
    problem = cause(server.connection(database="no_such_city"), server.password)

    assert type(problem) is DatabaseMissing
    assert problem.details["database"] == "no_such_city"


def test_a_server_that_never_answers_times_out(server: Server, silent_port: int) -> None:
    problem = cause(server.connection(port=silent_port, options={"connect_timeout_s": 2}), SECRET)

    assert type(problem) is ConnectionTimedOut
    assert problem.retryable


def test_tls_that_the_server_does_not_offer_is_said(server: Server) -> None:
    options = {"sslmode": "require"} if server.engine is Engine.POSTGRESQL else {"tls": True}

    assert type(cause(server.connection(options=options), server.password)) is TlsFailed


def test_files_that_are_not_there_are_missing(tmp_path: Path) -> None:
    for connection in (
        sqlite_at(tmp_path / "x" / "no.db"),
        Connection(engine=Engine.CSV, database=str(tmp_path / "no")),
    ):
        with pytest.raises(DatabaseMissing), open_source(connection) as source:
            source.test()
        with pytest.raises(DatabaseMissing), open_target(connection) as target:
            target.test()


def test_a_file_that_is_no_database_is_not_readable(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"this is a letter, not a database" * 99)

    with pytest.raises(FileNotReadable), open_source(sqlite_at(tmp_path / "a.db")) as source:
        source.test()


def test_a_folder_that_may_not_be_written_is_no_target(tmp_path: Path) -> None:
    connection = csv_at(tmp_path / "files")
    if os.geteuid() == 0:
        Path(connection.database, "no-folder").touch()
        connection = Connection(engine=Engine.CSV, database=str(tmp_path / "files" / "no-folder"))
        error: type[JinqiaoError] = DatabaseMissing
    else:
        Path(connection.database).chmod(0o500)
        error = PermissionDenied

    with pytest.raises(error), open_target(connection) as target:
        target.test()


def test_a_connection_to_mariadb_that_breaks_while_rows_are_sent_is_lost(mariadb_server: Server) -> None:
    """The driver gives its socket up when it cannot send, and then goes on with it: to end what it was sending."""
    connection = Place(mariadb_server.connection(), mariadb_server.password).connect()
    connection._force_close()

    with pytest.raises(ConnectionLost), telling("people"):
        connection.write_packet(b"")
