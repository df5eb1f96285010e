"""Host guard: outgoing HTTP reaches only hosts that the installation allows, and no internal address by a side door.

    check_url(url, allowed) -> Resolved           is this address allowed now? for forms and for tests of a connection
    open_guarded_client(allowed, …) -> httpx.Client   every request and every redirect is checked; connects only to checked addresses
    reachable_hosts() -> tuple[str, …]            the installation's own list: setting JINQIAO_REACHABLE_HOSTS

An entry of `allowed` is a host name (`api.example.cn`), a name with all below it (`*.example.cn`), an address, or a range
of addresses (`10.8.0.0/16`). A name may resolve to public addresses only, unless these internal addresses stand in a range
that is itself internal: 0.0.0.0/0 opens nothing inside. An address in the URL must stand in a range.

The client resolves a name once for each connection, checks every address it got, and connects to one of these: a name that
changes its address between check and use (DNS rebinding) gains nothing. The TLS server name stays the name. It never uses a
proxy of the environment, which would resolve for itself.
"""

import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import httpcore
import httpx

from jinqiao.kernel.errors import InvalidInput, NotAllowed, Unavailable

MOST_REDIRECTS = 3
SETTING = "JINQIAO_REACHABLE_HOSTS"
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], list[str]]

# IANA special-purpose registries: what is not reachable from everywhere, and what carries an IPv4 address inside
_INTERNAL: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20",
        "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
_NAT64 = ip_network("64:ff9b::/96")
_KEPT_ELSEWHERE = frozenset(
    {"host", "accept", "accept-encoding", "user-agent", "connection", "content-type", "content-length"}
)


class AddressNotValid(InvalidInput):
    """Not http(s), no host, credentials inside, or a number that only some programs read as an address."""

    code = "host.address.not_valid"


class HostRuleNotValid(InvalidInput):
    """An entry of the list is neither a host name nor a range of addresses."""

    code = "host.rule.not_valid"


class HostNotAllowed(NotAllowed):
    """The host is not on the list, or stands at an internal address that no range of the list names."""

    code = "host.access.not_allowed"


class RedirectRefused(NotAllowed):
    """Too many redirects, or one that leaves the encrypted connection."""

    code = "host.redirect.refused"


class NameUnknown(Unavailable):
    code = "host.name.unknown"


@dataclass(frozen=True, slots=True)
class Resolved:
    """An allowed address: where it leads at this moment. Each of `addresses` was checked."""

    url: str
    host: str
    port: int
    addresses: tuple[str, ...]


