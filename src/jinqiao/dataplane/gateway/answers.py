"""From a permission to the bytes of an answer, one function an operation."""

from dataclasses import dataclass
from typing import Any

import orjson

from jinqiao.dataplane.gateway.policy import Permission
from jinqiao.dataplane.gateway.sources.readers import ServiceReader


@dataclass(frozen=True, slots=True)
class Answer:
    """`rows` is how many rows of the source are in it: what quotas and records count."""

    body: bytes
    content_type: bytes
    rows: int


async def answer_query(call_id: str, permission: Permission, reader: ServiceReader) -> Answer:
    """Rows of one key. Raises what `ServiceReader.read` raises."""
    rows, truncated = await reader.read(permission)
    fields: dict[str, Any] = {
        "call_id": call_id,
        "items": [item.code for item in permission.items],
        "rows": rows,
        "count": len(rows),
        "truncated": truncated,
    }
    return Answer(orjson.dumps(fields), b"application/json; charset=utf-8", len(rows))
