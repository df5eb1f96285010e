"""Answers on the wire: the short way writes what uvicorn would, and leaves to it whatever is not of the usual kind."""

import asyncio
import logging
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
from jinqiao.dataplane.gateway.http import WHOLE_ANSWER, WHOLE_BODY, answer
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


def saying(*extra: tuple[bytes, bytes], body: bytes = b"good", content_type: bytes = b"text/plain") -> Application:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await answer(scope, send, 200, body, content_type, extra)

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


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    VALUES,
    st.sampled_from([200, 404, 503]),
    st.booleans(),
    st.sampled_from(["GET", "HEAD"]),
)
def test_the_short_way_writes_the_bytes_that_the_long_way_writes(
    extra: list[tuple[bytes, bytes]], content_type: bytes, status: int, keep_alive: bool, method: str
) -> None:
    async def told(*, in_short: bool) -> tuple[bytes, str]:
        transport, flow = Written(), type("Flow", (), {"write_paused": False})()
        cycle: Any = WholeAnswerCycle(
            {"method": method}, transport, flow, None, [(b"date", b"now")], False, keep_alive, lambda: None,  # type: ignore[arg-type]
        )  # fmt: skip
        scope = {"extensions": {WHOLE_ANSWER: cycle.answer_whole}} if in_short else {}
        problem = ""
        try:
            await answer(scope, cycle.send, status, b"good", content_type, extra)
        except (RuntimeError, ValueError) as error:
            problem = f"{type(error).__name__} {error}"
        return transport.data, problem

    assert asyncio.run(told(in_short=True)) == asyncio.run(told(in_short=False))


def test_a_cycle_begins_as_uvicorns_own_does() -> None:
    scope: Any = {"method": "GET"}
    whatever: Any = object()
    logger, headers, heard = logging.getLogger("any"), [(b"date", b"now")], list[int]().clear

    async def begun() -> tuple[dict[str, Any], WholeAnswerCycle]:
        theirs = RequestResponseCycle(
            scope, whatever, whatever, logger, logger, False, headers, asyncio.Event(), True, True, heard
        )
        return vars(theirs), WholeAnswerCycle(scope, whatever, whatever, logger, headers, True, True, heard)

    theirs, ours = asyncio.run(begun())
    del theirs["access_logger"]  # asked where `access_log` is True alone
    assert isinstance(theirs.pop("message_event"), asyncio.Event)
    assert not ours.message_event.is_set()
    assert {name: getattr(ours, name) for name in theirs} == theirs


def test_an_answer_of_the_usual_kind_and_one_that_is_not_follow_each_other_on_one_connection() -> None:
    came = answered(saying(), *TWICE)
    assert came.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert came.count(b"\r\n\r\ngood") == 2
    assert came.count(b"connection: close\r\n") == 1


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\x00b"])
@pytest.mark.parametrize("request_", TWICE)
def test_no_header_of_an_answer_can_begin_another_one(value: bytes, request_: bytes) -> None:
    for application in (saying((b"content-language", value)), saying(content_type=value)):
        came = answered(application, request_, TWICE[1])
        assert b"500 Internal Server Error" in came or came == b""
        assert value not in came


def test_no_task_is_remembered_once_its_answer_is_there() -> None:
    left: list[int] = []

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        left.append(len(send.__self__.tasks))
        await saying()(scope, receive, send)

    answered(counting, TWICE[0], TWICE[0], TWICE[1])
    assert left == [1, 1, 1]


def test_what_breaks_before_it_answers_is_a_plain_failure_and_tells_no_value(caplog: pytest.LogCaptureFixture) -> None:
    async def breaking(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("Ann's number")

    assert answered(breaking, TWICE[1]).startswith(b"HTTP/1.1 500 ")
    assert "KeyError in breaking" in caplog.text
    assert "Ann" not in caplog.text


def test_a_connection_whose_answer_broke_off_is_closed() -> None:
    async def breaking(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        raise KeyError

    assert answered(breaking, TWICE[0]).startswith(b"HTTP/1.1 200 OK")


def test_nobody_waits_for_who_says_nothing() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return

    assert answered(silent, TWICE[1]).startswith(b"HTTP/1.1 500 ")


def test_a_body_that_comes_with_its_head_is_at_hand_and_any_other_is_waited_for() -> None:
    async def telling(scope: Any, receive: Any, send: Any) -> None:
        at_hand = (scope.get("extensions") or {}).get(WHOLE_BODY)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        said = b"%s|%s" % (b"waited" if at_hand is None else at_hand, body)
        await saying(body=said)(scope, receive, send)

    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n"
    came = answered(telling, head + b"\r\nabc", head + b"\r\n", b"def" + head + b"connection: close\r\n\r\nghi")
    assert b"\r\n\r\nabc|abc" in came
    assert b"\r\n\r\nwaited|def" in came
    assert b"\r\n\r\nghi|ghi" in came
