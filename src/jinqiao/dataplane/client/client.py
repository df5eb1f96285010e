"""The operations of a query gateway, each a method."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

import httpx

from jinqiao.dataplane.client.answers import Answer, BatchAnswer, Counted, Found, Page, Row, Verification
from jinqiao.dataplane.client.errors import AnswerNotUnderstood, KeysNotReadable
from jinqiao.dataplane.client.journal import RECEIPTS_PATH, Journal
from jinqiao.dataplane.client.sending import Sender
from jinqiao.kernel.errors import Language
from jinqiao.kernel.httpsig import HmacSigner, Signer

SALT_HEADER = "jinqiao-answer-salt"
T = TypeVar("T")


class GatewayClient:
    """Calls of one application, to production or to the sandbox."""

    def __init__(
        self,
        url: str,
        *,
        key_id: str,
        secret: str | bytes = b"",
        key: Signer | None = None,
        algorithm: str = "hmac-sha256",
        sandbox: bool = False,
        timeout_s: float = 20.0,
        retries: int = 2,
        language: Language = "zh",
        ca_file: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
        transport: httpx.BaseTransport | None = None,
        journal: Journal | None = None,
    ) -> None:
        """`url` is the gateway's root. Either `secret`, the text that the platform showed once, with its `algorithm` (hmac-sha256
        or hmac-sm3); or `key`, a `KeyPair`. `certificate`: files of a client certificate and its key. `journal`: where each
        answered call is written down before its answer is handed on, for `send_receipts`. Raises ValueError for another
        algorithm."""
        self._journal = journal
        self.url = url.rstrip("/")
        self._base = f"/gateway{'/sandbox' if sandbox else ''}/v1"
        self._sender = Sender(
            self.url,
            key_id=key_id,
            signer=key or HmacSigner(algorithm, secret.encode("utf-8") if isinstance(secret, str) else secret),
            timeout_s=timeout_s,
            language=language,
            ca_file=ca_file,
            certificate=certificate,
            retries=retries,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._sender.close()

    def query(
        self,
        service: str,
        *,
        by: Mapping[str, Any],
        items: Sequence[str],
        purpose: str,
        case_number: str = "",
        end_user: str = "",
        role: str = "",
    ) -> Answer:
        """Ask one service for items of the rows that `by` names.

        This and all other operations raise Refused (the gateway's no), GatewayUnreachable, AnswerNotUnderstood.
        """
        question = {"by": dict(by), "items": list(items)} | _reason(purpose, case_number, end_user, role)
        return self._ask(service, "query", question, _answer)

    def batch(
        self,
        service: str,
        *,
        by: Sequence[Mapping[str, Any]],
        items: Sequence[str],
        purpose: str,
        case_number: str = "",
        end_user: str = "",
        role: str = "",
    ) -> BatchAnswer:
        """Ask for many keys at once; results are in their order."""
        question = {"by": [dict(key) for key in by], "items": list(items)}
        return self._ask(service, "batch", question | _reason(purpose, case_number, end_user, role), _batch)

    def batch_file(
        self,
        service: str,
        file: Path,
        *,
        items: Sequence[str],
        purpose: str,
        case_number: str = "",
        end_user: str = "",
        role: str = "",
    ) -> BatchAnswer:
        """Ask for the keys of a CSV file in UTF-8 with item codes in its first line. Raises KeysNotReadable as
        well."""
        try:
            body = file.read_bytes()
        except OSError as problem:
            raise KeysNotReadable(file=str(file)) from problem
        parameters = {"items": ",".join(items)} | _reason(purpose, case_number, end_user, role)
        target = f"{self._path(service, 'batch')}?{urlencode(parameters, quote_via=quote)}"
        return self._read(self._sender.send("POST", target, body, "text/csv"), _batch, service)

    def verify(
        self,
        service: str,
        *,
        by: Mapping[str, Any],
        claims: Mapping[str, Any],
        purpose: str,
        case_number: str = "",
        end_user: str = "",
        role: str = "",
    ) -> Verification:
        """Are these values right? No value is answered."""
        question = {"by": dict(by), "claims": dict(claims)} | _reason(purpose, case_number, end_user, role)
        return self._ask(service, "verify", question, _verification)

    def count(
        self,
        service: str,
        *,
        purpose: str,
        filter: Sequence[Mapping[str, Any]] = (),
        case_number: str = "",
        end_user: str = "",
        role: str = "",
    ) -> Counted:
        """How many rows the filters find: `{"item", "op": "eq|ge|le|prefix", "value"}` or `{"item", "op": "in", "values"}`."""
        question = {"filter": [dict(one) for one in filter]} | _reason(purpose, case_number, end_user, role)
        return self._ask(service, "count", question, _counted)

    def pages(
        self,
        service: str,
        *,
        items: Sequence[str],
        purpose: str,
        filter: Sequence[Mapping[str, Any]] = (),
        order: Sequence[Mapping[str, str]] = (),
        page_size: int | None = None,
        case_number: str = "",
        end_user: str = "",
        role: str = "",
    ) -> Iterator[Page]:
        """Pages of a list, each asked for when it is wanted. `order`: `{"item", "direction": "asc|desc"}`."""
        question: dict[str, Any] = {
            "items": list(items),
            "filter": [dict(one) for one in filter],
            "order": [dict(one) for one in order],
            **_reason(purpose, case_number, end_user, role),
        }
        size = {} if page_size is None else {"size": page_size}
        after: dict[str, str] = {}
        while True:
            page = self._ask(service, "list", {**question, "page": {**size, **after}}, _page)
            yield page
            if page.next is None:
                return
            after = {"after": page.next}

    def list(self, service: str, **question: Any) -> Iterator[Row]:
        """Rows of a list, over all its pages; arguments as for `pages`."""
        for page in self.pages(service, **question):
            yield from page.rows

    def examples(self, service: str) -> Mapping[str, Any]:
        """What the sandbox of a service can be asked for. Of a client with `sandbox`."""
        return self._read(self._sender.send("GET", self._path(service, "examples")), lambda said, _told: said)

    def openapi(self) -> Mapping[str, Any]:
        """The OpenAPI document of what this application may ask."""
        return self._read(self._sender.send("GET", "/gateway/v1/openapi.json"), lambda said, _told: said)

    def send_receipts(self) -> int:
        """Confirm the answers of the journal to the gateway, where both sides' records then stand; how many. Raises ValueError
        without a journal."""
        if self._journal is None:
            raise ValueError("the client keeps no journal")
        return self._journal.send_receipts(lambda body: self._sender.send("POST", RECEIPTS_PATH, body))

    def _path(self, service: str, last: str) -> str:
        return f"{self._base}/services/{quote(service, safe='')}/{last}"

    def _ask(
        self,
        service: str,
        operation: str,
        question: Mapping[str, Any],
        read: Callable[[Mapping[str, Any], dict[str, Any]], T],
    ) -> T:
        body = json.dumps(question, ensure_ascii=False).encode("utf-8")
        return self._read(self._sender.send("POST", self._path(service, operation), body), read, service)

    def _read(
        self, response: httpx.Response, read: Callable[[Mapping[str, Any], dict[str, Any]], T], service: str = ""
    ) -> T:
        try:
            said = response.json()
            if not isinstance(said, dict):
                raise TypeError("not an object")
            told = {
                "call_id": str(said.get("call_id", "")),
                "salt": response.headers.get(SALT_HEADER, ""),
                "body": response.content,
            }
            answer = read(said, told)
        except (ValueError, KeyError, TypeError) as problem:
            raise AnswerNotUnderstood(host=self._sender.host, status=response.status_code) from problem
        if self._journal is not None and service and told["salt"]:
            self._journal.note(
                call_id=told["call_id"],
                service=service,
                request=response.request.content,
                answer=response.content,
                salt=told["salt"],
            )
        return answer


def _reason(purpose: str, case_number: str, end_user: str, role: str) -> dict[str, str]:
    given = {"purpose": purpose, "case_number": case_number, "end_user": end_user, "role": role}
    return {name: value for name, value in given.items() if value or name == "purpose"}


def _answer(said: Mapping[str, Any], told: dict[str, Any]) -> Answer:
    return Answer(
        **told,
        items=tuple(said["items"]),
        rows=tuple(said["rows"]),
        count=int(said["count"]),
        truncated=bool(said["truncated"]),
    )


def _batch(said: Mapping[str, Any], told: dict[str, Any]) -> BatchAnswer:
    results = tuple(
        Found(rows=tuple(one["rows"]), count=int(one["count"]), truncated=bool(one["truncated"]))
        for one in said["results"]
    )
    return BatchAnswer(**told, items=tuple(said["items"]), results=results, count=int(said["count"]))


def _verification(said: Mapping[str, Any], told: dict[str, Any]) -> Verification:
    return Verification(**told, result=str(said["result"]), agrees=said.get("agrees"))


def _page(said: Mapping[str, Any], told: dict[str, Any]) -> Page:
    return Page(**told, items=tuple(said["items"]), rows=tuple(said["rows"]), next=said["next"])


def _counted(said: Mapping[str, Any], told: dict[str, Any]) -> Counted:
    return Counted(**told, count=said["count"], fewer_than=said.get("fewer_than"))
