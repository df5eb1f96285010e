"""Outgoing HTTP reaches only what the list allows: no internal address by a name, a redirect, a number or a changing answer."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.kernel.hosts import (
    AddressNotValid,
    HostNotAllowed,
    HostRuleNotValid,
    NameUnknown,
    RedirectRefused,
    check_url,
    is_internal,
    open_guarded_client,
    reachable_hosts,
)
from tests.certificates import Authority
from tests.web_servers import Answer, Asked, WebServer, serving

LOCAL = ("127.0.0.0/8",)
PUBLIC = "1.2.4.8"


class Names:
    """A resolver at the machine's boundary: each name answers with the next of its lists of addresses, the last for ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): answer for name, answer in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        answers = self.answers.get(host)
        if answers is None:
            raise NameUnknown(host=host)
        return answers.pop(0) if len(answers) > 1 else answers[0]


def says(text: str) -> Answer:
    return Answer(body=text.encode())


@pytest.fixture
def server() -> Iterator[WebServer]:
    def answer(asked: Asked) -> Answer:
        if asked.path.startswith("/to?"):
            return Answer(302, b"", {"Location": asked.path.removeprefix("/to?")})
        return says("inside" if asked.path == "/secret" else "hello")

    with serving(answer) as found:
        yield found


# --- the list ---------------------------------------------------------------------------------------------------------


def test_a_named_host_with_public_addresses_is_allowed_and_told_where_it_leads() -> None:
    found = check_url("https://API.example.cn/v1?x=1", ["api.example.cn"], resolver=Names(api_example_cn=[[PUBLIC]]))

    assert (found.host, found.port, found.addresses) == ("api.example.cn", 443, (PUBLIC,))


def test_other_hosts_are_refused_without_asking_a_resolver() -> None:
    names = Names(evil_example=[[PUBLIC]])

    with pytest.raises(HostNotAllowed):
        check_url("https://evil.example/", ["api.example.cn"], resolver=names)
    assert names.asked == []


def test_a_star_allows_what_is_below_a_name_and_not_the_name_or_its_likeness() -> None:
    names = Names(a_example_cn=[[PUBLIC]], example_cn=[[PUBLIC]], badexample_cn=[[PUBLIC]])

    assert check_url("http://a.example.cn/", ["*.example.cn"], resolver=names).port == 80
    for host in ("example.cn", "badexample.cn"):
        with pytest.raises(HostNotAllowed):
            check_url(f"http://{host}/", ["*.example.cn"], resolver=names)


INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3",  # noqa: S104 -- nothing is bound
    "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1",
    "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1",
    "::127.0.0.1", "2001:db8::1", "fec0::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_leads_inside_is_refused_though_it_stands_on_the_list(address: str) -> None:
    for answer in ([address], [PUBLIC, address]):
        with pytest.raises(HostNotAllowed):
            check_url("http://api.example.cn/", ["api.example.cn"], resolver=Names(api_example_cn=[answer]))


@pytest.mark.parametrize("address", INSIDE)
def test_a_range_of_everything_opens_nothing_inside(address: str) -> None:
    host = f"[{address}]" if ":" in address else address

    with pytest.raises(HostNotAllowed):
        check_url(f"http://{host}/", ["0.0.0.0/0", "::/0"])


