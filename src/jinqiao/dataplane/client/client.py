"""One signed call to a query gateway."""

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from jinqiao.dataplane.client.errors import AnswerNotUnderstood, GatewayUnreachable, Refused
from jinqiao.kernel.errors import Language
from jinqiao.kernel.httpsig import HmacSigner, sign_request

JSON = "application/json"
SALT_HEADER = "jinqiao-answer-salt"


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows by item code. `salt` and `body` prove later that this was the answer: HMAC(salt, body) is the commitment in the
    gateway's record of the call. `truncated`: the service's row cap left rows out."""

    call_id: str
    items: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    count: int
    truncated: bool
    salt: str
    body: bytes


class GatewayClient:
    """Calls of one application. The secret is the text that the platform showed once when the key was issued."""

    def __init__(
        self,
        url: str,
        *,
        key_id: str,
        secret: str | bytes,
        algorithm: str = "hmac-sha256",
        timeout_s: float = 20.0,
        language: Language = "zh",
        ca_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url` is the gateway's root. `algorithm` is hmac-sha256 or hmac-sm3, as the key was issued. Raises ValueError for
        another one."""
        self.url = url.rstrip("/")
        self._key_id = key_id
        self._signer = HmacSigner(algorithm, secret.encode("utf-8") if isinstance(secret, str) else secret)
        self._language = language
        trust: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
        self._http = httpx.Client(
            timeout=timeout_s, verify=trust, transport=transport, trust_env=False, follow_redirects=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def query(
        self,
        service: str,
        *,
        by: Mapping[str, Any],
        items: Sequence[str],
        purpose: str,
        case_number: str = "",
        end_user: str = "",
    ) -> Answer:
        """Ask one service for items of the rows that `by` names.

        Raises Refused (the gateway's no), GatewayUnreachable, AnswerNotUnderstood.
        """
        question = {
            "by": dict(by),
            "items": list(items),
            "purpose": purpose,
            "case_number": case_number,
            "end_user": end_user,
        }
        body = json.dumps(question, ensure_ascii=False).encode("utf-8")
        request = self._http.build_request(
            "POST",
            f"{self.url}/gateway/v1/services/{quote(service, safe='')}/query",
            content=body,
            headers={"Content-Type": JSON, "Accept": JSON, "Accept-Language": self._language},
        )
        request.headers.update(
            sign_request(
                "POST", str(request.url), body, key_id=self._key_id, signer=self._signer, headers={"Content-Type": JSON}
            )
        )
        host = urlsplit(self.url).netloc
        try:
            response = self._http.send(request)
        except httpx.HTTPError as problem:
            raise GatewayUnreachable(host=host, reason=type(problem).__name__) from problem
        return self._read(response, host)

    def _read(self, response: httpx.Response, host: str) -> Answer:
        try:
            said = response.json()
            if response.status_code != 200:
                wait = response.headers.get("retry-after", "")
                raise Refused(
                    refusal=str(said["code"]),
                    status=response.status_code,
                    message=str(said["title"]),
                    mend=str(said.get("detail", "")),
                    call_id=str(said.get("call_id", "")),
                    retry_after_s=float(wait) if wait.isdigit() else None,
                )
            return Answer(
                call_id=str(said["call_id"]),
                items=tuple(said["items"]),
                rows=tuple(said["rows"]),
                count=int(said["count"]),
                truncated=bool(said["truncated"]),
                salt=response.headers.get(SALT_HEADER, ""),
                body=response.content,
            )
        except (ValueError, KeyError, TypeError) as problem:
            raise AnswerNotUnderstood(host=host, status=response.status_code) from problem
