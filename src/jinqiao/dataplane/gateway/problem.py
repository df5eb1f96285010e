"""Errors as Problem Details (RFC 9457) in the caller's language."""

import json
import re
from typing import Any

from jinqiao.kernel.errors import JinqiaoError, Language

PROBLEM_TYPE = b"application/problem+json; charset=utf-8"
RETRY_AFTER_S = 2
_RANGE = re.compile(r"\s*([a-zA-Z*]{1,8})(?:-[a-zA-Z0-9-]{1,30})?\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?))?\s*", re.ASCII)


def language_of(accept_language: str) -> Language:
    """Chinese unless English is wanted more."""
    wishes = {"zh": 0.0, "en": 0.0}
    for part in accept_language[:200].split(","):
        match = _RANGE.fullmatch(part)
        if match and (name := match[1].lower()) in wishes:
            wishes[name] = max(wishes[name], float(match[2] or 1))
    return "en" if wishes["en"] > wishes["zh"] else "zh"


def problem_body(error: JinqiaoError, *, language: Language, call_id: str) -> bytes:
    """The body of a refusal: `code` for programs, `title` and `detail` for people, `call_id` to find the record by."""
    text = error.text(language)
    fields: dict[str, Any] = {
        "type": f"urn:jinqiao:error:{error.code}",
        "title": text.message,
        "status": error.http_status,
        "detail": text.mend,
        "code": error.code,
        "retryable": error.retryable,
        "details": {name: value for name, value in error.details.items() if isinstance(value, str | int)},
    }
    if text.clause:
        fields["clause"] = text.clause
    if call_id:
        fields["call_id"] = call_id
    return json.dumps(fields, ensure_ascii=False).encode("utf-8")


def extra_headers(error: JinqiaoError) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    wait = error.details.get("retry_after", RETRY_AFTER_S if error.retryable else None)
    if wait is not None:
        headers.append((b"retry-after", str(wait).encode()))
    if error.http_status == 401:
        headers.append((b"www-authenticate", b'Signature realm="jinqiao"'))
    if error.http_status == 405:
        headers.append((b"allow", str(error.details.get("allowed", "")).encode()))
    return headers
