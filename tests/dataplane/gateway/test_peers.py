import pytest

from jinqiao.dataplane.gateway.peers import CERTIFICATE, FORWARDED, Peer, Peers, is_within, networks_of

FINGERPRINT = "ab" * 32


def scope(address: str | None) -> dict[str, object]:
    return {"client": (address, 5000) if address else None}


def test_without_proxies_a_call_comes_from_the_other_end_whatever_its_headers_say() -> None:
    headers = {FORWARDED: "10.1.1.1", CERTIFICATE: FINGERPRINT}
    assert Peers().of(scope("203.0.113.9"), headers) == Peer("203.0.113.9", "")
    assert Peers(["10.0.0.0/8"]).of(scope("203.0.113.9"), headers) == Peer("203.0.113.9", "")
    assert Peers().of(scope(None), headers) == Peer("", "")


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("1.2.3.4, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.0.0.8", "192.0.2.7"),
        ("1.2.3.4, not an address", "10.0.0.9"),
        ("", "10.0.0.9"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("2001:db8::5", "2001:db8::5"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_a_proxy_that_is_believed_says_who_called_it(forwarded: str, address: str) -> None:
    assert Peers(["10.0.0.0/8"]).of(scope("10.0.0.9"), {FORWARDED: forwarded}).address == address


@pytest.mark.parametrize(
    ("said", "certificate"),
    [
        (FINGERPRINT, FINGERPRINT),
        (FINGERPRINT.upper(), FINGERPRINT),
        (":".join([FINGERPRINT[at : at + 2] for at in range(0, 64, 2)]), FINGERPRINT),
        ("ab", ""),
        (FINGERPRINT + "ab", ""),
        (f"{FINGERPRINT},{FINGERPRINT}", ""),
    ],
)
def test_a_certificate_is_a_whole_fingerprint_or_none(said: str, certificate: str) -> None:
    assert Peers(["10.0.0.9"]).of(scope("10.0.0.9"), {CERTIFICATE: said}).certificate == certificate


def test_an_address_lies_in_its_network_in_whatever_clothes() -> None:
    networks = networks_of(["192.0.2.0/24", "2001:db8::/32"])
    assert is_within("192.0.2.1", networks)
    assert is_within("::ffff:192.0.2.1", networks)
    assert is_within("2001:db8::1", networks)
    assert not is_within("192.0.3.1", networks)
    assert not is_within("", networks)
    assert not is_within("localhost", networks)
