"""Rows go to a MariaDB out of memory, and no file of ours goes to a server that asks for one."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pymysql
import pytest

from jinqiao.dataplane.connectors.mysql import Place
from jinqiao.dataplane.connectors.mysql_loading import LoadingConnection
from tests.servers import Server

pytestmark = pytest.mark.servers
LOAD = "LOAD DATA LOCAL INFILE 'rows' INTO TABLE loaded CHARACTER SET utf8mb4"


class Relay(threading.Thread):
    """Stands before a server and asks the client for `wanted`: in place of the rows, or, `always`, in answer to anything."""

    def __init__(self, server: Server, wanted: str, *, always: bool = False) -> None:
        super().__init__(daemon=True)
        self._server, self._wanted, self._always = server, b"\xfb" + wanted.encode(), always
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.came = b""  # from the client
        self.armed = False

    def run(self) -> None:
        with self._listening:
            near, _ = self._listening.accept()
        far = socket.create_connection((self._server.host, self._server.port))
        forwarding = threading.Thread(target=self._forward, args=(near, far), daemon=True)
        forwarding.start()
        with near, far, far.makefile("rb") as answers, suppress(OSError):
            while head := answers.read(4):
                body = answers.read(int.from_bytes(head[:3], "little"))
                if self.armed and (self._always or body[:1] == b"\xfb"):
                    body = self._wanted
                near.sendall(len(body).to_bytes(3, "little") + head[3:] + body)
        forwarding.join()

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(65_536):
                self.came += data
                far.sendall(data)
            far.shutdown(socket.SHUT_RDWR)


@contextmanager
def connected(server: Server, port: int = 0) -> Iterator[LoadingConnection]:
    connection = server.connection(port=port) if port else server.connection()
    opened = Place(connection, server.password).connect(LoadingConnection)
    try:
        with opened.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE loaded (id INT PRIMARY KEY, name VARCHAR(20))")
        yield opened
    finally:
        if opened.open:
            opened.close()


def test_rows_arrive_however_they_are_cut_into_pieces(mariadb_server: Server) -> None:
    text = "".join(f"{at}\t安小雅 {at}\n" for at in range(30_000)).encode()
    pieces = [text[:1], text[1:10], b"", text[10:500_000], text[500_000:]]
    with connected(mariadb_server) as connection, connection.cursor() as cursor:
        assert connection.load(LOAD, pieces) == (30_000, 0)
        cursor.execute("SELECT count(*), sum(id), max(name) FROM loaded")
        assert cursor.fetchone() == ("30000", "449985000", "安小雅 9999")


def test_a_column_may_have_a_percent_sign_in_its_name(mariadb_server: Server) -> None:
    with connected(mariadb_server) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE loaded CHANGE name `占比%` VARCHAR(20)")
        assert connection.load(LOAD + " (id, `占比%%`)", [b"1\tone\n"]) == (1, 0)
        cursor.execute("SELECT * FROM loaded")
        assert cursor.fetchall() == (("1", "one"),)


def test_rows_that_fail_half_way_leave_nothing_at_the_server(mariadb_server: Server) -> None:
    def failing() -> Iterator[bytes]:
        yield b"1\tone\n" * 100_000
        raise ArithmeticError("row 100001")

    with connected(mariadb_server) as connection:
        with pytest.raises(ArithmeticError):
            connection.load(LOAD, failing())
        assert not connection.open


@pytest.mark.parametrize("always", [False, True], ids=["for the rows", "for nothing"])
def test_a_server_that_asks_for_a_file_gets_none(mariadb_server: Server, tmp_path: Path, always: bool) -> None:
    secret = tmp_path / "master.key"
    secret.write_text("the-key-of-the-node\n")
    relay = Relay(mariadb_server, str(secret), always=always)
    relay.start()
    with connected(mariadb_server, relay.port) as connection:
        relay.armed = True
        if always:
            with pytest.raises(pymysql.OperationalError, match="asked for a file"), connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            assert not connection.open
        else:
            assert connection.load(LOAD, [b"1\tone\n"]) == (1, 0)
    relay.join(10)
    assert b"1\tone\n" in relay.came or always
    assert b"the-key-of-the-node" not in relay.came


def test_rows_are_offered_for_one_statement_only(mariadb_server: Server) -> None:
    with connected(mariadb_server) as connection, connection.cursor() as cursor:
        connection.load(LOAD, [b"1\tone\n"])
        with pytest.raises(pymysql.OperationalError, match="asked for a file"):
            cursor.execute(LOAD)
