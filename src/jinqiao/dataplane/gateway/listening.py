"""HTTP/1.1 for calls: uvicorn over httptools, in the event loop that the calls are worked in.

No other thread takes part, so nobody waits for the interpreter's lock (docs/decisions/0011-one-thread-serves-calls.md). What
uvicorn leaves open is bounded here: how long and how large the head of a request may be, how many connections there may be.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BACKLOG = 1024
CONNECTIONS = 10_000
HEAD_WITHIN_S = 10.0
HEAD_BYTES = 64 * 1024
HEADERS = 100
KEEP_ALIVE_S = 75
END_WITHIN_S = 5
LOOK_EVERY_S = 1.0

Application = Callable[..., Awaitable[None]]


class HeadTooLarge(ValueError):
    """More than a head may have; the parser makes it a refusal of the request."""


_HEAD, _PROVISIONAL = b"HTTP/1.1 ", b"HTTP/1.1 1"


class OneWrite:
    """A transport by which the head of an answer leaves together with what follows it, or with its end: a write saved is a
    twentieth of a call."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and not data.startswith(_PROVISIONAL):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Refuses heads that are too large; `HttpServer` ends what rests too long, and heads that are too slow."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.head_since: float | None = self.loop.time()
        self.rests_since: float | None = None  # between an answer and the next request
        self._head_bytes = 0
        super().connection_made(cast("asyncio.Transport", OneWrite(transport)))
        if len(self.connections) > CONNECTIONS:
            transport.close()

    def on_response_complete(self) -> None:
        """As uvicorn's own, with no timer for each answer."""
        cast("OneWrite", self.transport).flush()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, application = self.pipeline.pop()
            self._start_asgi_task(cycle, application)
        else:
            self.rests_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        self.rests_since = None
        super().data_received(data)
        if self.head_since is not None:  # the head is not whole yet
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.head_since is None:
            self.head_since = self.loop.time()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self.head_since = None
        if len(self.headers) > HEADERS:
            raise HeadTooLarge
        super().on_headers_complete()


class HttpServer(uvicorn.Server):
    """Serves an ASGI application (without lifespan) on one socket until `stop`. Signals are the caller's."""

    def __init__(self, application: Application, listening: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                application,
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
        """End connections whose heads take too long, or that rest. One look at all of them costs less than a timer for each call."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = loop.time()
            for connection in cast("list[BoundedProtocol]", list(self.server_state.connections)):
                head, rest = connection.head_since, connection.rests_since
                if (head is not None and head < now - HEAD_WITHIN_S) or (
                    rest is not None and rest < now - KEEP_ALIVE_S
                ):
                    connection.transport.close()


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError where that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
