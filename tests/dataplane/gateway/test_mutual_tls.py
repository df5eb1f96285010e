"""Mutual TLS from the application to the gateway, ended by a real proxy: who must show a certificate is answered with it, and only so."""

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from jinqiao.dataplane import call
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway import http
from jinqiao.dataplane.gateway.http import headers_of
from jinqiao.dataplane.gateway.listening import HttpServer, listening_socket
from jinqiao.front import Front, GatewayWorkers
from jinqiao.kernel.ports import free_port
from tests import proxies
from tests.certificates import Authority
from tests.dataplane.gateway.test_process import process
from tests.dataplane.gateway.world import (
    ANN,
    HOST,
    PURPOSE,
    SECRET,
    SERVICE,
    Caller,
    World,
    configure,
    make_world,
    records,
)

Proxy = Callable[[Path, tuple[Path, Path], Path, int], AbstractContextManager[int]]
NEEDS = pytest.mark.skipif(proxies.HAPROXY is None, reason="no haproxy on this machine")
REFUSED = "gateway.caller.certificate"


class OverTls(httpx.AsyncBaseTransport):
    """What was signed for the gateway's name goes to a proxy here, with a client certificate or without."""

    def __init__(self, port: int, authority: Path, certificate: tuple[Path, Path] | None = None) -> None:
        trust = ssl.create_default_context(cafile=str(authority))
        if certificate is not None:
            trust.load_cert_chain(*certificate)
        self.port, self.inner = port, httpx.AsyncHTTPTransport(verify=trust)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="https", host="127.0.0.1", port=self.port)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


