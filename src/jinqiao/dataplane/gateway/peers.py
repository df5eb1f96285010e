"""From where a call comes: the other end of the connection, or what a trusted proxy says of it.

Mutual TLS ends in the reverse proxy. What it says of the caller (address, fingerprint of the client certificate) is believed only
on connections from the addresses that the operator has named (`gateway.toml`: `proxies`); from anybody else these headers are
as if they were not there.
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

FORWARDED = "x-forwarded-for"
CERTIFICATE = "x-client-certificate-sha256"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Peer:
    """`address` as text, empty where it is not known; `certificate` the SHA-256 fingerprint in lower-case hex, or empty."""

    address: str
    certificate: str = ""


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises ValueError for what is no network."""
    return tuple(ip_network(text, strict=False) for text in texts)


def is_within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of the networks; an IPv4 address in IPv6 clothes is that IPv4 address."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(1_000)
def _unproved(address: str) -> Peer:
    """Who shows no certificate."""
    return Peer(address)


class Peers:
    """Tells callers' ends apart. `proxies` are networks of reverse proxies that are believed."""

    def __init__(self, proxies: Iterable[str] = (), certificate_header: str = CERTIFICATE) -> None:
        """Raises ValueError for what is no network."""
        self._proxies = networks_of(proxies)
        self._certificate_header = certificate_header.lower()

    def of(self, scope: MutableMapping[str, Any], headers: Mapping[str, str]) -> Peer:
        client = scope.get("client")
        near: str = client[0] if client else ""
        if not self._proxies or not is_within(near, self._proxies):
            return _unproved(near)
        fingerprint = headers.get(self._certificate_header, "").replace(":", "").strip().lower()
        certificate = fingerprint if _FINGERPRINT.fullmatch(fingerprint) else ""
        return Peer(self._farthest_believed(near, headers.get(FORWARDED, "")), certificate)

    def _farthest_believed(self, near: str, forwarded: str) -> str:
        """Each proxy appends who spoke to it: from the right, the first that is no proxy of ours; what stands further left is
        the caller's own word."""
        for text in reversed(forwarded.split(",")):
            parsed = _parsed(text)
            if parsed is None:
                return near
            near = str(parsed)
            if not is_within(near, self._proxies):
                return near
        return near
