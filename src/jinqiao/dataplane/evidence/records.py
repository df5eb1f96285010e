"""Canonical bytes of a call record, written without the detour through the contract: this runs once per call."""

import json
from datetime import datetime
from typing import Any

import orjson

from jinqiao.kernel.contracts.evidence import CallRecord

_NAME = f"{CallRecord.__name__}/{CallRecord.VERSION}"


def canonical_record(record: CallRecord, *, lane: str, number: int) -> bytes:
    """The same bytes as `replace(record, lane=lane, number=number).canonical()`, without its detours."""
    fields: dict[str, Any] = {
        "_": _NAME,
        "call_id": record.call_id,
        "lane": lane,
        "number": number,
        "at": record.at.isoformat(),
        "gateway": record.gateway,
        "environment": record.environment,
        "service": record.service,
        "operation": record.operation,
        "grant_id": record.grant_id,
        "application": record.application,
        "key_id": record.key_id,
        "address": record.address,
        "consumer": record.consumer,
        "provider": record.provider,
        "purpose": record.purpose,
        "case_number": record.case_number,
        "end_user": record.end_user,
        "role": record.role,
        "items": record.items,
        "outcome": record.outcome,
        "keys": record.keys,
        "rows": record.rows,
        "request_digest": record.request_digest,
        "key_commitment": record.key_commitment,
        "subjects": record.subjects,
        "answer_commitment": record.answer_commitment,
        "confirms": record.confirms,
        "duration_us": record.duration_us,
    }
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def record_from(body: bytes | str) -> CallRecord:
    """Read canonical bytes back; raises ContractBroken or ValueError."""
    return CallRecord.from_json(json.loads(body))


def blank_record(*, call_id: str, at: datetime, gateway: str) -> dict[str, Any]:
    """Fields of a record of which nothing but the fact of the call is known yet; lane and number come from the log."""
    return {
        "call_id": call_id,
        "lane": "",
        "number": 0,
        "at": at,
        "gateway": gateway,
        "service": "",
        "grant_id": "",
        "application": "",
        "key_id": "",
        "consumer": "",
        "provider": "",
        "purpose": "",
        "case_number": "",
        "end_user": "",
        "items": (),
        "outcome": "",
        "rows": 0,
        "request_digest": "",
        "key_commitment": "",
        "answer_commitment": "",
        "duration_us": 0,
    }
