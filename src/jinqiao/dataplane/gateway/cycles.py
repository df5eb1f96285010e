"""One request and its answer: uvicorn's cycle, with a short way for the answer that nearly every call gets.

An answer that is known whole, with headers that mean nothing to the connection, is put together in one piece and leaves in one
write. Every other answer goes uvicorn's way, with what uvicorn checks on it.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

START, BODY = "http.response.start", "http.response.body"
# what says nothing of how an answer is framed, or of what becomes of its connection
_OF_CONTENT = frozenset(
    (
        b"date",
        b"content-type",
        b"content-language",
        b"cache-control",
        b"x-content-type-options",
        b"jinqiao-answer-salt",
        b"jinqiao-policy-age",
    )
)
_IN_VALUES = bytes(octet for octet in range(256) if octet == 0x09 or (octet >= 0x20 and octet != 0x7F))


class WholeAnswerCycle(RequestResponseCycle):
    """The head of an answer waits for what follows it."""

    _start: Any = None

    async def send(self, message: Any) -> None:
        if message["type"] == START and not self.response_started:
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None:
            if message["type"] == BODY and self._leaves_whole(start, message):
                return
            await super().send(start)
        await super().send(message)

    def _leaves_whole(self, start: Any, message: Any) -> bool:
        """Write the whole answer, where it is of the usual kind."""
        if message.get("more_body") or not self.keep_alive or self.disconnected or self.flow.write_paused:
            return False
        body, has_length = message.get("body", b""), False
        lines = [STATUS_LINE[start["status"]]]
        for name, value in (*self.default_headers, *start["headers"]):
            if name not in _OF_CONTENT:
                if name != b"content-length" or value != b"%d" % len(body):
                    return False
                has_length = True
            lines.append(b"%s: %s\r\n" % (name, value))
        head = b"".join(lines)
        if not has_length or self.scope["method"] == "HEAD" or head.translate(None, _IN_VALUES) != b"\r\n" * len(lines):
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"%s\r\n%s" % (head, body))
        self.message_event.set()
        self.on_response()
        return True
