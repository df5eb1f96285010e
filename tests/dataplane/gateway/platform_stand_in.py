"""A platform's addresses for gateways, on a real socket, with real signatures: what the gateway sees of the control plane.

It stands for another process. That the real one speaks the same is held by the tests of `jinqiao.api` and by `demo verify`.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jinqiao.kernel.contracts.evidence import EvidenceBatch
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.contracts.health import GatewayState, ServicesHealth
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.kernel.httpsig import IdentityVerifier, verify_request


class PlatformStandIn:
    """Serves `policy`, keeps `batches`. `refusing` makes it answer that status to everything."""

    def __init__(self, gateway: PublicIdentity) -> None:
        self.gateway = gateway
        self.policy: SignedMessage | None = None
        self.version = 0
        self.batches: list[EvidenceBatch] = []
        self.healths: list[ServicesHealth] = []
        self.states: list[GatewayState] = []
        self.takes_state = True  # a platform of an earlier release does not know it
        self.states_refused = 0
        self.refusing = 0
        self.expects = 1
        self.pulls: list[float] = []
        self.url = ""
        self.waits = False  # whether it holds the question until there is news, as the real one does
        self.news = threading.Event()

    def put_in_force(self, message: SignedMessage, version: int) -> None:
        self.policy, self.version = message, version
        self.news.set()

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, Any]:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        verify_request(
            handler.command,
            handler.path,
            headers["host"],
            headers,
            body,
            verifier_for=lambda key_id, _: IdentityVerifier(self.gateway) if key_id == self.gateway.key_id else None,
            now=time.time(),
        )
        if self.refusing:
            return self.refusing, {"code": "test.refusing"}
        parts = urlsplit(handler.path)
        if (handler.command, parts.path) == ("GET", "/api/gateways/policy"):
            self.pulls.append(time.monotonic())
            asked = parse_qs(parts.query)
            after = int(asked["after"][0])
            if self.waits:
                self.news.clear()
                if self.version <= after:
                    self.news.wait(float(asked.get("wait", ["0"])[0]))
            return (200, self.policy.to_json()) if self.policy and self.version > after else (204, None)
        if (handler.command, parts.path) == ("POST", "/api/gateways/evidence"):
            batch = EvidenceBatch.from_json(json.loads(body))
            if batch.batch > self.expects:
                return 409, {"code": "exchange.evidence.gap", "details": {"expected": self.expects}}
            if batch.batch == self.expects:
                self.batches.append(batch)
                self.expects += 1
            return 200, {"taken": True}
        if (handler.command, parts.path) == ("POST", "/api/gateways/health"):
            self.healths.append(ServicesHealth.from_json(json.loads(body)))
            return 204, None
        if (handler.command, parts.path) == ("POST", "/api/gateways/state") and self.takes_state:
            self.states.append(GatewayState.from_json(json.loads(body)))
            return 204, None
        if parts.path == "/api/gateways/state":
            self.states_refused += 1
        return 404, {"code": "access.not_found"}


@contextmanager
def platform(gateway: PublicIdentity, port: int = 0) -> Iterator[PlatformStandIn]:
    stand_in = PlatformStandIn(gateway)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _work(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, said = stand_in.answer(self, body)
            content = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _work

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", port), Handler)
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
