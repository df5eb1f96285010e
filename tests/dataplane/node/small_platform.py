"""A platform as small as can be, over real HTTP: it verifies signatures, hands out commands, relays chunks, keeps results.

It behaves as the machine interface says, and can be told to be away, to lose answers, and to stall at a chunk.
"""

import base64
import http.server
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import (
    Command,
    CommandKind,
    CommandResult,
    Heartbeat,
    NodeAdmission,
    NodeRegistration,
    NodeResubmission,
    NodeRotated,
    NodeRotation,
)
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity, sealed_to, sign_message
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.httpsig import IdentityVerifier, Verifier, verify_request

_CHUNK = re.compile(r"/api/nodes/runs/([^/]+)/chunks/(\d+)")


class SmallPlatform:
    def __init__(self, suite: str = "international") -> None:
        self.identity = Identity.generate(suite)
        self.nodes: dict[str, tuple[str, PublicIdentity]] = {}
        self.codes: dict[str, str] = {}
        self.waiting: dict[str, list[dict[str, Any]]] = defaultdict(list)  # node id → signed messages
        self.results: list[CommandResult] = []
        self.heartbeats: list[Heartbeat] = []
        self.chunks: dict[tuple[str, int], bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.is_away = False
        self.is_under_maintenance = False  # a proxy before it answers everything with a page of its own
        self.loses_results = False
        self.sealed: dict[str, set[str]] = defaultdict(set)  # node id → passwords sealed to it
        self.loses_rotations = False
        self.resubmissions: list[NodeResubmission] = []
        self.refusals: dict[str, tuple[int, str]] = {}  # path → status, code
        self.at_chunk: Callable[[str, int], None] = lambda method, number: None
        self._nonces: set[str] = set()
        self._lock = threading.Lock()
        platform = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                platform.answer(self)

            do_GET = do_PUT = do_POST

            def log_message(self, *arguments: object) -> None:
                """Tests need no access log."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def know(self, node_id: str, public: PublicIdentity) -> None:
        self.nodes[public.key_id] = (node_id, public)

    def command(self, node_id: str, kind: CommandKind, *, signer: Identity | None = None, **fields: Any) -> str:
        """Leave a command for a node; its id."""
        number = f"{kind.value}-{sum(map(len, self.waiting.values())) + len(self.results)}-{time.monotonic_ns()}"
        command = Command(id=number, kind=kind, issued_at=moments.now(), **fields)
        self.waiting[node_id].append(sign_message(command, signer or self.identity).to_json())
        return number

    def result_of(self, command_id: str, within_s: float = 30.0) -> CommandResult:
        """Wait for an answer."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            for result in self.results:
                if result.command_id == command_id:
                    return result
            time.sleep(0.01)
        raise AssertionError(f"no answer to {command_id} within {within_s} s")

    # -- HTTP

    def answer(self, call: http.server.BaseHTTPRequestHandler) -> None:
        body = call.rfile.read(int(call.headers.get("Content-Length") or 0))
        path = call.path.partition("?")[0]
        self.calls.append((call.command, path))
        if self.is_away:
            self._send(call, 503, {"code": "service.unavailable"})
        elif self.is_under_maintenance:
            self._send(call, 200, b"<html>a page of some proxy</html>")
        elif path in self.refusals:
            status, code = self.refusals[path]
            self._send(call, status, {"code": code, "details": {}})
        elif path == "/api/nodes/register":
            self._register(call, NodeRegistration.from_json(json.loads(body)))
        else:
            try:
                node_id = self._node_of(call, body)
            except JinqiaoError as problem:
                self._send(call, problem.http_status, {"code": problem.code, "details": problem.details})
                return
            self._work(call, path, node_id, body)

    def _register(self, call: http.server.BaseHTTPRequestHandler, word: NodeRegistration) -> None:
        node_id = self.codes.pop(word.code, "")
        if not node_id:
            self._send(call, 403, {"code": "exchange.node.code_wrong"})
            return
        self.know(node_id, PublicIdentity.from_json(word.identity))
        admission = NodeAdmission(node_id=node_id, platform_identity=self.identity.public.to_json(), poll_s=0.05)
        self._send(call, 200, admission.to_json())

    def _node_of(self, call: http.server.BaseHTTPRequestHandler, body: bytes) -> str:
        def verifier_for(key_id: str, algorithm: str) -> Verifier | None:
            return IdentityVerifier(self.nodes[key_id][1]) if key_id in self.nodes else None

        signed = verify_request(
            call.command,
            call.path,
            call.headers["Host"],
            dict(call.headers.items()),
            body,
            verifier_for=verifier_for,
            now=time.time(),
        )
        with self._lock:
            assert signed.nonce not in self._nonces, "a nonce came twice"
            self._nonces.add(signed.nonce)
        return self.nodes[signed.key_id][0]

    def _work(self, call: http.server.BaseHTTPRequestHandler, path: str, node_id: str, body: bytes) -> None:
        chunk = _CHUNK.fullmatch(path)
        if path == "/api/nodes/poll":
            heartbeat = Heartbeat.from_json(json.loads(body))
            assert heartbeat.node_id == node_id
            self.heartbeats.append(heartbeat)
            self._send(call, 200, {"commands": self.waiting[node_id], "now": time.time()})
        elif path == "/api/nodes/resubmit":
            self.resubmissions.append(NodeResubmission.from_json(json.loads(body)))
            self._send(call, 200, {"run": "RUN-NEW"})
        elif path == "/api/nodes/rotate":
            self._rotate(call, node_id, NodeRotation.from_json(json.loads(body)))
        elif path == "/api/nodes/results":
            result = CommandResult.from_json(json.loads(body))
            if self.loses_results:
                self._send(call, 503, {"code": "service.unavailable"})
                return
            with self._lock:
                self.results.append(result)
                self.waiting[node_id] = [
                    message for message in self.waiting[node_id] if message["body"].get("id") != result.command_id
                ]
            self._send(call, 204, None)
        elif chunk:
            run_id, number = chunk.group(1), int(chunk.group(2))
            self.at_chunk(call.command, number)
            if call.command == "PUT":
                self.chunks[run_id, number] = body
                self._send(call, 204, None)
            elif (run_id, number) in self.chunks:
                self._send(call, 200, self.chunks[run_id, number])
            else:
                self._send(call, 404, {"code": "exchange.chunk.missing"})
        else:
            self._send(call, 404, {"code": "api.route.missing"})

    def _rotate(self, call: http.server.BaseHTTPRequestHandler, node_id: str, word: NodeRotation) -> None:
        public = PublicIdentity.from_json(word.identity)
        public.verify(replace(word, proof="").canonical(), base64.b64decode(word.proof))
        for key_id in [key_id for key_id, (known, _) in self.nodes.items() if known == node_id]:
            del self.nodes[key_id]
        self.know(node_id, public)
        kept = self.sealed[node_id]
        self.sealed[node_id] = {word.resealed.get(text, text) for text in kept}
        if self.loses_rotations:
            self._send(call, 503, {"code": "service.unavailable"})
            return
        left = tuple(text for text in sorted(self.sealed[node_id]) if sealed_to(text) != public.key_id)
        self._send(call, 200, NodeRotated(key_id=public.key_id, sealed=left).to_json())

    @staticmethod
    def _send(call: http.server.BaseHTTPRequestHandler, status: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        call.send_response(status)
        call.send_header("Content-Length", str(len(data)))
        call.end_headers()
        try:
            call.wfile.write(data)
        except OSError:
            call.close_connection = True  # the node was killed while it was being answered
