"""The public port: calls of the query gateway are answered here, everything else goes on to the pages.

Both stand in one process so that the city has one address, yet the pages are another process: their death, or an upgrade of
them, never takes the gateway along.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Protocol

import httpx

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Application(Protocol):
    """An ASGI application that is started and stopped by who embeds it."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]: ...


GATEWAY_BODY_BYTES = 32 * 1024 * 1024
GATEWAY_ATTEMPTS = 3
GATEWAY_PAUSE_S = 0.05
_CERTIFICATE = b"x-client-certificate-sha256"

TIMEOUT_S = {"connect": 5.0, "read": 120.0, "write": 120.0, "pool": 30.0}
GATEWAY_PREFIX = "/gateway/"
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_AWAY = (
    '<!doctype html><html lang="zh-CN"><meta charset="utf-8"><meta http-equiv="refresh" content="2">'
    "<title>正在启动</title><p>平台页面正在启动，请稍候，本页会自动刷新。</p>"
    '<p lang="en">The pages are starting; this page reloads by itself.</p></html>'
).encode()


class Front:
    """ASGI without lifespan: `/gateway/…` to the gateway's application (if this home has a gateway), the rest to `web_url`."""

    def __init__(self, web_url: str, gateway: Application | None) -> None:
        self.web_url = web_url
        self.gateway = gateway
        # the bare transport, never a client: a client keeps cookies, and would hand one caller's session to the next
        self.pages: httpx.AsyncHTTPTransport | None = None

    async def start(self) -> None:
        self.pages = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=64), trust_env=False)
        if self.gateway is not None:
            await self.gateway.start()

    async def stop(self) -> None:
        if self.gateway is not None:
            await self.gateway.stop()
        if self.pages is not None:
            await self.pages.aclose()

    async def drain(self) -> None:
        """Let the gateway in this process end its calls, in bounded time; where workers are the gateway they do it themselves."""
        drain = getattr(self.gateway, "drain", None)
        if drain is not None:
            await drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.gateway is not None and scope["path"].startswith(GATEWAY_PREFIX):
            await self.gateway(scope, receive, send)
        else:
            await self._proxy(scope, receive, send)

    async def _proxy(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.pages is not None, "the server starts the front before it hands in requests"  # noqa: S101
        request = httpx.Request(
            scope["method"],
            # the target as the caller wrote it: signatures cover it byte by byte
            httpx.URL(self.web_url).copy_with(raw_path=_raw_target(scope)),
            headers=_forwarded_headers(scope),
            content=_body(receive) if _has_body(scope) else None,
            extensions={"timeout": TIMEOUT_S},
        )
        try:
            response = await self.pages.handle_async_request(request)
        except httpx.TransportError:
            await send(
                {
                    "type": "http.response.start",
                    "status": 503,
                    "headers": [(b"content-type", b"text/html; charset=utf-8"), (b"retry-after", b"2")],
                }
            )
            await send({"type": "http.response.body", "body": _AWAY})
            return
        try:
            headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _HOP_BY_HOP]
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            async for part in response.stream:  # type: ignore[union-attr]  # of an asynchronous transport
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()


def _raw_target(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    path = path.split(b"?", 1)[0]
    return path + b"?" + query if query else path


def _has_body(scope: Scope) -> bool:
    names = {name for name, _ in scope["headers"]}
    return b"content-length" in names or b"transfer-encoding" in names


def _forwarded_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The caller's headers, with our own word on where the call came from behind whatever a proxy before us said."""
    headers = [
        (name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP and name != b"x-forwarded-for"
    ]
    before = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    client = (scope.get("client") or ("127.0.0.1", 0))[0].encode()
    headers.append((b"x-forwarded-for", b", ".join([*before, client])))
    return headers


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


class GatewayWorkers:
    """A gateway whose workers listen elsewhere on this machine: calls go there and their answers come back.

    A worker that drains closes connections that are idle; a call that was just on its way there was not read, and is sent again. If it
    was read after all, the gateway knows its nonce and refuses the second one: nothing is answered twice.

    The workers believe the front; so what a caller says of a client certificate goes on only where `is_proxy` holds of the address that
    said it.
    """

    def __init__(self, url: str, is_proxy: Callable[[str], bool] = lambda address: False) -> None:
        self._url = url
        self._is_proxy = is_proxy
        self._workers: httpx.AsyncHTTPTransport | None = None

    async def start(self) -> None:
        self._workers = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1024), trust_env=False)

    async def stop(self) -> None:
        if self._workers is not None:
            await self._workers.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        if _has_body(scope):
            async for part in _body(receive):
                body += part
                if len(body) > GATEWAY_BODY_BYTES:
                    await _say(send, 413, b"")
                    return
        response = await self._ask(scope, bytes(body))
        if response is None:
            await _say(send, 503, b"", [(b"retry-after", b"2")])
            return
        try:
            content = b"".join([part async for part in response.stream])  # type: ignore[union-attr]  # asynchronous
        finally:
            await response.aclose()
        headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _HOP_BY_HOP]
        await _say(send, response.status_code, content, headers)

    async def _ask(self, scope: Scope, body: bytes) -> httpx.Response | None:
        assert self._workers is not None, "the server starts the front before it hands in requests"  # noqa: S101
        headers = _forwarded_headers(scope)
        if any(name.lower() == _CERTIFICATE for name, _ in headers) and not self._is_proxy(
            (scope.get("client") or ("",))[0]
        ):
            headers = [(name, value) for name, value in headers if name.lower() != _CERTIFICATE]
        for attempt in range(GATEWAY_ATTEMPTS):
            request = httpx.Request(
                scope["method"],
                httpx.URL(self._url).copy_with(raw_path=_raw_target(scope)),
                headers=headers,
                content=body if _has_body(scope) else None,
                extensions={"timeout": TIMEOUT_S},
            )
            try:
                return await self._workers.handle_async_request(request)
            except (httpx.RemoteProtocolError, httpx.NetworkError):
                await asyncio.sleep(GATEWAY_PAUSE_S * (attempt + 1))
            except httpx.TransportError:
                return None
        return None


async def _say(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers or []})
    await send({"type": "http.response.body", "body": body})


def create(home: Path, web_url: str, gateway_url: str = "") -> Front:
    """`gateway_url`: where the gateway's workers listen; without it the gateway of the home, if there is one, is in this process."""
    gateway: Application | None = None
    if gateway_url:
        from jinqiao.dataplane.gateway.home import NamedProxies

        gateway = GatewayWorkers(gateway_url, NamedProxies(home / "gateway"))
    elif (home / "gateway" / "gateway.toml").exists():
        from jinqiao.dataplane.gateway.app import create_app

        gateway = create_app(home / "gateway")
    return Front(web_url, gateway)
