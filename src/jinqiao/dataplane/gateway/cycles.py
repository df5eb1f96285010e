"""One request and its answer: uvicorn's cycle, with a short way for the answer that nearly every call gets.

An answer that is known whole, with headers that mean nothing to the connection, is put together in one piece and leaves in one
write. Every other answer goes uvicorn's way, with what uvicorn checks on it.
"""

from asyncio import Event, Task, Transport
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from logging import Logger
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from jinqiao.dataplane.gateway.http import LASTING
from jinqiao.dataplane.gateway.logs import exception_places
from jinqiao.dataplane.gateway.notices import Header

# what says nothing of how an answer is framed, or of what becomes of its connection
_OF_CONTENT = frozenset((b"content-language", b"jinqiao-answer-salt", b"jinqiao-policy-age"))
_IN_VALUES = bytes(octet for octet in range(256) if octet == 0x09 or (octet >= 0x20 and octet != 0x7F))


class WholeAnswerCycle(RequestResponseCycle):
    """As uvicorn's own, and `answer_whole`."""

    task: "Task[None] | None" = None
    tasks: "set[Task[None]]"

    # as uvicorn's own begins; what a call alters it sets for itself
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    access_log = False

    def __init__(  # without uvicorn's own, which sets all of these one by one
        self,
        scope: Any,
        transport: Transport,
        flow: FlowControl,
        logger: Logger,
        default_headers: list[Header],
        expects_continue: bool,
        keep_alive: bool,
        on_response: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.transport = transport
        self.flow = flow
        self.logger = logger
        self.default_headers = default_headers
        self.message_event = Event()
        self.on_response = on_response
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expects_continue
        self.body = bytearray()

    async def run_asgi(self, app: Callable[..., Awaitable[None]]) -> None:
        """As uvicorn's own; but `task`, in which it runs, leaves `tasks` at its end, without a step of the loop for that alone."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as problem:  # noqa: BLE001 -- whatever it was, the connection must not wait for an answer for ever
            self.logger.error("a request got no answer: %s", exception_places(problem))
        try:
            if self.response_complete or self.disconnected:
                return
            if self.response_started:
                self.transport.close()
            else:
                await self.send_500_response()
        finally:
            self.on_response = _nothing
            self.scope.pop("extensions", None)  # it holds this very cycle: only the search for garbage would find them
            if self.task is not None:
                self.tasks.discard(self.task)

    def answer_whole(self, status: int, content_type: bytes, body: bytes, extra: Sequence[Header]) -> bool:
        """Write the whole answer as `http.answer` would have it written, where it is of the usual kind; else nothing, and False."""
        if (
            not self.keep_alive
            or self.disconnected
            or self.flow.write_paused
            or self.response_started
            or self.scope["method"] == "HEAD"
        ):
            return False
        lines = b""
        for name, value in extra:
            if name not in _OF_CONTENT or not (value.isalnum() or not value.translate(None, _IN_VALUES)):
                return False
            lines += b"%s: %s\r\n" % (name, value)
        head = _head(status, content_type, tuple(self.default_headers))
        if not head:
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"%scontent-length: %d\r\n%s\r\n%s" % (head, len(body), lines, body))
        self.message_event.set()
        self.on_response()
        return True


@lru_cache(64)
def _head(status: int, content_type: bytes, default_headers: tuple[Header, ...]) -> bytes:
    """What the answers of a second have in common; nothing where a value could end its line."""
    headers = (*default_headers, (b"content-type", content_type), *LASTING)
    if any(value.translate(None, _IN_VALUES) for _, value in headers):
        return b""
    return STATUS_LINE[status] + b"".join(b"%s: %s\r\n" % header for header in headers)


def _nothing() -> None:
    """Of a response that is over nobody wants to hear."""
