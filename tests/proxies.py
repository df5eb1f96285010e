"""Reverse proxies that end mutual TLS before a gateway: HAProxy of the machine, with the configuration that docs/operating.md shows,
and a small relay of our own for machines without it. Both say by which certificate the caller came, and let nobody else say it.
"""

import hashlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from jinqiao.kernel.ports import free_port

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "operating.md"
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
CERTIFICATE = "X-Client-Certificate-SHA256"


def documented() -> str:
    """HAProxy's configuration as the document shows it."""
    found = re.search(r"```\n(defaults\n.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, "the document shows no configuration"
    return found[1]


@contextmanager
def haproxy(folder: Path, server: tuple[Path, Path], clients: Path, gateway_port: int) -> Iterator[int]:
    """Its port. `server`: its certificate and key; `clients`: the authority of client certificates."""
    assert HAPROXY is not None
    port, both, file = free_port(), folder / "haproxy-server.pem", folder / "haproxy.cfg"
    both.write_bytes(server[0].read_bytes() + server[1].read_bytes())
    text = documented()
    for shown, ours in (
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("/etc/haproxy/gateway.pem", str(both)),
        ("/etc/haproxy/applications-ca.pem", str(clients)),
        ("127.0.0.1:8010", f"127.0.0.1:{gateway_port}"),
    ):
        assert shown in text, shown
        text = text.replace(shown, ours)
    file.write_text(text)
    with (folder / "haproxy.log").open("ab") as log:
        process = subprocess.Popen([HAPROXY, "-db", "-f", str(file)], stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder / "haproxy.log")
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def relay(folder: Path, server: tuple[Path, Path], clients: Path, gateway_port: int) -> Iterator[int]:
    """The same in a thread of this process."""
    del folder

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            shown = self.connection.getpeercert(binary_form=True)  # type: ignore[attr-defined]  # a TLS socket
            headers = {name: value for name, value in self.headers.items() if name.lower() != CERTIFICATE.lower()}
            headers["X-Forwarded-For"] = str(self.client_address[0])
            if shown:
                headers[CERTIFICATE] = hashlib.sha256(shown).hexdigest()
            onward = http.client.HTTPConnection("127.0.0.1", gateway_port, timeout=20)
            onward.request(self.command, self.path, body, headers)
            answer = onward.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            onward.close()

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:  # a refused handshake is what some tests are about
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server)
    context.load_verify_locations(clients)
    context.verify_mode = ssl.CERT_OPTIONAL
    listening = Quiet(("127.0.0.1", 0), Handler)
    listening.socket = context.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield listening.server_address[1]
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)
        else:
            return
