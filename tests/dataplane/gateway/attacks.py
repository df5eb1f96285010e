"""What somebody tries who should get nothing: one entry an attack, with the refusal that it must meet.

Each entry is sent to a gateway whose service offers every operation; whatever happens, no secret of the table (`note`), no row
outside of the grant and no word of the database may be in the answer, and a record of the refusal must be there.
"""

import base64
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx

from tests.dataplane.gateway.world import ANN, CAI, HOST, PURPOSE, SERVICE, STRANGER_SECRET, Caller

PATH = f"/gateway/v1/services/{SERVICE}"
REASON = {"purpose": PURPOSE, "case_number": "GZF-2026-17"}
QUERY = {"by": {"sfzh": ANN}, "items": ["xm"], **REASON}
INJECTIONS = (
    "' OR '1'='1", "'; DROP TABLE person; --", "620302199001010015' UNION SELECT note FROM person --", "\" OR \"\"=\"",
    "%' OR note LIKE '%", "$1", "?", "sfzh) OR (1=1", "(SELECT note FROM person LIMIT 1)", "x\\'; SELECT pg_sleep(9); --",
)  # fmt: skip

Send = Callable[[Caller], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Attack:
    """`code` is the refusal's; empty where an answer may be given that holds no row."""

    name: str
    send: Send
    code: str


def _ask(name: str, code: str, body: Any = None, *, operation: str = "query", **options: Any) -> Attack:
    content = (
        body if isinstance(body, bytes) else {**QUERY, **(body or {})} if operation == "query" else {**REASON, **body}
    )

    late_s = options.pop("late_s", None)

    async def send(caller: Caller) -> httpx.Response:
        given = {"path": f"{PATH}/{operation}"} | options
        if late_s is not None:
            given["created"] = int(time.time()) - late_s
        return await caller.ask(content, **given)

    return Attack(name, send, code)


def _changed(name: str, code: str, change: Callable[[dict[str, str]], None], **options: Any) -> Attack:
    return _ask(name, code, change=change, **options)


def _set(header: str, old: str, new: str | Callable[[re.Match[str]], str]) -> Callable[[dict[str, str]], None]:
    def change(headers: dict[str, str]) -> None:
        changed, count = re.subn(old, new, headers[header])
        assert count, f"{header} has no {old}"
        headers[header] = changed

    return change


def _without(*names: str) -> Callable[[dict[str, str]], None]:
    def change(headers: dict[str, str]) -> None:
        for name in names:
            headers.pop(name)

    return change


def _twice_with_one_nonce(caller: Caller) -> Awaitable[httpx.Response]:
    async def send() -> httpx.Response:
        assert (await caller.ask(QUERY, nonce="a-nonce-that-was-overheard")).status_code == 200
        return await caller.ask({**QUERY, "items": ["hyzk"]}, nonce="a-nonce-that-was-overheard")

    return send()


def _the_same_bytes_again(caller: Caller) -> Awaitable[httpx.Response]:
    async def send() -> httpx.Response:
        first = await caller.ask(QUERY)
        assert first.status_code == 200
        return await caller.client.send(
            httpx.Request("POST", first.request.url, headers=first.request.headers, content=first.request.content)
        )

    return send()


def _header_twice(name: str) -> Attack:
    async def send(caller: Caller) -> httpx.Response:
        given = await caller.ask(QUERY)
        headers = [(key, value) for key, value in given.request.headers.multi_items() if key != "content-length"]
        headers.append((name, dict(headers).get(name, "x")))
        return await caller.client.request(
            "POST", f"http://{HOST}{PATH}/query", content=given.request.content, headers=headers
        )

    return Attack(f"the header {name} twice", send, "gateway.request.header_repeated")


def _list(name: str, code: str, **body: Any) -> Attack:
    return _ask(name, code, {"items": ["xm"], **body}, operation="list")


def _forged_cursor(caller: Caller) -> Awaitable[httpx.Response]:
    async def send() -> httpx.Response:
        forged = base64.urlsafe_b64encode(json.dumps({"after": ["A"]}).encode()).decode()
        return await caller.ask({"items": ["xm"], "page": {"after": forged}, **REASON}, path=f"{PATH}/list")

    return send()


ATTACKS: tuple[Attack, ...] = (
    # ── who calls ──
    Attack("a nonce again, with another question", _twice_with_one_nonce, "signature.replayed"),
    Attack("the same bytes again", _the_same_bytes_again, "signature.replayed"),
    _changed("no signature", "signature.missing", _without("Signature", "Signature-Input")),
    _changed("a signature without its input", "signature.missing", _without("Signature-Input")),
    _changed("the signature cut short", "signature.wrong", _set("Signature", r"=:.{8}", "=:")),
    _changed("an empty signature", "signature.wrong", _set("Signature", r":.*:", "::")),
    _changed("another time than was signed", "signature.wrong", _set("Signature-Input", r"created=(\d+)", lambda found: f"created={int(found[1]) ^ 1}")),
    _changed("another nonce than was signed", "signature.wrong", _set("Signature-Input", r'nonce="', 'nonce="x')),
    _changed("the algorithm swapped for one that the key has not", "signature.unknown_key", _set("Signature-Input", "hmac-sha256", "ed25519")),
    _changed("the algorithm 'none'", "signature.unknown_key", _set("Signature-Input", "hmac-sha256", "none")),
    _changed("the algorithm in capitals", "signature.unknown_key", _set("Signature-Input", "hmac-sha256", "HMAC-SHA256")),
    _changed("the key of another application named", "signature.wrong", _set("Signature-Input", "key-housing", "key-stranger")),
    _changed("a key that is not there", "signature.unknown_key", _set("Signature-Input", "key-housing", "key-nobody")),
    _changed("the body's digest not covered", "signature.malformed", _set("Signature-Input", ' "content-digest"', "")),
    _changed("the path not covered", "signature.malformed", _set("Signature-Input", ' "@path"', "")),
    _changed("the method covered twice", "signature.malformed", _set("Signature-Input", '"@method"', '"@method" "@method"')),
    _changed("no nonce", "signature.malformed", _set("Signature-Input", ';nonce="[^"]*"', "")),
    _changed("a nonce of one character", "signature.malformed", _set("Signature-Input", 'nonce="[^"]*"', 'nonce="n"')),
    _changed("two signatures of ours", "signature.malformed", _set("Signature-Input", r"^jinqiao=(.*)$", r"jinqiao=\1, other=\1")),
    _changed("the digest of another body", "signature.digest_mismatch", _set("Content-Digest", r":.*:", f":{base64.b64encode(bytes(32)).decode()}:")),
    _changed("a digest of an algorithm that is not known", "signature.malformed", _set("Content-Digest", "sha-256", "md5")),
    _ask("601 seconds late", "signature.outside_window", late_s=602),
    _ask("601 seconds early", "signature.outside_window", late_s=-602),
    *(_header_twice(name) for name in ("signature", "signature-input", "content-digest", "content-type", "host")),
    # ── the form of a call ──
    _ask("a query string beside the body", "gateway.request.query_string", path=f"{PATH}/query?items=note"),
    _ask("another method", "gateway.request.method", method="PUT"),
    _ask("a body that says it is a form", "gateway.request.content_type", content_type="application/x-www-form-urlencoded"),
    _ask("a compressed body", "gateway.request.content_type", headers={"Content-Encoding": "gzip"}),
    _ask("a body of 65 KiB", "gateway.request.too_large", b'{"by": "' + b"x" * 66_000 + b'"}'),
    _ask("a name twice in the body", "gateway.request.not_json", b'{"by": {"sfzh": "1"}, "by": {"sfzh": "2"}, "items": ["xm"]}'),
    _ask("a name twice within the key", "gateway.request.not_json", b'{"by": {"sfzh": "1", "sfzh": "2"}, "items": ["xm"]}'),
    _ask("NaN", "gateway.request.not_json", b'{"by": {"xh": NaN}, "items": ["xm"]}'),
    _ask("brackets ten thousand deep", "gateway.request.not_json", b"[" * 10_000),
    _ask("half a character", "gateway.request.not_json", b'{"by": {"sfzh": "\xff"}, "items": ["xm"]}'),
    _ask("a field that is not known", "gateway.request.field", {"where": "1=1"}),
    _ask("the fields of another operation", "gateway.request.field", {"filter": []}),
    _ask("an item twice", "gateway.request.field", {"items": ["xm", "xm"]}),
    _ask("a list where a value belongs", "gateway.request.field", {"by": {"sfzh": [ANN, CAI]}}),
    _ask("an object where a value belongs", "gateway.request.field", {"by": {"sfzh": {"$ne": ""}}}),
    _ask("a NUL in a field", "gateway.request.field", {"end_user": "a\x00b"}),
    _ask("a line break in the case number", "gateway.request.field", {"case_number": "GZF\n2026-01-01 ok"}),
    _ask("a case number of blanks that cannot be seen", "gateway.request.field", {"case_number": "\u200b\u3000"}),
    # ── the path ──
    _ask("dots in other clothes", "gateway.service.unknown", path="/gateway/v1/services/%2e%2e%2f%2e%2e/query"),
    _ask("the service in other clothes", "gateway.service.unknown", path="/gateway/v1/services/hunyin%2Ddengji%2D001/query"),
    _ask("the service in capitals", "gateway.service.unknown", path=f"/gateway/v1/services/{SERVICE.upper()}/query"),
    _ask("the service with a hyphen that looks alike", "gateway.service.unknown", path="/gateway/v1/services/hunyin%E2%80%91dengji%E2%80%91001/query"),
    _ask("an operation in capitals", "gateway.request.path_unknown", path=f"{PATH}/QUERY"),
    _ask("two slashes", "gateway.request.path_unknown", path=f"/gateway/v1/services//{SERVICE}/query"),
    _ask("a file of the machine", "gateway.request.path_unknown", path="/gateway/v1/services/..%2f..%2fetc/passwd"),
    # ── more than was granted ──
    _ask("an item that no grant gives", "gateway.items.not_granted", {"items": ["note"]}),
    _ask("every item by a star", "gateway.items.not_granted", {"items": ["*"]}),
    _ask("a column instead of its item", "gateway.items.not_granted", {"items": ["name"]}),
    _ask("an item in letters that look alike", "gateway.items.not_granted", {"items": ["хм"]}),
    _ask("an expression as an item", "gateway.items.not_granted", {"items": ['xm", note']}),
    _ask("another purpose", "gateway.purpose.not_granted", {"purpose": "打听"}),
    _ask("the purpose with a blank", "gateway.purpose.not_granted", {"purpose": f"{PURPOSE} "}),
    _ask("no purpose", "gateway.purpose.missing", {"purpose": ""}),
    _ask("no case number", "gateway.case_number.missing", {"case_number": ""}),
    _ask("by another item than the key", "gateway.keys.not_exact", {"by": {"xm": "安小雅"}}),
    _ask("by the key and something more", "gateway.keys.not_exact", {"by": {"sfzh": ANN, "note": "绝密备注一"}}),
    _ask("an empty key", "gateway.keys.not_valid", {"by": {"sfzh": ""}}),
    _ask("a person of another county", "", {"by": {"sfzh": CAI}}),
    *(_ask(f"SQL in the key: {text}", "", {"by": {"sfzh": text}}) for text in INJECTIONS),
    *(_ask(f"SQL as an item: {text}", "gateway.items.not_granted", {"items": [text]}) for text in INJECTIONS[:3]),
    _ask("keys one after another in one batch", "gateway.batch.too_large", {"by": [{"sfzh": f"62030219900101{n:04d}"} for n in range(101)], "items": ["xm"]}, operation="batch"),
    _ask("one wrong key within a batch", "gateway.keys.not_exact", {"by": [{"sfzh": ANN}, {"note": "x"}], "items": ["xm"]}, operation="batch"),
    _ask("a claim on what no grant gives", "gateway.claims.not_granted", {"by": {"sfzh": ANN}, "claims": {"note": "绝密备注一"}}, operation="verify"),
    _list("a filter on a column that no grant gives", "gateway.filter.not_allowed", filter=[{"item": "note", "op": "eq", "value": "绝密备注一"}]),
    _list("a filter on a masked item", "gateway.filter.not_allowed", filter=[{"item": "sfzh", "op": "prefix", "value": "6203"}]),
    _list("a filter on the column of the row filter", "gateway.filter.not_allowed", filter=[{"item": "area", "op": "eq", "value": "620321"}]),
    _list("an order by a column that no grant gives", "gateway.filter.not_allowed", order=[{"item": "note"}]),
    _list("an order by a masked item", "gateway.filter.not_allowed", order=[{"item": "sfzh"}]),
    _list("an operator that is none", "gateway.request.field", filter=[{"item": "xh", "op": "<> 0 OR 1", "value": 1}]),
    _list("SQL as the value of a number", "gateway.filter.not_valid", filter=[{"item": "xh", "op": "eq", "value": "1 OR 1=1"}]),
    _list("a page of a million rows", "gateway.request.field", page={"size": 1_000_000}),
    Attack("a cursor made by oneself", _forged_cursor, "gateway.page.cursor"),
    _ask("a count by a column that no grant gives", "gateway.filter.not_allowed", {"filter": [{"item": "note", "op": "prefix", "value": "绝"}]}, operation="count"),
)  # fmt: skip


def stranger(caller: Caller) -> Caller:
    """An application of another department, with a key of its own."""
    return replace(caller, key_id="key-stranger", secret=STRANGER_SECRET)