def test_an_internal_range_that_is_named_is_open_to_names_and_addresses() -> None:
    names = Names(hr_city=[["10.8.0.5"]], other_city=[["10.9.0.5"]])

    assert check_url("http://hr.city/", ["10.8.0.0/16"], resolver=names).addresses == ("10.8.0.5",)
    assert check_url("http://10.8.1.1:8080/", ["10.8.0.0/16"]).port == 8080
    assert check_url("http://[::ffff:10.8.1.1]/", ["10.8.0.0/16"]).host == "::ffff:10.8.1.1"
    with pytest.raises(HostNotAllowed):
        check_url("http://other.city/", ["10.8.0.0/16", "other.city"], resolver=names)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/", "file:///etc/passwd", "gopher://127.0.0.1/", "//127.0.0.1/", "127.0.0.1", "", "http://",
        "http://user:secret@127.0.0.1/", "http://user@127.0.0.1/", "http://2130706433/", "http://0x7f000001/",
        "http://0177.0.0.1/", "http://127.1/", "http://0x7f.1/", "http://127.0.0.1./", "http://１２７.0.0.1/",
        "http://[fe80::1%25eth0]/", "http://127.0.0.1\\@api.example.cn/", "http://127.0.0.1:99999/", "http://a b/",
    ],
)  # fmt: skip
def test_addresses_in_a_form_that_programs_read_differently_are_refused(url: str) -> None:
    with pytest.raises((AddressNotValid, HostNotAllowed)) as caught:
        check_url(url, ["0.0.0.0/0", "10.0.0.0/8", "api.example.cn"], resolver=lambda host, port: ["127.0.0.1"])
    for language in ("zh", "en"):
        assert "{" not in caught.value.text(language).message
        assert "secret" not in f"{caught.value} {caught.value.text(language)}"


@pytest.mark.parametrize(
    "entry", ["", "http://a.cn/", "a.cn:80", "10.0.0.0/99", "*", "a*b.cn", "user@a.cn", "10.1", "0x7f.1", "10.0.0.1/8"]
)
def test_an_entry_that_is_neither_name_nor_range_is_refused(entry: str) -> None:
    with pytest.raises(HostRuleNotValid):
        check_url("http://a.cn/", [entry])


def test_the_list_comes_from_the_setting_and_is_empty_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JINQIAO_REACHABLE_HOSTS", raising=False)
    assert reachable_hosts() == ()

    monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "api.example.cn, 10.8.0.0/16,")
    assert reachable_hosts() == ("api.example.cn", "10.8.0.0/16")


@given(st.ip_addresses())
def test_an_address_is_internal_whatever_wraps_it(address: object) -> None:
    from ipaddress import IPv4Address, IPv6Address

    if isinstance(address, IPv4Address):
        for wrapped in (f"::ffff:{address}", f"64:ff9b::{address}"):
            assert is_internal(IPv6Address(wrapped)) == is_internal(address)
        if not address.is_global:
            assert is_internal(address)


# --- the client -------------------------------------------------------------------------------------------------------


def test_a_request_reaches_an_allowed_host_by_its_name(server: WebServer) -> None:
    with open_guarded_client(LOCAL, resolver=Names(hr_city=[["127.0.0.1"]])) as client:
        answer = client.get(server.url("/", "hr.city"))

    assert answer.text == "hello"
    assert server.asked[0].headers["host"] == f"hr.city:{server.port}"


def test_the_machine_itself_is_closed_unless_it_is_named(server: WebServer) -> None:
    for url in (server.url("/secret"), server.url("/secret", "localhost"), server.url("/secret", "[::ffff:127.0.0.1]")):
        with open_guarded_client(["localhost", "0.0.0.0/0"]) as client, pytest.raises(HostNotAllowed):
            client.get(url)
    assert server.connections == []


@pytest.mark.parametrize(
    "place",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://0/",
        "//0x7f.1/",
        "http://user:pw@hr.city/",
    ],
)
def test_a_redirect_to_an_internal_address_is_refused(server: WebServer, place: str) -> None:
    with (
        open_guarded_client(["127.0.0.1/32"], resolver=Names(hr_city=[["127.0.0.1"]])) as client,
        pytest.raises((HostNotAllowed, AddressNotValid)),
    ):
        client.get(server.url(f"/to?{place}"))
    assert len(server.asked) == 1


