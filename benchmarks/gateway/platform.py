"""The platform's pages and machine interface as a process, on the demo city, and its signed callers: for fuzzing its document."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests.auth import AuthBase

from benchmarks.gateway import load as loads
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.httpsig import IdentitySigner, sign_request
from jinqiao.kernel.keystore import KeyStore
from jinqiao.kernel.ports import free_port
from jinqiao.supervisor import Platform

DOCUMENT = "/api/openapi.json"
GATEWAYS = "/api/gateways/"


@dataclass(frozen=True)
class Served:
    """A running platform: its address, the document that it serves, and who may call by it."""

    url: str
    document: dict[str, Any]
    auth: "SignedByNode"


class SignedByNode(AuthBase):
    """Signs each request as it is sent: by the gateway where gateways call, else by a node of a department."""

    def __init__(self, gateway: Identity, node: Identity) -> None:
        self._gateway, self._node = gateway, node

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        content = body if isinstance(body, bytes) else str(body).encode()
        identity = self._gateway if GATEWAYS in str(request.url) else self._node
        kind = request.headers.get("Content-Type")
        headers = {"Content-Type": kind if isinstance(kind, str) else kind.decode("latin-1")} if kind else {}
        with contextlib.suppress(ValueError, UnicodeError):  # what cannot be signed is sent unsigned, and refused
            signer = IdentitySigner(identity)
            request.headers.update(
                sign_request(str(request.method), str(request.url), content, key_id=identity.key_id, signer=signer, headers=headers)
            )  # fmt: skip
        return request


@contextlib.contextmanager
def platform() -> Iterator[Served]:
    """The demo city is built in a home of its own; its nodes do not run, for the calls are made in their names."""
    for name in [name for name in os.environ if name.startswith(("JINQIAO_", "DATABASE_", "DJANGO_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="jq-fuzz-platform-") as folder:
        home, port = Path(folder) / "home", free_port()
        city = Platform(home, port=port, demo=True)
        city.prepare()
        with (Path(folder) / "log").open("wb") as log:
            processes = [
                subprocess.Popen(
                    [sys.executable, "-m", "jinqiao.cli", *part], env=city.environment, stdout=log, stderr=log
                )
                for part in (["web", str(port)], ["worker"])
            ]
        try:
            loads.wait_for(port, "/api/health/ready", processes[0])
            url = f"http://127.0.0.1:{port}"
            session = requests.Session()
            session.trust_env = False
            document = session.get(f"{url}{DOCUMENT}", timeout=20).json()
            node = sorted((home / "nodes").iterdir())[0]
            identities = (KeyStore(one).identity() for one in (home / "gateway", node))
            yield Served(url, document, SignedByNode(*identities))
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(30)
            city.stop()
