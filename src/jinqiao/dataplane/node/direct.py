"""Chunks straight from the provider's node to the consumer's, where a network joins them and the consumer's node listens.

    POST /transfers                 the platform's signed order: this run's chunks may come
    PUT  /chunks/{run}/{number}     a chunk, sealed to the consumer's node; header X-Chunk-Digest, hexadecimal

Both are signed (RFC 9421) with the identity that the order names as the provider's. Nothing is answered that a caller does
not know already. What does not come this way comes by the platform's relay.
"""

import http.server
import json
import logging
import re
import ssl
import threading
from collections import OrderedDict
from typing import Any
from urllib.parse import quote

from jinqiao.dataplane.errors import SpoolFull
from jinqiao.dataplane.node.admission import check_grant, identity_for
from jinqiao.dataplane.node.errors import OrderOfAnotherNode, TransferRefused, TransferUnknown
from jinqiao.dataplane.node.home import NodeHome
from jinqiao.dataplane.node.ledger import Ledger
from jinqiao.dataplane.platform import PlatformAnswerBroken, PlatformAway, PlatformClient, PlatformRefused
from jinqiao.dataplane.staging.spool import Spool
from jinqiao.kernel.contracts.base import ContractBroken, canonical_json
from jinqiao.kernel.contracts.exchange import ExchangeOrder, SignedMessage
from jinqiao.kernel.crypto.errors import IdentityBroken, SignatureInvalid, SuiteUnknown
from jinqiao.kernel.crypto.identity import PublicIdentity, open_message
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.httpsig import IdentityVerifier, NonceReplayed, SignedBy, Verifier, verify_request
from jinqiao.kernel.moments import real_time

logger = logging.getLogger(__name__)

TRANSFERS_PATH = "/transfers"
DIGEST_HEADER = "X-Chunk-Digest"
_CHUNK_PATH = re.compile(r"/chunks/([A-Za-z0-9][A-Za-z0-9._-]{0,150})/(\d{1,6})")
MOST_ORDER_BYTES = 1024**2
MOST_CHUNK_BYTES = 1024**3
MOST_DRAINED_BYTES = 64 * 1024**2
MOST_TRANSFERS = 1000
AT_A_TIME = 4
IDLE_S = 60.0
WINDOW_S = 600
OFFER_WITHIN_S = 30.0


def chunk_path(run_id: str, number: int) -> str:
    return f"/chunks/{quote(run_id, safe='')}/{number}"


class DirectOffer:
    """The provider's side: offers the chunks of one run to the consumer's node. Gives up at the first trouble: the relay is there."""

    def __init__(self, home: NodeHome, order: ExchangeOrder, announcement: SignedMessage) -> None:
        identity = identity_for(order, home, provider=True)
        self._client = PlatformClient(order.consumer_url, identity, timeout_s=OFFER_WITHIN_S, ca_file=home.ca_file)
        self._order, self._announcement = order, announcement
        self._is_announced = self._gave_up = False

    def close(self) -> None:
        self._client.close()

    def __call__(self, number: int, data: bytes, digest: str) -> bool:
        if self._gave_up:
            return False
        try:
            if not self._is_announced:
                self._announce()
            try:
                self._put(number, data, digest)
            except PlatformRefused as refusal:
                if refusal.problem.code != TransferUnknown.code:
                    raise
                self._announce()  # it was started anew
                self._put(number, data, digest)
        except (PlatformAway, PlatformRefused, PlatformAnswerBroken) as problem:
            self._gave_up = True
            code = problem.problem.code if isinstance(problem, PlatformRefused) else problem.code
            logger.warning("run %s goes by the relay: %s", self._order.run_id, code)
            return False
        return True

    def _announce(self) -> None:
        self._client.post(TRANSFERS_PATH, self._announcement)
        self._is_announced = True

    def _put(self, number: int, data: bytes, digest: str) -> None:
        self._client.put_bytes(chunk_path(self._order.run_id, number), data, {DIGEST_HEADER: digest})


