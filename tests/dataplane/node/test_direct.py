"""Chunks straight from node to node, and by the relay where that does not work."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.direct import DirectOffer, chunk_path
from jinqiao.dataplane.node.process import Node
from jinqiao.dataplane.platform import PlatformClient, PlatformRefused
from jinqiao.kernel.contracts.exchange import CommandKind, ExchangeOrder, SignedMessage
from jinqiao.kernel.crypto.identity import Identity, sign_message
from jinqiao.kernel.crypto.suites import SUITE_NAMES, suite
from tests.dataplane.node.small_platform import SmallPlatform
from tests.dataplane.node.test_work import once, working
from tests.dataplane.node.world import CONSUMER, PROVIDER, RUN, World, make_world


@contextmanager
def listening(world: World, **fields: Any) -> Iterator[Node]:
    node = Node(replace(homes.load(world.home(CONSUMER)), **({"listen": "127.0.0.1:0"} | fields)))
    try:
        node.listen()
        yield node
    finally:
        node.close()


def address(node: Node) -> str:
    url = node.heartbeat()[1].url
    assert url.startswith("http")
    return url


def direct_order(world: World, url: str, **changes: Any) -> tuple[ExchangeOrder, SignedMessage]:
    order = world.order(consumer_url=url, **changes)
    return order, sign_message(order, world.platform.identity)


@pytest.mark.parametrize("name", SUITE_NAMES)
def test_chunks_go_straight_to_the_node_that_listens_and_the_platform_sees_none(tmp_path: Path, name: str) -> None:
    with SmallPlatform(name) as platform:
        world = make_world(tmp_path, platform)
        with listening(world) as consumer:
            order, announcement = direct_order(world, address(consumer))
            command = world.extract(order, transfer=announcement)
            once(world, PROVIDER)
            sent = platform.result_of(command)
            assert sent.ok, sent.problem
            assert sent.direct == (1, 2, 3, 4)
            assert platform.chunks == {}
            delivered = world.deliver(order, sent)
            assert consumer.run_once()
            assert platform.result_of(delivered).ok
        assert not [path for method, path in platform.calls if method == "GET"]
        assert world.target_rows() == world.source_rows()


def test_an_unreachable_node_gets_its_chunks_by_the_relay(world: World) -> None:
    order, announcement = direct_order(world, "http://127.0.0.1:9")
    command = world.extract(order, transfer=announcement)
    once(world, PROVIDER)
    sent = world.platform.result_of(command)
    assert (sent.ok, sent.direct) == (True, ())
    assert len(world.platform.chunks) == 4


def test_a_node_that_goes_away_on_the_way_gets_the_rest_by_the_relay(world: World) -> None:
    with listening(world) as consumer:
        url = address(consumer)
        spool = consumer.spool.incoming(RUN)
        original = type(spool).write_chunk

        def write_two(self: Any, number: int, data: bytes) -> None:
            if number > 2:
                raise ConnectionResetError
            original(self, number, data)

        order, announcement = direct_order(world, url)
        command = world.extract(order, transfer=announcement)
        with pytest.MonkeyPatch.context() as patch, working(world, PROVIDER) as provider:
            patch.setattr(type(spool), "write_chunk", _only_incoming(write_two, original))
            assert provider.run_once()
        sent = world.platform.result_of(command)
        assert sent.direct == (1, 2)
        assert {number for _, number in world.platform.chunks} == {3, 4}
        delivered = world.deliver(order, sent)
        assert consumer.run_once()
        assert world.platform.result_of(delivered).ok
    assert world.target_rows() == world.source_rows()


def _only_incoming(inner: Any, outer: Any) -> Any:
    def write(self: Any, number: int, data: bytes) -> None:
        (inner if "/in/" in str(self.folder) else outer)(self, number, data)

    return write


def test_a_node_that_was_started_anew_is_told_of_the_transfer_again(world: World) -> None:
    with listening(world) as first:
        port = address(first).rpartition(":")[2]
    order, announcement = direct_order(world, f"http://127.0.0.1:{port}")
    home = homes.load(world.home(PROVIDER))
    data = b"sealed for the consumer"
    digest = suite("international").digest(data).hex()
    with listening(world, listen=f"127.0.0.1:{port}") as consumer:
        offer = DirectOffer(home, order, announcement)
        assert offer(1, data, digest)
        assert consumer._listener is not None
        consumer._listener._orders.clear()  # as after a restart
        assert offer(2, data, digest)
        offer.close()
        assert consumer.spool.incoming(RUN).read_chunk(2) == data


class Stranger:
    """Somebody who can reach the listening node."""

    def __init__(self, url: str, identity: Identity) -> None:
        self.client = PlatformClient(url, identity)

    def code(self, do: str, *arguments: Any) -> str:
        try:
            getattr(self.client, do)(*arguments)
        except PlatformRefused as refusal:
            return refusal.problem.code
        return "taken"


DATA = b"ciphertext"
DIGEST = {"X-Chunk-Digest": suite("international").digest(DATA).hex()}


def test_nobody_but_the_provider_of_an_order_brings_chunks(world: World) -> None:
    provider = homes.load(world.home(PROVIDER)).identity
    with listening(world) as consumer:
        url = address(consumer)
        order, announcement = direct_order(world, url)
        mine, stranger = Stranger(url, provider), Stranger(url, Identity.generate())
        path = chunk_path(RUN, 1)
        assert mine.code("put_bytes", path, DATA, DIGEST) == "node.transfer.unknown"
        assert stranger.code("post", "/transfers", announcement) == "signature.unknown_key"
        forged = sign_message(order, Identity.generate())
        assert mine.code("post", "/transfers", forged) == "node.transfer.refused"
        altered = replace(announcement, body={**announcement.body, "target_table": "other"})
        assert mine.code("post", "/transfers", altered) == "node.transfer.refused"
        other = sign_message(replace(order, consumer_node="gongan-qianzhi"), world.platform.identity)
        assert mine.code("post", "/transfers", other) == "node.order.other_node"
        by_relay = sign_message(replace(order, consumer_url=""), world.platform.identity)
        assert mine.code("post", "/transfers", by_relay) == "node.transfer.refused"
        over = replace(order.grant, valid_until=order.grant.valid_from)
        ended = sign_message(replace(order, grant=over), world.platform.identity)
        assert mine.code("post", "/transfers", ended) == "node.order.grant_not_live"

        assert mine.code("post", "/transfers", announcement) == "taken"
        assert stranger.code("put_bytes", path, DATA, DIGEST) == "signature.unknown_key"
        assert mine.code("put_bytes", path, DATA + b"x", DIGEST) == "node.transfer.refused"
        assert mine.code("put_bytes", chunk_path("RUN-OTHER", 1), DATA, DIGEST) == "node.transfer.unknown"
        assert mine.code("put_bytes", "/chunks/../../etc/1", DATA, DIGEST) == "node.transfer.refused"
        assert httpx.put(url + path, content=DATA, headers=DIGEST, trust_env=False).status_code == 401
        assert consumer.spool.runs() == ()
        assert mine.code("put_bytes", path, DATA, DIGEST) == "taken"
        assert consumer.spool.incoming(RUN).read_chunk(1) == DATA


def test_a_run_that_is_over_takes_nothing_more(world: World) -> None:
    with listening(world) as consumer:
        _order, announcement = direct_order(world, address(consumer))
        mine = Stranger(address(consumer), homes.load(world.home(PROVIDER)).identity)
        assert mine.code("post", "/transfers", announcement) == "taken"
        world.platform.command(CONSUMER, CommandKind.PURGE, run_id=RUN)
        assert consumer.run_once()
        assert mine.code("put_bytes", chunk_path(RUN, 1), DATA, DIGEST) == "node.transfer.refused"
        assert mine.code("post", "/transfers", announcement) == "node.transfer.refused"


def test_a_full_spool_sends_the_chunks_by_the_relay(world: World) -> None:
    with listening(world, spool_budget_bytes=100) as consumer:
        order, announcement = direct_order(world, address(consumer))
        command = world.extract(order, transfer=announcement)
        once(world, PROVIDER)
        sent = world.platform.result_of(command)
        assert (sent.ok, sent.direct) == (True, ())


def test_chunks_that_came_before_any_command_are_not_tidied_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(world) as consumer:
        _order, announcement = direct_order(world, address(consumer))
        mine = Stranger(address(consumer), homes.load(world.home(PROVIDER)).identity)
        mine.code("post", "/transfers", announcement)
        mine.code("put_bytes", chunk_path(RUN, 1), DATA, DIGEST)
        consumer._tidy()
        assert consumer.spool.runs() == (RUN,)
        from jinqiao.kernel import moments

        later = moments.now() + timedelta(days=31)
        monkeypatch.setattr(moments, "now", lambda: later)
        consumer._tidy()
        assert consumer.spool.runs() == ()


def test_the_way_between_nodes_may_be_encrypted(world: World, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with listening(world, tls_certificate=certificate, tls_key=key) as consumer:
        url = address(consumer)
        assert url.startswith("https://")
        order, announcement = direct_order(world, url)
        home = replace(homes.load(world.home(PROVIDER)), ca_file=certificate)
        offer = DirectOffer(home, order, announcement)
        assert offer(1, DATA, DIGEST["X-Chunk-Digest"])
        offer.close()
        assert consumer.spool.incoming(RUN).read_chunk(1) == DATA
        with pytest.raises(httpx.HTTPError):
            httpx.get(url, verify=ssl.create_default_context(), trust_env=False)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "node.crt", folder / "node.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
