"""The little of HTTP that the gateway needs from ASGI: headers once, a body within bounds, an answer."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from jinqiao.dataplane.gateway.errors import BodyTooLarge, CallerGone, HeaderRepeated
from jinqiao.dataplane.gateway.peers import CERTIFICATE, FORWARDED

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# in a scope's extensions, from `gateway.listening`: a body that came with its head, and what writes an answer in one piece
WHOLE_BODY, WHOLE_ANSWER = "jinqiao.whole_body", "jinqiao.whole_answer"
WholeAnswer = Callable[[int, bytes, bytes, Sequence[tuple[bytes, bytes]]], bool]  # status, type, body, further headers
LASTING = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))  # of every answer
BODY_BYTES = 64 * 1024
USUAL_PATH = 200  # bytes; what is longer is not kept
USUAL_NAME, NAMES_KEPT = 50, 500
JSON_TYPE = b"application/json; charset=utf-8"
# a second one of these could be read by us and by a proxy before us in different ways
ONCE = frozenset(
    {
        "host",
        "content-type",
        "content-length",
        "content-digest",
        "content-encoding",
        "signature",
        "signature-input",
    }
)

# what proxies say of the caller: one may append a line of its own below that of the caller, and the first is not to be believed then
JOINED = frozenset({FORWARDED, CERTIFICATE})


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name, without blanks around them; of those that may come often, the first, but all that proxies say of
    the caller, in order, with commas. Raises HeaderRepeated."""
    lines = scope["headers"]
    headers = {_NAMES[name]: value.decode("latin-1").strip(" \t") for name, value in lines}
    if len(headers) == len(lines):  # each came once, as nearly always
        return headers
    headers = {}
    for name, value in lines:
        key = _NAMES[name]
        if key not in headers:
            headers[key] = value.decode("latin-1").strip(" \t")
        elif key in ONCE:
            raise HeaderRepeated(header=key)
        elif key in JOINED:
            headers[key] += ", " + value.decode("latin-1").strip(" \t")
    return headers


class _Names(dict[bytes, str]):
    """Names of headers as text in lower case. Callers send the same ones again and again; what they make up is not kept for ever."""

    def __missing__(self, name: bytes) -> str:
        text = name.decode("latin-1").lower()
        if len(self) >= NAMES_KEPT:
            self.clear()
        if len(name) <= USUAL_NAME:
            self[name] = text
        return text


_NAMES = _Names()


def path_with_query(scope: Scope) -> str:
    """Path and query as they were sent, which is what a signature covers."""
    raw: bytes | None = scope.get("raw_path")
    query: bytes = scope.get("query_string") or b""
    if raw and not query and len(raw) <= USUAL_PATH:
        return _path_alone(raw)
    path = _path_sent(raw) if raw else quote(scope["path"], safe="/:@!$&'()*+,;=-._~")
    return f"{path}?{query.decode('latin-1')}" if query else path


def _path_sent(raw: bytes) -> str:
    return raw.decode("latin-1").partition("?")[0]


_path_alone = lru_cache(1_000)(_path_sent)
"""Callers have few different paths, and one of them many calls."""


def body_at_hand(scope: Scope, declared: str, limit: int = BODY_BYTES) -> bytes | None:
    """The whole body where it came with its head, as nearly always; else None: then `read_body` waits for it. Raises BodyTooLarge."""
    extensions = scope.get("extensions")
    body: bytes | None = extensions.get(WHOLE_BODY) if extensions else None
    if body is None:
        _check_declared(declared, limit)
    elif len(body) > limit:  # that is how long it is, whatever was declared
        raise BodyTooLarge(limit_bytes=limit)
    return body


def _check_declared(length: str, limit: int) -> None:
    if length and (not length.isascii() or not length.isdigit() or int(length[:12]) > limit):
        raise BodyTooLarge(limit_bytes=limit)


async def read_body(receive: Receive, declared: str, limit: int = BODY_BYTES) -> bytes:
    """The whole body; its deadline is the caller's to keep. Raises BodyTooLarge, CallerGone."""
    _check_declared(declared, limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    while message["type"] == "http.request" and message.get("more_body", False) and len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] != "http.request":
        raise CallerGone
    if len(body) > limit:
        raise BodyTooLarge(limit_bytes=limit)
    return body


async def answer(
    scope: Scope,
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = JSON_TYPE,
    extra: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """The answer: in one piece where the server can (`gateway.cycles`), else as ASGI has it."""
    extensions = scope.get("extensions")
    whole: WholeAnswer | None = extensions.get(WHOLE_ANSWER) if extensions else None
    if whole is not None and whole(status, content_type, body, extra):
        return
    headers = [(b"content-type", content_type), *LASTING, (b"content-length", b"%d" % len(body)), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
