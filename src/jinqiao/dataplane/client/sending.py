"""One signed request and its answer; tried again only where that is safe."""

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from jinqiao.dataplane.client.errors import AnswerNotUnderstood, GatewayUnreachable, Refused
from jinqiao.kernel.errors import Language
from jinqiao.kernel.httpsig import Signer, sign_request

JSON = "application/json"
LONGEST_WAIT_S = 30.0
"""A gateway that wants longer is not waited for: the caller decides."""


class Sender:
    """Signs and sends. Every attempt is signed anew: a nonce is never sent twice.

    Tried again is what was not answered: a connection that was not made, and refusals that say `retryable` (too busy, source
    away) after the time they ask for. What was sent and got no answer is not: it may have been answered and counted.
    """

    def __init__(
        self,
        url: str,
        *,
        key_id: str,
        signer: Signer,
        timeout_s: float,
        language: Language,
        ca_file: Path | None,
        certificate: tuple[Path, Path] | None,
        retries: int,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self.url, self.host = url, urlsplit(url).netloc
        self._key_id, self._signer, self._language, self._retries = key_id, signer, language, retries
        trust: ssl.SSLContext | bool = True
        if ca_file or certificate:
            trust = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
            if certificate:
                trust.load_cert_chain(*certificate)
        self._http = httpx.Client(
            timeout=timeout_s, verify=trust, transport=transport, trust_env=False, follow_redirects=False
        )

    def close(self) -> None:
        self._http.close()

    def send(self, method: str, target: str, body: bytes = b"", content_type: str = JSON) -> httpx.Response:
        """The answer of status 200. Raises Refused, GatewayUnreachable, AnswerNotUnderstood."""
        for left in range(self._retries, -1, -1):
            try:
                response = self._once(method, target, body, content_type)
            except (httpx.ConnectError, httpx.ConnectTimeout) as problem:
                if not left:
                    raise self._unreachable(problem) from problem
                time.sleep(0.2 * (self._retries - left + 1))
                continue
            except httpx.HTTPError as problem:
                raise self._unreachable(problem) from problem
            if response.status_code == 200:
                return response
            refusal, again = self._refusal(response)
            if not left or not again or (refusal.retry_after_s or 0) > LONGEST_WAIT_S:
                raise refusal
            time.sleep(refusal.retry_after_s or 0)
        raise AssertionError("the last attempt answers or raises")

    def _once(self, method: str, target: str, body: bytes, content_type: str) -> httpx.Response:
        kind = {"Content-Type": content_type} if body else {}
        headers = {**kind, "Accept": JSON, "Accept-Language": self._language}
        request = self._http.build_request(method, f"{self.url}{target}", content=body, headers=headers)
        request.headers.update(
            sign_request(method, str(request.url), body, key_id=self._key_id, signer=self._signer, headers=kind)
        )
        return self._http.send(request)

    def _unreachable(self, problem: Exception) -> GatewayUnreachable:
        return GatewayUnreachable(host=self.host, reason=type(problem).__name__)

    def _refusal(self, response: httpx.Response) -> tuple[Refused, bool]:
        """The gateway's no, and whether the same question may be asked again. Raises AnswerNotUnderstood."""
        wait = response.headers.get("retry-after", "")
        try:
            said: Mapping[str, Any] = response.json()
            refusal = Refused(
                refusal=str(said["code"]),
                status=response.status_code,
                message=str(said["title"]),
                mend=str(said.get("detail", "")),
                call_id=str(said.get("call_id", "")),
                retry_after_s=float(wait) if wait.isdigit() else None,
            )
            return refusal, bool(said.get("retryable", False))
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise AnswerNotUnderstood(host=self.host, status=response.status_code) from problem
