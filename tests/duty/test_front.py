"""The public port passes on what is asked, byte by byte, and lives when the pages do not."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from jinqiao.front import Front, GatewayWorkers, Receive, Scope, Send


class _Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(207)
        self.send_header("X-Target", self.path)
        self.send_header("X-Host", self.headers["Host"])
        self.send_header("X-Cookie", self.headers.get("Cookie", "none"))
        self.send_header("X-From", self.headers["X-Forwarded-For"])
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        del arguments


@pytest.fixture
def pages() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class _Gateway:
    """A gateway that knows one word; which one it is told is not this module's question."""

    started = stopped = False

    async def start(self) -> None:
        self.started = True

    async def stop(self) -> None:
        self.stopped = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"gateway"})


def _ask(front: Front, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> httpx.Response:
    return _ask_often(front, 1, path, body, headers)[-1]


def _ask_often(
    front: Front, times: int, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> list[httpx.Response]:
    """Different callers, one after the other, through the same front."""

    async def asked() -> list[httpx.Response]:
        await front.start()
        responses = []
        for _ in range(times):
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(front), base_url="http://city.example"
            ) as client:
                responses.append(await client.post(path, content=body, headers=headers))
        await front.stop()
        return responses

    return asyncio.run(asked())


def test_a_page_is_passed_on_with_path_host_and_body_as_they_came(pages: str) -> None:
    response = _ask(Front(pages, None), "/api/x%2Fy/%E4%B8%AD?a=1&b=%20", "民政".encode() * 50_000)

    assert response.status_code == 207
    assert response.headers["X-Target"] == "/api/x%2Fy/%E4%B8%AD?a=1&b=%20"
    assert response.headers["X-Host"] == "city.example"
    assert response.content == "民政".encode() * 50_000
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_the_caller_cannot_hide_where_the_call_came_from(pages: str) -> None:
    response = _ask(Front(pages, None), "/", headers={"X-Forwarded-For": "10.9.8.7"})

    assert response.headers["X-From"] == "10.9.8.7, 127.0.0.1"


def test_the_gateway_answers_while_the_pages_are_away() -> None:
    gateway = _Gateway()
    front = Front("http://127.0.0.1:9", gateway)

    assert _ask(front, "/gateway/v1/services/x/query").content == b"gateway"
    away = _ask(front, "/desk/")
    assert away.status_code == 503
    assert "正在启动" in away.text
    assert gateway.started
    assert gateway.stopped


def test_one_callers_cookie_never_reaches_the_pages_with_anothers_request(pages: str) -> None:
    first, second = _ask_often(Front(pages, None), 2, "/login")

    assert first.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert second.headers["X-Cookie"] == "none"


class _Closing(BaseHTTPRequestHandler):
    """A worker that drains: the first call on its port is closed without a word, the others are answered."""

    protocol_version = "HTTP/1.1"
    closes = 0
    seen: list[dict[str, str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if type(self).closes > 0:
            type(self).closes -= 1
            self.close_connection = True
            return
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(429)
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        del arguments


@pytest.mark.parametrize(("closes", "status"), [(0, 429), (2, 429), (9, 503)])
def test_a_call_that_a_draining_worker_did_not_read_is_sent_again(closes: int, status: int) -> None:
    _Closing.closes = closes
    _Closing.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Closing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        workers = GatewayWorkers(f"http://127.0.0.1:{server.server_port}")
        headers = {"X-Client-Certificate-Sha256": "ab" * 32, "Signature": "sig1=:YQ==:"}
        answer = _ask(Front("http://127.0.0.1:9", workers), "/gateway/v1/services/a/query", b"the body", headers)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert answer.status_code == status
    if status == 429:
        assert (answer.content, answer.headers["retry-after"]) == (b"the body", "7")
        (seen,) = _Closing.seen
        assert seen["signature"] == "sig1=:YQ==:"
        assert (
            "x-client-certificate-sha256" not in seen
        )  # a claim of the caller's own would be believed behind the front
        assert seen["x-forwarded-for"]
