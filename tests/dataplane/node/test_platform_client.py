from collections.abc import Callable

import httpx
import pytest

from jinqiao.dataplane.platform import PlatformAnswerBroken, PlatformAway, PlatformClient, PlatformRefused
from jinqiao.kernel.contracts.exchange import NodeRegistration
from jinqiao.kernel.crypto.identity import Identity
from tests.dataplane.node.small_platform import SmallPlatform

WORD = NodeRegistration(code="c", identity={}, name="n", version="1")


def client(answer: Callable[[httpx.Request], httpx.Response]) -> PlatformClient:
    return PlatformClient("http://platform.example/", None, transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 429])
def test_a_platform_in_trouble_is_away_and_may_be_asked_again(status: int) -> None:
    with client(lambda request: httpx.Response(status)) as platform, pytest.raises(PlatformAway) as caught:
        platform.get("/api/x")
    assert caught.value.retryable


def test_a_platform_that_cannot_be_reached_is_away() -> None:
    with PlatformClient("http://127.0.0.1:9", Identity.generate()) as platform, pytest.raises(PlatformAway) as caught:
        platform.post("/api/nodes/poll", WORD)
    assert caught.value.details["reason"] == "ConnectError"


def test_a_refusal_carries_what_the_platform_said() -> None:
    said = {"code": "exchange.run.state", "details": {"run": "RUN-1"}, "retryable": True, "title": "…", "status": 409}
    with client(lambda request: httpx.Response(409, json=said)) as platform, pytest.raises(PlatformRefused) as caught:
        platform.get("/api/x")
    assert (caught.value.status, caught.value.problem.code) == (409, "exchange.run.state")
    assert caught.value.problem.details == {"run": "RUN-1"}
    assert caught.value.problem.retryable


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"null", b'{"code": 1, "details": 3}'])
def test_a_refusal_without_problem_details_still_is_one(body: bytes) -> None:
    with (
        client(lambda request: httpx.Response(404, content=body)) as platform,
        pytest.raises(PlatformRefused) as caught,
    ):
        platform.get("/api/x")
    assert caught.value.problem.code == "http.404"


def test_a_login_page_is_no_answer_and_a_redirect_is_not_followed() -> None:
    with (
        client(lambda request: httpx.Response(200, content=b"<html>")) as platform,
        pytest.raises(PlatformAnswerBroken),
    ):
        platform.get("/api/x")
    moved = httpx.Response(302, headers={"Location": "http://elsewhere.example/"})
    with client(lambda request: moved) as platform, pytest.raises(PlatformRefused):
        platform.get("/api/x")


def test_an_empty_answer_is_none() -> None:
    with client(lambda request: httpx.Response(204)) as platform:
        assert platform.get("/api/x?after=1") is None


def test_the_signature_fits_what_is_really_sent() -> None:
    with SmallPlatform() as small:
        identity = Identity.generate()
        small.know("n", identity.public)
        with PlatformClient(small.url, identity) as platform:
            platform.put_bytes("/api/nodes/runs/RUN%201/chunks/1?x=a%20b", b"\x00\xff", {"X-Chunk-Digest": "00"})
            assert platform.get_bytes("/api/nodes/runs/RUN%201/chunks/1") == b"\x00\xff"
        with PlatformClient(small.url, Identity.generate()) as stranger, pytest.raises(PlatformRefused) as caught:
            stranger.get("/api/x")
    assert caught.value.problem.code == "signature.unknown_key"
