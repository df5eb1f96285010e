"""Answers on the wire: the short way writes what uvicorn would, and leaves to it whatever is not of the usual kind."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from jinqiao.dataplane.gateway import cycles
from jinqiao.dataplane.gateway.cycles import WholeAnswerCycle
from jinqiao.dataplane.gateway.http import WHOLE_BODY
from jinqiao.dataplane.gateway.listening import HttpServer, listening_socket

Application = Callable[[Any, Any, Any], Awaitable[None]]


def answered(application: Application, *parts: bytes) -> bytes:
    """All that a server of ours writes to who sends these parts one after the other, and then no more."""

    async def live() -> bytes:
        bound = listening_socket("127.0.0.1", 0)
        server = HttpServer(application, bound)
        port = bound.getsockname()[1]
        serving = asyncio.ensure_future(server.serve_calls())

        def talk() -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                came = b""
                for part in parts[:-1]:
                    connection.sendall(part)
                    came += connection.recv(10_000)
                connection.sendall(parts[-1])
                while more := connection.recv(10_000):
                    came += more
                return came

        try:
            return await asyncio.to_thread(talk)
        finally:
            server.stop()
            await asyncio.wait_for(serving, 20)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(live())


def saying(*headers: tuple[bytes, bytes], body: bytes = b"good") -> Application:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return application


TWICE = (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
NAMES = st.sampled_from(sorted({*cycles._OF_CONTENT, b"content-length", b"X-Other", b"connection", b"bad name"}))
VALUES = st.sampled_from([b"4", b"close", b"text/plain; charset=utf-8", b"\xe9\ttab", b"a\r\nb: c", b"null\x00", b""])


class Written:
    """What a cycle writes, and nothing else of a transport."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.data += b" and closed"


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.booleans(), st.sampled_from(["GET", "HEAD"]), st.booleans())
def test_the_short_way_writes_the_bytes_that_the_long_way_writes(
    headers: list[tuple[bytes, bytes]], keep_alive: bool, method: str, in_parts: bool
) -> None:
    async def told_by(kind: type[RequestResponseCycle]) -> tuple[bytes, str]:
        transport, flow = Written(), type("Flow", (), {"write_paused": False})()
        cycle: Any = kind(
            {"method": method}, transport, flow, None, None, False, [(b"date", b"now")], asyncio.Event(), False,  # type: ignore[arg-type]
            keep_alive, lambda: None,
        )  # fmt: skip
        problem = ""
        try:
            await cycle.send({"type": "http.response.start", "status": 200, "headers": headers})
            if in_parts:
                await cycle.send({"type": "http.response.body", "body": b"go", "more_body": True})
            await cycle.send({"type": "http.response.body", "body": b"od" if in_parts else b"good"})
        except (RuntimeError, ValueError) as error:
            problem = f"{type(error).__name__} {error}"
        return transport.data, problem

    assert asyncio.run(told_by(WholeAnswerCycle)) == asyncio.run(told_by(RequestResponseCycle))


def test_an_answer_of_the_usual_kind_and_one_that_is_not_follow_each_other_on_one_connection() -> None:
    usual = (b"content-type", b"text/plain"), (b"content-length", b"4")
    came = answered(saying(*usual), *TWICE)
    assert came.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert came.count(b"\r\n\r\ngood") == 2
    assert came.count(b"connection: close\r\n") == 1


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\x00b"])
def test_no_header_of_an_answer_can_begin_another_one(value: bytes) -> None:
    came = answered(saying((b"content-language", value), (b"content-length", b"4")), TWICE[1])
    assert b"500 Internal Server Error" in came or came == b""
    assert value not in came


def test_what_breaks_between_head_and_body_is_a_plain_failure() -> None:
    async def breaking(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        raise KeyError

    assert answered(breaking, TWICE[1]).startswith(b"HTTP/1.1 500 ")


def test_a_body_that_comes_with_its_head_is_at_hand_and_any_other_is_waited_for() -> None:
    async def telling(scope: Any, receive: Any, send: Any) -> None:
        at_hand = (scope.get("extensions") or {}).get(WHOLE_BODY)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        said = b"%s|%s" % (b"waited" if at_hand is None else at_hand, body)
        await saying((b"content-length", b"%d" % len(said)), body=said)(scope, receive, send)

    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n"
    came = answered(telling, head + b"\r\nabc", head + b"\r\n", b"def" + head + b"connection: close\r\n\r\nghi")
    assert b"\r\n\r\nabc|abc" in came
    assert b"\r\n\r\nwaited|def" in came
    assert b"\r\n\r\nghi|ghi" in came