def mark_of(certificate: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()


def asked(transport: httpx.AsyncBaseTransport, headers: dict[str, str] | None = None, times: int = 1) -> str:
    """`ok`, or the code of the refusal; the last of so many calls."""

    async def all_of_it() -> str:
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            for _ in range(times):
                answer = await Caller(client).ask(headers=headers)
        return "ok" if answer.status_code == 200 else str(answer.json()["code"])

    return asyncio.run(all_of_it())


def called(port: int, authority: Path, folder: Path, certificate: tuple[Path, Path]) -> int:
    """`jinqiao call`, as an application's developer types it; its exit code."""
    secret = folder / "secret"
    secret.write_text(SECRET)
    trust = [
        "--ca-file",
        str(authority),
        "--certificate",
        str(certificate[0]),
        "--certificate-key",
        str(certificate[1]),
    ]
    asks = ["--by", f"sfzh={ANN}", "--items", "xm", "--purpose", PURPOSE, "--case-number", "GZF-2026-17"]
    key = ["--key-id", "key-housing", "--secret-file", str(secret)]
    return call.main([f"https://127.0.0.1:{port}", SERVICE, *key, *asks, *trust])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.mark.parametrize("proxy", [pytest.param(proxies.haproxy, marks=NEEDS), proxies.relay])
def test_a_certificate_that_the_proxy_checked_opens_the_gateway_and_nothing_else_does(
    world: World, tmp_path: Path, proxy: Proxy
) -> None:
    own, foreign = Authority.make(tmp_path), Authority.make(tmp_path, "foreign authority")
    server = own.issue(tmp_path, "127.0.0.1")
    housing, other = (own.issue(tmp_path, name, is_client=True) for name in ("housing", "other"))
    stranger = foreign.issue(tmp_path, "stranger", is_client=True)
    claim = {proxies.CERTIFICATE: mark_of(housing[0]), "X-Forwarded-For": "192.0.2.99"}
    world.application_changes["app-housing"] = {"certificates": (mark_of(housing[0]),), "addresses": ("127.0.0.0/8",)}
    world.publish()
    configure(world, 'proxies = ["127.0.0.1"]')
    port = free_port()

    with process(world, port), proxy(tmp_path, server, own.file, port) as tls:

        def over(certificate: tuple[Path, Path] | None) -> OverTls:
            return OverTls(tls, own.file, certificate)

        assert asked(over(housing), times=3) == "ok"
        assert asked(over(housing), claim) == "ok"
        assert asked(over(None)) == REFUSED
        assert asked(over(None), claim) == REFUSED
        assert asked(over(other)) == REFUSED
        assert asked(over(other), claim) == REFUSED
        assert called(tls, own.file, tmp_path, housing) == 0
        assert called(tls, own.file, tmp_path, other) == 3
        with pytest.raises(SystemExit, match="2"):
            called(tls, own.file, tmp_path, (housing[0], other[1]))
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            asked(over(stranger), claim)

    assert {record["address"] for record in records(world)} == {"127.0.0.1"}


@pytest.mark.parametrize(("named", "said"), [("", REFUSED), ('proxies = ["127.0.0.1"]', "ok")])
def test_the_front_before_workers_passes_on_what_a_named_proxy_says_and_nobody_else(
    world: World, tmp_path: Path, named: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Authority.make(tmp_path)
    server, housing = own.issue(tmp_path, "127.0.0.1"), own.issue(tmp_path, "housing", is_client=True)
    world.application_changes["app-housing"] = {"certificates": (mark_of(housing[0]),)}
    world.publish()
    configure(world, named)
    port = free_port()
    monkeypatch.setenv(homes.PROXIES, "127.0.0.1")
    with process(world, port):
        monkeypatch.delenv(homes.PROXIES)
        front = Front("http://127.0.0.1:9", GatewayWorkers(f"http://127.0.0.1:{port}", homes.NamedProxies(world.home)))

        async def through() -> str:
            await front.start()
            listening = listening_socket("127.0.0.1", 0)
            serving = HttpServer(front, listening)
            task = asyncio.create_task(serving.serve_calls())
            with proxies.relay(tmp_path, server, own.file, listening.getsockname()[1]) as tls:
                try:
                    return await asyncio.to_thread(asked, OverTls(tls, own.file, housing))
                finally:
                    serving.stop()
                    await task
                    await front.stop()

        assert asyncio.run(through()) == said


def test_who_is_a_proxy_is_read_anew_when_the_file_changes_and_nobody_is_where_it_cannot_be_read(world: World) -> None:
    is_proxy = homes.NamedProxies(world.home)
    assert not is_proxy("127.0.0.1")
    configure(world, 'proxies = ["127.0.0.0/8"]')
    assert is_proxy("127.0.0.1")
    assert not is_proxy("192.0.2.1")
    configure(world, "this is no TOML")
    assert not is_proxy("127.0.0.1")
    (world.home / homes.CONFIGURATION).unlink()
    assert not is_proxy("127.0.0.1")


def test_a_second_line_of_what_proxies_say_never_stands_behind_the_callers_own() -> None:
    lines = [(b"x-forwarded-for", b"192.0.2.1"), (b"x-client-certificate-sha256", b"ab" * 32), (b"accept", b"a/b")]
    own = [(b"x-forwarded-for", b"10.0.0.9"), (b"x-client-certificate-sha256", b"cd" * 32), (b"accept", b"c/d")]

    headers = headers_of({"headers": [*own, *lines]})

    assert headers["x-forwarded-for"] == "10.0.0.9, 192.0.2.1"  # read from the right
    assert headers["x-client-certificate-sha256"] == f"{'cd' * 32}, {'ab' * 32}"  # no fingerprint: none
    assert headers["accept"] == "c/d"


def test_names_of_headers_that_callers_make_up_do_not_push_out_the_usual_ones_for_good() -> None:
    for number in range(3 * http.NAMES_KEPT):
        headers_of({"headers": [(b"x-made-up-%d" % number, b"1"), (b"x" * 500 + b"%d" % number, b"1")]})

    assert headers_of({"headers": [(b"Content-Digest", b" a ")]}) == {"content-digest": "a"}
    assert b"Content-Digest" in http._NAMES
    assert len(http._NAMES) <= http.NAMES_KEPT
