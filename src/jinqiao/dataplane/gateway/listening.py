"""HTTP/1.1 for calls: uvicorn over httptools, in the event loop that the calls are worked in.

No other thread takes part, so nobody waits for the interpreter's lock (docs/decisions/0011-one-thread-serves-calls.md). What
uvicorn leaves open is bounded here: how long and how large the head of a request may be, how many connections there may be, and
how long an answer may wait for a caller who does not read it.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jinqiao.dataplane.gateway.cycles import WholeAnswerCycle
from jinqiao.dataplane.gateway.http import USUAL_PATH, WHOLE_ANSWER, WHOLE_BODY

BACKLOG = 1024
CONNECTIONS = 10_000
HEAD_WITHIN_S = 10.0
HEAD_BYTES = 64 * 1024
HEADERS = 100
KEEP_ALIVE_S = 75
END_WITHIN_S = 5
READ_WITHIN_S = 30.0
LEAST_READ = 16 * 1024  # bytes of what waits that a caller reads within that time
LOOK_EVERY_S = 1.0
_ASGI: Any = {"version": "3.0", "spec_version": "2.3"}

Application = Callable[..., Awaitable[None]]


class HeadTooLarge(ValueError):
    """More than a head may have; the parser makes it a refusal of the request."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Refuses heads that are too large; `HttpServer` ends what rests too long, and heads that are too slow."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.head_since: float | None = self.loop.time()
        self.rests_since: float | None = None  # between an answer and the next request
        self._under_way: Any = None  # the cycle that is answered, or was last; `cycle` is the one that was read last
        self._waits_since: float | None = None  # for its caller to read
        self._unread = 0  # bytes, then
        self._head_bytes = 0
        self._head_came_now = False  # with the bytes that are being read
        self._another_ended = False  # in them
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.close()

    def on_response_complete(self) -> None:
        """As uvicorn's own, with no timer for each answer."""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, application = self.pipeline.pop()
            self._start_asgi_task(cycle, application)
        else:
            self.rests_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        rested_since, self.rests_since = self.rests_since, None
        self._head_came_now = self._another_ended = False
        super().data_received(data)
        cycle: Any = self.cycle  # none before the first head
        if self.head_since is None and cycle is not None and cycle.response_complete and not self.pipeline:
            # a body that comes after its answer makes no call: the connection rests as before
            self.rests_since = rested_since if rested_since is not None else self.loop.time()
        if self.head_since is not None:  # the head is not whole yet
            if not self._another_ended:  # else most of it may be of the request before
                self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def connection_lost(self, exc: Exception | None) -> None:
        under_way = self._under_way
        if under_way is not None and not under_way.response_complete:  # others may have been read behind it
            under_way.disconnected = True
            under_way.message_event.set()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._waits_since = None

    def look(self, now: float) -> None:
        """End it where a head takes too long, where it rests too long, or where its caller does not read what waits for him: a call
        whose answer cannot leave keeps its place at the door, and a connection that is closed is kept until everything has left."""
        if self.transport.is_closing() or self.flow.write_paused:
            unread = self.transport.get_write_buffer_size()
            if self._waits_since is None or self._unread - unread >= LEAST_READ:
                self._waits_since, self._unread = now, unread
            elif self._waits_since < now - READ_WITHIN_S:
                self.transport.abort()
                return
        head, rest = self.head_since, self.rests_since
        if (head is not None and head < now - HEAD_WITHIN_S) or (rest is not None and rest < now - KEEP_ALIVE_S):
            self.transport.close()

    def on_message_begin(self) -> None:
        """As uvicorn's own; there is no lifespan that could have left a state."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        scope: Any = {  # the rest when the head is whole
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "root_path": "",
            "headers": self.headers,
        }
        self.scope = scope
        if self.head_since is None:
            self.head_since = self.loop.time()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """As uvicorn's own, without what its settings could ask of it, and with cycles of ours."""
        self.head_since = None
        if len(self.headers) > HEADERS:
            raise HeadTooLarge
        parser, url = self.parser, self.url
        scope: Any = self.scope
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"], scope["raw_path"], scope["query_string"] = (
            _usual_address(url) if len(url) <= USUAL_PATH else _address(url)
        )
        before: Any = self.cycle  # none before the first head
        cycle = self.cycle = WholeAnswerCycle(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.server_state.default_headers,
            self.expect_100_continue,
            version != "1.0" and parser.should_keep_alive(),
            self.on_response_complete,
        )
        scope["extensions"] = {WHOLE_ANSWER: cycle.answer_whole}
        self._head_came_now = True
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:  # it waits for its turn
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start_asgi_task(self, cycle: Any, app: Application) -> None:
        self._under_way = cycle
        cycle.tasks = self.tasks
        cycle.task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(cycle.task)

    def on_message_complete(self) -> None:
        self._another_ended = True
        if self._head_came_now:  # nobody has asked for the body yet: the call need not wait for it
            scope: Any = self.scope
            scope["extensions"][WHOLE_BODY] = bytes(self.cycle.body)
        super().on_message_complete()


def _address(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, path as it was sent, query. Raises HttpParserInvalidURLError."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


_usual_address = lru_cache(1_000)(_address)
"""Callers have few different addresses, and one of them many calls."""


class HttpServer(uvicorn.Server):
    """Serves an ASGI application (without lifespan) on one socket until `stop`. Signals are the caller's."""

    def __init__(self, application: Application, listening: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                interface="asgi3",
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # whom to believe is decided in `peers`
                backlog=BACKLOG,
                timeout_graceful_shutdown=END_WITHIN_S,
            )
        )
        self._listening = listening

    async def serve_calls(self) -> None:
        """Until `stop`; then connections get a moment to end."""
        looking = asyncio.ensure_future(self._look_after_connections())
        try:
            await self.serve([self._listening])
        finally:
            looking.cancel()

    def stop(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def _look_after_connections(self) -> None:
        """End connections that nobody uses as he should. One look at all of them costs less than a timer for each call."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = loop.time()
            for connection in cast("list[BoundedProtocol]", list(self.server_state.connections)):
                connection.look(now)


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError where that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
