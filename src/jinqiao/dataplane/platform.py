"""How a node or a gateway speaks with its platform: JSON contracts and raw chunks over signed HTTP.

Every call is signed with the caller's identity (RFC 9421). Network trouble and answers of 5xx are `PlatformAway`, so that
the caller waits and tries again; an answer with Problem Details (RFC 9457) is `PlatformRefused` and carries its code.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from jinqiao.kernel.contracts.base import Contract, canonical_json
from jinqiao.kernel.contracts.exchange import Problem
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.errors import InvalidInput, JinqiaoError, Unavailable
from jinqiao.kernel.httpsig import IdentitySigner, sign_request

JSON = "application/json"
CHUNK = "application/octet-stream"


class PlatformAway(Unavailable):
    """The platform cannot be reached, or fails. Details: url, reason (name of the fault, never content)."""

    code = "node.platform.away"


class PlatformRefused(JinqiaoError):
    """The platform understood the call and said no. Details: status, code; `problem` is what it said."""

    code = "node.platform.refused"

    def __init__(self, problem: Problem, status: int) -> None:
        super().__init__(status=status, code=problem.code)
        self.problem = problem
        self.status = status


class PlatformAnswerBroken(InvalidInput):
    """The answer is not what the interface says; the address may lead somewhere else than to a platform."""

    code = "node.platform.answer"


class PlatformClient:
    """One caller's connection to its platform; keeps connections open, usable from one thread at a time."""

    def __init__(
        self,
        url: str,
        identity: Identity | None,
        *,
        timeout_s: float = 30.0,
        ca_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url` is the platform's root, e.g. `https://platform.example:8443`. Without `identity` calls go unsigned."""
        self.url = url.rstrip("/")
        self._identity = identity
        trust: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
        self._http = httpx.Client(
            base_url=self.url,
            timeout=timeout_s,
            verify=trust,
            transport=transport,
            trust_env=False,
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def post(self, path: str, contract: Contract, *, timeout_s: float | None = None) -> Any:
        """Send a contract; the answer's JSON, None where the answer is empty."""
        return self._json(self._send("POST", path, canonical_json(contract.to_json()), JSON, timeout_s=timeout_s))

    def get(self, path: str, *, timeout_s: float | None = None) -> Any:
        """The answer's JSON, None for 204."""
        return self._json(self._send("GET", path, b"", None, timeout_s=timeout_s))

    def put_bytes(self, path: str, data: bytes, headers: Mapping[str, str]) -> None:
        self._send("PUT", path, data, CHUNK, headers=headers)

    def get_bytes(self, path: str) -> bytes:
        return self._send("GET", path, b"", None).content

    def _send(
        self,
        method: str,
        path: str,
        body: bytes,
        content_type: str | None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        request = self._http.build_request(
            method,
            path,
            content=body or None,
            headers={**(headers or {}), **({"Content-Type": content_type} if content_type else {}), "Accept": JSON},
            timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
        )
        if self._identity is not None:
            signed = sign_request(
                method,
                str(request.url),
                body,
                key_id=self._identity.key_id,
                signer=IdentitySigner(self._identity),
                headers={"Content-Type": content_type} if content_type else None,
            )
            request.headers.update(signed)
        try:
            response = self._http.send(request)
        except httpx.HTTPError as problem:
            raise PlatformAway(url=self.url, reason=type(problem).__name__) from problem
        if response.is_success:
            return response
        if response.status_code >= 500 or response.status_code in (408, 429):
            raise PlatformAway(url=self.url, reason=str(response.status_code))
        raise PlatformRefused(self._problem(response), response.status_code)

    @staticmethod
    def _problem(response: httpx.Response) -> Problem:
        try:
            said = response.json()
            return Problem(
                code=str(said["code"]), details=dict(said.get("details") or {}), retryable=bool(said.get("retryable"))
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return Problem(code=f"http.{response.status_code}")

    def _json(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as problem:
            raise PlatformAnswerBroken(url=self.url) from problem