def test_a_redirect_back_to_the_machine_is_refused(server: WebServer) -> None:
    names = Names(outside_cn=[["127.0.0.1"]], inside_cn=[["127.0.0.3"]])
    with (
        serving(lambda asked: Answer(302, b"", {"Location": server.url("/secret", "inside.cn")})) as outside,
        open_guarded_client(["127.0.0.1/32"], resolver=names) as client,
        pytest.raises(HostNotAllowed),
    ):
        client.get(outside.url("/", "outside.cn"))

    assert names.asked == ["outside.cn", "inside.cn"]
    assert server.connections == []


def test_an_answer_that_changes_between_check_and_connection_gains_nothing(server: WebServer) -> None:
    names = Names(rebind_cn=[[PUBLIC], ["127.0.0.1"]])

    check_url(server.url("/secret", "rebind.cn"), ["rebind.cn"], resolver=names)
    with open_guarded_client(["rebind.cn"], resolver=names) as client, pytest.raises(HostNotAllowed):
        client.get(server.url("/secret", "rebind.cn"))

    assert names.asked == ["rebind.cn", "rebind.cn"]
    assert server.connections == []


def test_a_connection_goes_to_the_address_that_was_checked_and_asks_once(server: WebServer) -> None:
    names = Names(rebind_cn=[["127.0.0.1"], ["169.254.169.254"]])

    with open_guarded_client(LOCAL, resolver=names) as client:
        answers = [client.get(server.url("/", "rebind.cn")).text for _ in range(3)]

    assert answers == ["hello"] * 3
    assert names.asked == ["rebind.cn"]


def test_a_second_address_is_tried_where_the_first_refuses(server: WebServer) -> None:
    with open_guarded_client([*LOCAL, "::1"], resolver=Names(two_cn=[["::1", "127.0.0.1"]])) as client:
        assert client.get(server.url("/", "two.cn")).text == "hello"


def test_redirects_end_after_three(server: WebServer) -> None:
    with open_guarded_client(LOCAL) as client:
        assert client.get(server.url("/to?/to?/to?/fine")).text == "hello"
        with pytest.raises(RedirectRefused):
            client.get(server.url("/to?/to?/to?/to?/fine"))


def test_credentials_stay_with_the_host_they_were_meant_for(server: WebServer) -> None:
    with serving(lambda asked: Answer(302, b"", {"Location": server.url("/elsewhere")})) as first:
        with open_guarded_client(LOCAL, headers={"X-Key": "geheim"}, auth=httpx.BasicAuth("ann", "geheim")) as client:
            client.get(first.url("/"), headers={"Authorization-Extra": "geheim"})

        assert "geheim" in first.asked[0].headers["x-key"]
        assert first.asked[0].headers["authorization"].startswith("Basic ")
        assert not {"x-key", "authorization", "authorization-extra"} & set(server.asked[0].headers)


def test_a_proxy_of_the_environment_is_not_used(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    with open_guarded_client(LOCAL) as client:
        assert client.get(server.url()).text == "hello"


def test_tls_is_checked_against_the_name_and_never_left(tmp_path: Path, server: WebServer) -> None:
    authority = Authority.make(tmp_path)
    names = Names(hr_city=[["127.0.0.1"]], other_city=[["127.0.0.1"]])

    def answer(asked: Asked) -> Answer:
        return Answer(302, b"", {"Location": server.url("/")}) if asked.path == "/down" else says("sealed")

    with (
        serving(answer, certificate=authority.issue(tmp_path, "hr.city")) as secure,
        open_guarded_client(LOCAL, ca_file=str(authority.file), resolver=names) as client,
    ):
        assert client.get(secure.url("/", "hr.city")).text == "sealed"
        with pytest.raises(httpx.ConnectError, match="certificate"):
            client.get(secure.url("/", "other.city"))
        with (
            pytest.raises(httpx.ConnectError, match="certificate"),
            open_guarded_client(LOCAL, resolver=names) as stranger,
        ):
            stranger.get(secure.url("/", "hr.city"))
        with pytest.raises(RedirectRefused):
            client.get(secure.url("/down", "hr.city"))
    assert server.asked == []