class Listener:
    """The consumer's side: a small server in threads of its own, from `start` to `close`."""

    def __init__(self, home: NodeHome, ledger: Ledger, spool: Spool) -> None:
        """`home.listen` is `host:port`. Raises OSError where the port is taken or the certificate is not readable."""
        self._home, self._ledger, self._spool = home, ledger, spool
        self._orders: OrderedDict[str, ExchangeOrder] = OrderedDict()
        self._nonces: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(AT_A_TIME)
        host, _, port = home.listen.rpartition(":")
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = IDLE_S
            server_version = "jinqiao-node"
            sys_version = ""

            def do_POST(self) -> None:
                listener.answer(self)

            do_PUT = do_POST

            def log_message(self, *arguments: object) -> None:
                """The node's own log says what matters."""

        self._server = http.server.ThreadingHTTPServer((host or "0.0.0.0", int(port)), Handler)  # noqa: S104 -- as configured
        self._server.daemon_threads = True
        self.is_tls = home.tls_certificate is not None
        if home.tls_certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(home.tls_certificate, home.tls_key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def url(self) -> str:
        """As other nodes reach it: what the configuration says, or the address it listens at."""
        if self._home.url:
            return self._home.url
        host = self._home.listen.rpartition(":")[0]
        return f"http{'s' if self.is_tls else ''}://{host}:{self._server.server_port}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="listener", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # -- one call

    def answer(self, call: http.server.BaseHTTPRequestHandler) -> None:
        call.close_connection = True
        with self._room:
            try:
                self._work(call)
            except JinqiaoError as problem:
                logger.warning("a chunk from another node was refused: %s", problem.code)
                self._drain(call)
                self._refuse(call, problem)
            except OSError as problem:
                logger.warning("a chunk from another node broke off: %s", type(problem).__name__)
                return
            else:
                call.send_response(204)
                call.send_header("Connection", "close")
                call.end_headers()

    def _work(self, call: http.server.BaseHTTPRequestHandler) -> None:
        path = call.path.partition("?")[0]
        chunk = _CHUNK_PATH.fullmatch(path)
        if call.command == "POST" and path == TRANSFERS_PATH:
            self._announced(call)
        elif call.command == "PUT" and chunk is not None:
            self._taken(call, chunk.group(1), int(chunk.group(2)))
        else:
            raise TransferRefused(reason="path")

    def _announced(self, call: http.server.BaseHTTPRequestHandler) -> None:
        body = self._body(call, MOST_ORDER_BYTES)
        try:
            order = open_message(SignedMessage.from_json(json.loads(body)), self._home.platform, ExchangeOrder)
            provider = PublicIdentity.from_json(order.provider_identity)
        except (ValueError, RecursionError, ContractBroken, SignatureInvalid, IdentityBroken, SuiteUnknown) as problem:
            raise TransferRefused(reason="order") from problem
        self._check(call, body, provider)
        if order.consumer_node != self._home.node_id:
            raise OrderOfAnotherNode(run=order.run_id, node=order.consumer_node)
        identity_for(order, self._home, provider=False)
        check_grant(order)
        if not order.consumer_url or self._ledger.is_over(order.run_id):
            raise TransferRefused(reason="run")
        self._ledger.note_announced(order.run_id)
        with self._lock:
            self._orders[order.run_id] = order
            while len(self._orders) > MOST_TRANSFERS:
                self._orders.popitem(last=False)

    def _taken(self, call: http.server.BaseHTTPRequestHandler, run_id: str, number: int) -> None:
        with self._lock:
            order = self._orders.get(run_id)
        if order is None:
            raise TransferUnknown(run=run_id)
        check_grant(order)
        if self._ledger.is_over(run_id) or number < 1:
            raise TransferRefused(reason="run")
        data = self._body(call, MOST_CHUNK_BYTES)
        provider = PublicIdentity.from_json(order.provider_identity)
        self._check(call, data, provider)
        said = call.headers.get(DIGEST_HEADER, "")
        if not data or suite(provider.suite).digest(data).hex() != said.lower():
            raise TransferRefused(reason="digest")
        self._spool.incoming(run_id).write_chunk(number, data)

    def _body(self, call: http.server.BaseHTTPRequestHandler, most_bytes: int) -> bytes:
        length = call.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > most_bytes:
            raise TransferRefused(reason="length")
        data = call.rfile.read(int(length))
        call.headers.replace_header("Content-Length", "0")  # nothing is left to read
        if len(data) != int(length):
            raise TransferRefused(reason="length")
        return data

    def _check(self, call: http.server.BaseHTTPRequestHandler, body: bytes, provider: PublicIdentity) -> None:
        def verifier_for(key_id: str, algorithm: str) -> Verifier | None:
            return IdentityVerifier(provider) if key_id == provider.key_id else None

        signed = verify_request(
            call.command,
            call.path,
            call.headers.get("Host", ""),
            dict(call.headers.items()),
            body,
            verifier_for=verifier_for,
            now=real_time(),
            window_s=WINDOW_S,
        )
        self._remember(signed)

    def _remember(self, signed: SignedBy) -> None:
        with self._lock:
            while self._nonces and next(iter(self._nonces.values())) < real_time() - 2 * WINDOW_S:
                self._nonces.popitem(last=False)
            key = f"{signed.key_id}/{signed.nonce}"
            if key in self._nonces:
                raise NonceReplayed
            self._nonces[key] = signed.created

    @staticmethod
    def _drain(call: http.server.BaseHTTPRequestHandler) -> None:
        """Read away what a refused caller still sends, so that it reads the answer instead of a broken connection."""
        length = call.headers.get("Content-Length", "")
        left = min(int(length), MOST_DRAINED_BYTES) if length.isascii() and length.isdigit() else 0
        try:
            while left > 0 and (block := call.rfile.read(min(left, 65536))):
                left -= len(block)
        except OSError:
            return

    @staticmethod
    def _refuse(call: http.server.BaseHTTPRequestHandler, problem: JinqiaoError) -> None:
        details: dict[str, Any] = json.loads(json.dumps(problem.details, default=str))
        body = canonical_json({"code": problem.code, "details": details, "retryable": problem.retryable})
        status = problem.http_status
        if isinstance(problem, SpoolFull):
            status = 507
        try:
            call.send_response(status)
            call.send_header("Content-Type", "application/problem+json")
            call.send_header("Content-Length", str(len(body)))
            call.send_header("Connection", "close")
            call.end_headers()
            call.wfile.write(body)
        except OSError:
            return
