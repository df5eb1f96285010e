"""Canonical bytes of a call record, written without the detour through the contract: this runs once per call."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import orjson
from msgspec import Struct
from msgspec.json import Encoder

from jinqiao.kernel.contracts.evidence import BodiesDeleted, CallRecord

_NAME = f"{CallRecord.__name__}/{CallRecord.VERSION}"


class Recordable(Protocol):
    """What a record of a call is made of (`CallRecord`, without its place in the log)."""

    call_id: str
    at: datetime
    gateway: str
    environment: str
    service: str
    operation: str
    grant_id: str
    application: str
    key_id: str
    address: str
    consumer: str
    provider: str
    purpose: str
    case_number: str
    end_user: str
    role: str
    items: tuple[str, ...]
    outcome: str
    keys: int
    rows: int
    request_digest: str
    key_commitment: str
    subjects: tuple[str, ...]
    answer_commitment: str
    confirms: str
    duration_us: int


class _Line(Struct, gc=False, rename={"kind": "_"}):
    """The fields of a record in the order of their names, in which canonical JSON has them."""

    kind: str
    address: str
    answer_commitment: str
    application: str
    at: str
    call_id: str
    case_number: str
    confirms: str
    consumer: str
    duration_us: int
    end_user: str
    environment: str
    gateway: str
    grant_id: str
    items: tuple[str, ...]
    key_commitment: str
    key_id: str
    keys: int
    lane: str
    number: int
    operation: str
    outcome: str
    provider: str
    purpose: str
    request_digest: str
    role: str
    rows: int
    service: str
    subjects: tuple[str, ...]


_encode = Encoder().encode


def canonical_record(record: CallRecord | Recordable | BodiesDeleted, *, lane: str, number: int) -> bytes:
    """The same bytes as `replace(record, lane=lane, number=number).canonical()`, without its detours."""
    if isinstance(record, BodiesDeleted):
        return replace(record, lane=lane, number=number).canonical()
    return _encode(
        _Line(
            _NAME,
            record.address,
            record.answer_commitment,
            record.application,
            orjson.dumps(record.at)[1:-1].decode(),  # as `isoformat` writes it, at a third of its price
            record.call_id,
            record.case_number,
            record.confirms,
            record.consumer,
            record.duration_us,
            record.end_user,
            record.environment,
            record.gateway,
            record.grant_id,
            record.items,
            record.key_commitment,
            record.key_id,
            record.keys,
            lane,
            number,
            record.operation,
            record.outcome,
            record.provider,
            record.purpose,
            record.request_digest,
            record.role,
            record.rows,
            record.service,
            record.subjects,
        )
    )


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