def reachable_hosts() -> tuple[str, ...]:
    """The installation's list, from the setting JINQIAO_REACHABLE_HOSTS (comma separated); nothing is allowed without it."""
    return tuple(word.strip() for word in os.environ.get(SETTING, "").split(",") if word.strip())


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a name, by the machine's resolver. Raises NameUnknown."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NameUnknown(host=host) from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class HostGuard:
    """The rules of one list. Raises HostRuleNotValid for an entry that is none."""

    def __init__(self, allowed: Iterable[str], resolver: Resolver = resolve) -> None:
        self._names: set[str] = set()
        self._below: set[str] = set()
        self._networks: list[Network] = []
        self._resolve = resolver
        for entry in allowed:
            self._add(entry.strip())

    def _add(self, entry: str) -> None:
        try:
            self._networks.append(ip_network(entry.strip("[]")))
        except ValueError:
            name = entry.removeprefix("*.")
            try:
                plain = httpx.URL(f"http://{name}/").raw_host.decode("ascii").lower().rstrip(".")
            except (httpx.InvalidURL, UnicodeError):
                plain = ""
            if not plain or any(mark in name for mark in "/:@?#*% ") or _is_number(plain):
                raise HostRuleNotValid(entry=entry[:100]) from None
            (self._below if entry.startswith("*.") else self._names).add(plain)

    def host_of(self, url: httpx.URL) -> tuple[str, int]:
        """Host and port of an address whose form is allowed. Raises AddressNotValid."""
        if url.scheme not in ("http", "https"):
            raise AddressNotValid(reason="scheme")
        if url.userinfo:
            raise AddressNotValid(reason="credentials")
        host = url.raw_host.decode("ascii").lower()
        if not host or "%" in host:
            raise AddressNotValid(reason="host")
        return host, url.port or (443 if url.scheme == "https" else 80)

    def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Where an allowed host stands now, each address checked. Raises HostNotAllowed, AddressNotValid, NameUnknown."""
        literal = _literal(host)
        if literal is not None:
            if not self._in_range(literal):
                raise HostNotAllowed(host=host)
            return (str(literal),)
        name = host.rstrip(".")
        if _is_number(name):
            raise AddressNotValid(reason="number")
        is_named = name in self._names or any(name.endswith("." + above) for above in self._below)
        if not is_named and not self._networks:
            raise HostNotAllowed(host=host)  # before a resolver is asked: the question itself could carry something out
        found = [ip_address(text.partition("%")[0]) for text in self._resolve(host, port)]
        if not found:
            raise NameUnknown(host=host)
        for address in found:
            if not (self._in_range(address) or (is_named and not is_internal(address))):
                raise HostNotAllowed(host=host)
        return tuple(str(address) for address in found)

    def _in_range(self, address: Address) -> bool:
        """Does a range name this address? An internal address only by a range that is internal as a whole."""
        inner = _inner(address)
        return any(
            candidate.version == network.version
            and candidate in network
            and (not is_internal(address) or _is_internal_range(network))
            for candidate in {address, inner}
            for network in self._networks
        )


def check_url(url: str, allowed: Iterable[str], *, resolver: Resolver = resolve) -> Resolved:
    """Where an address leads, if it may be reached at this moment.

    Raises AddressNotValid, HostNotAllowed, NameUnknown (may be tried again), HostRuleNotValid. A request still goes through
    `open_guarded_client`, which checks again what it connects to.
    """
    guard = HostGuard(allowed, resolver)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError, TypeError):
        raise AddressNotValid(reason="form") from None
    host, port = guard.host_of(parsed)
    return Resolved(str(parsed), host, port, guard.addresses(host, port))


def is_internal(address: Address) -> bool:
    """Loopback, link-local (there the clouds keep their metadata), private, shared, multicast, reserved or documentation."""
    inner = _inner(address)
    return not inner.is_global or any(inner.version == net.version and inner in net for net in _INTERNAL)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries: mapped, 6to4, NAT64."""
    if isinstance(address, IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour
        if carried is None and address in _NAT64:
            carried = IPv4Address(int(address) & 0xFFFF_FFFF)
        return carried or address
    return address


def _is_internal_range(network: Network) -> bool:
    return any(network.version == inside.version and network.subnet_of(inside) for inside in _INTERNAL)  # type: ignore[arg-type]


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_number(host: str) -> bool:
    """Would some resolver read this as a number: 2130706433, 0x7f.1, 0177.0.0.1, 127.1?"""
    last = host.rstrip(".").rpartition(".")[2]
    return last.isdigit() or last.startswith("0x")


class _PinnedBackend(httpcore.SyncBackend):
    """Opens connections only to addresses that the guard has just checked."""

    def __init__(self, guard: HostGuard) -> None:
        super().__init__()
        self._guard = guard

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        problem: Exception | None = None
        for address in self._guard.addresses(host, port):
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as found:
                problem = found
        raise problem or httpcore.ConnectError("no address")

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("no local sockets")


class _GuardedTransport(httpx.HTTPTransport):
    def __init__(self, guard: HostGuard, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._guard = guard
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=verify, network_backend=_PinnedBackend(guard), max_connections=10
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._guard.host_of(request.url)
        return super().handle_request(request)


class _GuardedClient(httpx.Client):
    """Follows at most MOST_REDIRECTS redirects, never out of TLS; what identifies us stays with the host it was meant for."""

    def send(
        self,
        request: httpx.Request,
        *,
        follow_redirects: Any = None,
        auth: Any = httpx.USE_CLIENT_DEFAULT,
        **given: Any,
    ) -> httpx.Response:
        origin = request.url
        for _ in range(MOST_REDIRECTS + 1):
            response = super().send(request, auth=auth, follow_redirects=False, **given)
            following = response.next_request
            if following is None:
                return response
            response.close()
            if request.url.scheme == "https" and following.url.scheme != "https":
                raise RedirectRefused(host=origin.host)
            if _origin(following.url) != _origin(request.url):
                auth = None
                for name in list(following.headers):
                    if name.lower() not in _KEPT_ELSEWHERE:
                        del following.headers[name]
            request = following
        raise RedirectRefused(host=origin.host)


def _origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port


def open_guarded_client(
    allowed: Iterable[str],
    *,
    timeout_s: float = 30.0,
    ca_file: str | None = None,
    headers: dict[str, str] | None = None,
    auth: httpx.Auth | None = None,
    resolver: Resolver = resolve,
) -> httpx.Client:
    """A client that reaches only allowed hosts; close it, or use it in a `with`.

    `timeout_s` holds for connecting and for each wait for bytes. `ca_file` replaces the machine's certificate authorities.
    Requests raise what `check_url` raises, RedirectRefused, and httpx's own errors.
    """
    for library in ("httpx", "httpcore"):  # they log whole addresses and headers, in which keys may stand
        logging.getLogger(library).setLevel(logging.WARNING)
    verify = ssl.create_default_context(cafile=ca_file)
    return _GuardedClient(
        transport=_GuardedTransport(HostGuard(allowed, resolver), verify),
        timeout=timeout_s,
        headers=headers,
        auth=auth,
        trust_env=False,
    )
