"""A client that signs as a node does."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from jinqiao.kernel.contracts.base import Contract, canonical_json
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.httpsig import IdentitySigner, sign_request
from tests.exchange.standing import served, standing_service, standing_world, world

__all__ = ["served", "standing_service", "standing_world", "world"]

HOST = "testserver"


@pytest.fixture(autouse=True)
def relay(settings: Any, tmp_path: Path) -> Path:
    cache.clear()
    settings.RELAY_ROOT = tmp_path / "relay"
    return tmp_path / "relay"


class Caller:
    """Sends signed calls; `sent` may change the headers between signing and sending."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.client = Client(raise_request_exception=False)

    def send(
        self,
        method: str,
        path: str,
        body: Contract | bytes = b"",
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        change: Callable[[dict[str, str]], dict[str, str]] | None = None,
        sent_body: bytes | None = None,
        created: int | None = None,
    ) -> Any:
        data = canonical_json(body.to_json()) if isinstance(body, Contract) else body
        signed = sign_request(
            method,
            f"http://{HOST}{path}",
            data,
            key_id=self.identity.key_id,
            signer=IdentitySigner(self.identity),
            headers={"Content-Type": content_type} if data else None,
            created=created,
        )
        if change is not None:
            signed = change(signed)
        return self.client.generic(
            method,
            path,
            data if sent_body is None else sent_body,
            content_type=content_type if data else "",
            headers={**signed, **(headers or {})},
        )
