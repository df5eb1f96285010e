"""The HTTP server in front of calls: what it bounds, and that every answer leaves whole."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from jinqiao.dataplane.gateway import listening
from jinqiao.dataplane.gateway.listening import HttpServer, listening_socket

Talk = Callable[[socket.socket], None]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the length of the body; `/parts` in parts, `/nothing` with a head alone."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if scope["path"] == "/nothing":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    said = str(len(body)).encode()
    length = [] if scope["path"] == "/parts" else [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    if scope["path"] == "/parts":
        await send({"type": "http.response.body", "body": b"HTTP/1.1 200 no head", "more_body": True})
    await send({"type": "http.response.body", "body": said})


class Large:
    """Answers with more than the buffers of a connection hold, without reading the body; counts what is under way."""

    body = b"x" * (16 * 1024 * 1024)

    def __init__(self) -> None:
        self.begun = self.ended = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-length", b"%d" % len(self.body))],
                }
            )
            await send({"type": "http.response.body", "body": self.body})
        finally:
            self.ended += 1


def served(talk: Talk, application: Any = echo, servers: list[HttpServer] | None = None) -> None:
    """`talk` with a server that runs in the loop of this test, as a gateway's does."""

    async def live() -> None:
        bound = listening_socket("127.0.0.1", 0)
        port = bound.getsockname()[1]
        server = HttpServer(application, bound)
        if servers is not None:
            servers.append(server)
        serving = asyncio.ensure_future(server.serve_calls())

        def conversation() -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                talk(connection)

        try:
            await asyncio.to_thread(conversation)
        finally:
            server.stop()
            await asyncio.wait_for(serving, 20)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live())


def to_the_end(connection: socket.socket) -> bytes:
    came = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            came += part
    return came


def test_one_connection_carries_call_after_call_and_each_answer_is_whole() -> None:
    def talk(connection: socket.socket) -> None:
        post = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
        connection.sendall(post * 3)
        connection.sendall(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.sendall(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.sendall(b"GET /parts HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        came = to_the_end(connection)
        assert came.count(b"\r\n\r\n3") == 3
        assert came.count(b"HTTP/1.1 200 OK") == 5
        assert came.count(b"HTTP/1.1 204 No Content") == 1
        assert b"14\r\nHTTP/1.1 200 no head\r\n1\r\n0\r\n0\r\n\r\n" in came

    served(talk)


def test_what_ended_before_a_head_in_the_same_piece_is_no_part_of_that_head() -> None:
    """A long body whose last piece brings the beginning of the next head."""

    def talk(connection: socket.socket) -> None:
        length = listening.HEAD_BYTES * 3
        post = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length + b"x" * length
        with connection.makefile("rb") as answers:

            def answered(body: bytes) -> None:
                assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                while answers.readline().strip():
                    pass
                assert answers.read(len(body)) == body

            for _ in range(60):
                connection.sendall(post + b"GET / HTTP/1.1\r\nho")
                answered(str(length).encode())
                connection.sendall(b"st: x\r\n\r\n")
                answered(b"0")

    served(talk)


def test_who_asks_whether_to_send_is_told_at_once() -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        assert connection.recv(1_000).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(b"abc")
        assert connection.recv(1_000).endswith(b"\r\n\r\n3")

    served(talk)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\nx-note: " + b"x" * (listening.HEAD_BYTES * 8),
        b"GET /" + b"x" * (listening.HEAD_BYTES * 8),
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x-note: 1\r\n" * listening.HEADERS + b"\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
    ids=["a header without end", "a path without end", "too many headers", "no such version"],
)
def test_a_head_that_is_too_large_or_none_is_refused_and_the_connection_ends(head: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head)
        came = to_the_end(connection)
        assert not came or came.startswith(b"HTTP/1.1 400 ")

    served(talk)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost:"])
def test_a_head_that_does_not_come_to_its_end_ends_the_connection(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEAD_WITHIN_S", 0.3)
    monkeypatch.setattr(listening, "LOOK_EVERY_S", 0.05)

    def talk(connection: socket.socket) -> None:
        connection.sendall(sent)
        began = time.monotonic()
        came = to_the_end(connection)  # raises where nobody ends it
        assert time.monotonic() - began >= 0.2
        assert came.count(b"HTTP/1.1 200 OK") == sent.count(b"\r\n\r\n")

    served(talk)


def test_a_connection_that_rests_between_calls_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEAD_WITHIN_S", 0.2)
    monkeypatch.setattr(listening, "LOOK_EVERY_S", 0.05)

    def talk(connection: socket.socket) -> None:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert connection.recv(1_000).endswith(b"\r\n\r\n0")
            time.sleep(0.6)

    served(talk)


def test_a_connection_that_rests_for_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "KEEP_ALIVE_S", 0.3)
    monkeypatch.setattr(listening, "LOOK_EVERY_S", 0.05)

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(1_000).endswith(b"\r\n\r\n0")
        assert to_the_end(connection) == b""

    served(talk)


def test_more_connections_than_there_may_be_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CONNECTIONS", 1)

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(1_000).endswith(b"\r\n\r\n0")
        with socket.create_connection(connection.getpeername(), timeout=20) as second:
            assert to_the_end(second) == b""
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(1_000).endswith(b"\r\n\r\n0")

    served(talk)


@pytest.mark.parametrize("ends", [False, True], ids=["a call waits behind it", "the connection is closed"])
def test_a_caller_who_does_not_read_keeps_no_call_and_no_connection(
    ends: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "READ_WITHIN_S", 0.3)
    monkeypatch.setattr(listening, "LOOK_EVERY_S", 0.05)
    large, servers = Large(), list[HttpServer]()
    asked = (
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" if ends else b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 3
    )

    def talk(connection: socket.socket) -> None:
        connection.sendall(asked)
        until = time.monotonic() + 20
        while large.begun < (1 if ends else 2) or large.ended < large.begun or servers[0].server_state.connections:
            assert time.monotonic() < until, (large.begun, large.ended)
            time.sleep(0.02)
        assert len(to_the_end(connection)) < len(large.body)

    served(talk, large, servers)
    assert not caplog.messages  # a caller who went is no fault


def test_a_body_that_comes_after_its_answer_does_not_keep_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "KEEP_ALIVE_S", 0.3)
    monkeypatch.setattr(listening, "LOOK_EVERY_S", 0.05)

    async def at_once(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n")
        assert connection.recv(1_000).startswith(b"HTTP/1.1 404 ")
        connection.sendall(b"abcd")
        assert to_the_end(connection) == b""  # raises where nobody ends it

    served(talk, at_once)
