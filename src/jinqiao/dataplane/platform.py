"""How a node or a gateway speaks with its platform: JSON contracts and raw chunks over signed HTTP.

Every call is signed with the caller's identity (RFC 9421). Network trouble and answers of 5xx are `PlatformAway`, so that
the caller waits and tries again; an answer with Problem Details (RFC 9457) is `PlatformRefused` and carries its code.

Signatures bear the platform's time: a machine whose clock is wrong learns from the refusal by how much, and signs again.
"""

import logging
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from jinqiao.kernel.contracts.base import Contract, canonical_json
from jinqiao.kernel.contracts.exchange import Problem
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.errors import InvalidInput, JinqiaoError, Unavailable
from jinqiao.kernel.httpsig import IdentitySigner, sign_request
from jinqiao.kernel.moments import real_time

logger = logging.getLogger(__name__)

JSON = "application/json"
CHUNK = "application/octet-stream"
CLOCK_MAY_DIFFER_S = 60.0
"""Above it a clock counts as wrong: that is said, and signatures are dated by the platform's."""
BELIEVED_S = 2 * 86_400.0
"""A platform that claims more than this is not believed: somebody wants signatures for another day."""


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


class PlatformTime:
    """What time it is at the platform, as far as this machine has heard. Shared by the clients of one process."""

    def __init__(self) -> None:
        self.offset_s = 0.0  # to be added to this machine's clock

    @property
    def is_wrong(self) -> bool:
        """Whether this machine's clock differs too much."""
        return abs(self.offset_s) > CLOCK_MAY_DIFFER_S

    def now(self) -> float:
        """Unix time to sign with."""
        return real_time() + (self.offset_s if self.is_wrong else 0.0)

    def learn(self, platform_now: float) -> bool:
        """Take what the platform has just said; whether it is believed."""
        offset = platform_now - real_time()
        if abs(offset) > BELIEVED_S:
            return False
        was = self.offset_s if self.is_wrong else 0.0
        self.offset_s = offset
        if abs((offset if self.is_wrong else 0.0) - was) > CLOCK_MAY_DIFFER_S:
            if self.is_wrong:
                logger.warning("this machine's clock is %+.0f s off the platform's: set it (NTP)", -offset)
            else:
                logger.info("this machine's clock agrees with the platform's again")
        return True


class PlatformClient:
    """One caller's connection to its platform; keeps connections open, usable from one thread at a time."""

    def __init__(
        self,
        url: str,
        identity: Identity | Callable[[], Identity] | None,
        *,
        timeout_s: float = 30.0,
        ca_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
        time: PlatformTime | None = None,
    ) -> None:
        """`url` is the platform's root, e.g. `https://platform.example:8443`. Without `identity` calls go unsigned; a function
        gives the identity of the moment, where it may be replaced while the client lives."""
        self.url = url.rstrip("/")
        self._identity: Callable[[], Identity | None] = identity if callable(identity) else lambda: identity
        self.time = time or PlatformTime()
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
        for is_last in (False, True):
            request = self._http.build_request(
                method,
                path,
                content=body or None,
                headers={**(headers or {}), **({"Content-Type": content_type} if content_type else {}), "Accept": JSON},
                timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
            )
            identity = self._identity()
            if identity is not None:
                signed = sign_request(
                    method,
                    str(request.url),
                    body,
                    key_id=identity.key_id,
                    signer=IdentitySigner(identity),
                    headers={"Content-Type": content_type} if content_type else None,
                    created=int(self.time.now()),
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
            refusal = self._problem(response)
            if is_last or identity is None or not self._may_sign_again(refusal, identity):
                break
        raise PlatformRefused(refusal, response.status_code)

    def _may_sign_again(self, refusal: Problem, signed_by: Identity) -> bool:
        """A refusal that another signature mends: the clock is wrong, or the key was replaced while the call was on its way."""
        if refusal.code == "signature.outside_window":
            said = refusal.details.get("now")
            return isinstance(said, int | float) and not isinstance(said, bool) and self.time.learn(float(said))
        following = self._identity()
        return (
            refusal.code == "signature.unknown_key" and following is not None and following.key_id != signed_by.key_id
        )

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
