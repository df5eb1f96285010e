"""Attacks that live in the bytes on the wire, sent to a gateway that listens on a real socket."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from jinqiao.kernel.httpsig import HmacSigner, sign_request
from jinqiao.kernel.ports import free_port
from tests.dataplane.gateway.attacks import PATH, QUERY
from tests.dataplane.gateway.test_process import process
from tests.dataplane.gateway.world import HOST, SECRET, make_world


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    world = make_world(tmp_path_factory.mktemp("wire"))
    world.publish()
    found = free_port()
    with process(world, found):
        yield found


BODY = json.dumps(QUERY).encode()


def signed(path: str = f"{PATH}/query") -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    return headers | sign_request(
        "POST", f"http://{HOST}{path}", BODY, key_id="key-housing", signer=HmacSigner("hmac-sha256", SECRET.encode()), headers=headers
    )  # fmt: skip


def request(*more: str, line: str = f"POST {PATH}/query HTTP/1.1", length: str = f"content-length: {len(BODY)}", **headers: str) -> bytes:  # fmt: skip
    lines = [line, f"host: {HOST}", "connection: close", *([length] if length else []), *(f"{name}: {value}" for name, value in (signed() | headers).items()), *more]  # fmt: skip
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + BODY


def answers(port: int, sent: bytes, *, within_s: float = 15) -> list[tuple[int, bytes]]:
    """Status and what follows of every answer that comes until the gateway closes, or has nothing more to say."""
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as connection:
        connection.sendall(sent)
        came = b""
        while part := connection.recv(65_536):
            came += part
    found = []
    for one in came.split(b"HTTP/1.1 ")[1:]:
        found.append((int(one[:3]), one))
    return found


def test_the_call_that_is_attacked_here_is_answered_when_nothing_is_wrong_with_it(port: int) -> None:
    assert [status for status, _ in answers(port, request())] == [200]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("two lengths", lambda: request("content-length: 5")),
        ("a length and chunks", lambda: request("transfer-encoding: chunked")),
        ("chunks in other clothes", lambda: request("transfer-encoding: xchunked", length="")),
        ("a length with a sign", lambda: request(length=f"content-length: +{len(BODY)}")),
        ("a negative length", lambda: request(length="content-length: -1")),
        ("a length of twenty digits", lambda: request(length="content-length: 99999999999999999999")),
        ("a blank before the colon", lambda: request("signature : x")),
        ("a folded header", lambda: request("x-note: a\r\n b")),
        ("a header with a NUL", lambda: request("x-note: a\x00b")),
        ("a bare line feed", lambda: request().replace(b"\r\n", b"\n\n", 1)),
        ("a version that is none", lambda: request(line=f"POST {PATH}/query HTTP/9.9")),
        ("a method that is none", lambda: request(line=f"P(ST {PATH}/query HTTP/1.1")),
        ("no path", lambda: request(line="POST HTTP/1.1")),
        ("a header of a megabyte", lambda: request(f"x-note: {'x' * 1_000_000}")),
        ("five hundred headers", lambda: request(*(f"x-{n}: 1" for n in range(500)))),
        ("nothing but noise", lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20),
    ],
)  # fmt: skip
def test_what_is_no_proper_request_is_never_answered_with_data(port: int, name: str, sent: object) -> None:
    try:
        found = answers(port, sent())  # type: ignore[operator]
    except ConnectionError:
        found = []  # hung up at once
    assert all(400 <= status < 500 for status, _ in found), found
    assert all(b'"rows"' not in answer for _, answer in found)
    assert [status for status, _ in answers(port, request())] == [200]  # and the next caller notices nothing


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/gateway/v1/services/../services/{PATH.rsplit('/', 1)[1]}/query", b"gateway.request.path_unknown"),
        (f"/gateway/v1/./services/{PATH.rsplit('/', 1)[1]}/query", b"gateway.request.path_unknown"),
        (f"//gateway/v1/services/{PATH.rsplit('/', 1)[1]}/query", None),
        (f"{PATH}/query%00", b"gateway.request.path_unknown"),
        (f"{PATH}/query;jsessionid=1", b"gateway.request.path_unknown"),
    ],
)
def test_tricks_with_the_path_lead_nowhere(port: int, path: str, code: bytes | None) -> None:
    found = answers(port, request(line=f"POST {path} HTTP/1.1"))
    assert [400 <= status < 500 for status, _ in found] == [True]
    assert code is None or code in found[0][1]


def test_a_host_that_was_not_signed_is_refused(port: int) -> None:
    found = answers(port, request().replace(f"host: {HOST}".encode(), b"host: elsewhere.test"))
    assert found[0][0] == 401


def test_a_key_name_with_a_letter_that_looks_alike_is_refused(port: int) -> None:
    found = answers(port, request().replace(b'keyid="key-housing"', 'keyid="kеy-housing"'.encode()))
    assert found[0][0] in (400, 401)


def test_a_second_call_hidden_in_the_body_of_the_first_is_not_a_call(port: int) -> None:
    hidden = request()
    outer = request(length=f"content-length: {len(BODY)}") + b"GET /gateway/metrics HTTP/1.1\r\nhost: x\r\n\r\n"
    statuses = [status for status, _ in answers(port, outer)]
    assert statuses[0] == 200
    assert all(status >= 400 for status in statuses[1:])
    assert hidden  # signed for itself: what was hidden above has no signature of its own


def test_a_body_that_comes_drop_by_drop_is_given_up_and_others_are_answered_meanwhile(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        slow.sendall(request()[: -len(BODY) + 1])
        assert [status for status, _ in answers(port, request())] == [200]
        began = time.monotonic()
        came = slow.recv(65_536)
        assert b"gateway.request.too_slow" in came or b"408" in came
        assert time.monotonic() - began < 25


def test_headers_that_never_end_are_given_up(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        slow.sendall(f"POST {PATH}/query HTTP/1.1\r\nhost: {HOST}\r\n".encode())
        assert [status for status, _ in answers(port, request())] == [200]
        try:
            came = slow.recv(65_536)
        except ConnectionError:
            came = b""
        assert b"200" not in came[:20]
