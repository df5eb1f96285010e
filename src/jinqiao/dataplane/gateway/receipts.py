"""Receipts of the other side: an application says of calls which answers it got, and that word stands in the same chain.

POST /gateway/v1/receipts     {"receipts": [{"call_id": …, "answer_commitment": …}, …]}, signed like a call

The commitment is HMAC(salt, bytes of the answer), hex, with the salt of the answer's `jinqiao-answer-salt` header. What a receipt
says is not judged here: the centre pairs it with the record of the call.
"""

import asyncio
import os
import re
import time
from dataclasses import dataclass

import orjson

from jinqiao.dataplane.evidence.log import EvidenceLog
from jinqiao.dataplane.evidence.records import blank_record
from jinqiao.dataplane.gateway.admission import Request, admit
from jinqiao.dataplane.gateway.answers import Answer
from jinqiao.dataplane.gateway.calls import Call, CallDesk, is_json
from jinqiao.dataplane.gateway.errors import (
    BodyNotJson,
    ContentTypeNotTaken,
    FieldNotValid,
    MethodNotOffered,
    PolicyExpired,
    PolicyMissing,
    QueryStringNotTaken,
)
from jinqiao.dataplane.gateway.http import Receive, Scope, headers_of, path_with_query, read_body
from jinqiao.dataplane.gateway.questions import strict_json
from jinqiao.kernel.contracts.evidence import RECEIPT, CallRecord
from jinqiao.kernel.errors import JinqiaoError

PATH = "/gateway/v1/receipts"
MOST = 100
_CALL_ID, _COMMITMENT, _KEY_ID = (
    re.compile(r"[0-9a-f]{32}", re.ASCII),
    re.compile(r"[0-9a-f]{64}", re.ASCII),
    re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,59}", re.ASCII),
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an application says of one call."""

    call_id: str
    answer_commitment: str


async def take_receipts(desk: CallDesk, log: EvidenceLog, call: Call, scope: Scope, receive: Receive) -> Answer:
    """Record receipts; the last of them is what `call` becomes, for the caller to record. Raises JinqiaoError: the refusal."""
    call.operation = RECEIPT
    if scope["method"] != "POST":
        raise MethodNotOffered(allowed="POST")
    headers, target = headers_of(scope), path_with_query(scope)
    peer = desk.peers.of(scope, headers)
    call.address = peer.address
    body = await read_body(receive, headers.get("content-length", ""))
    if "?" in target:
        raise QueryStringNotTaken
    if not is_json(headers.get("content-type", "")) or headers.get("content-encoding", "identity") != "identity":
        raise ContentTypeNotTaken
    _admit(desk, call, Request("POST", target, headers, body, peer))
    receipts = read_receipts(body)
    ids = [os.urandom(16).hex() for _ in receipts[1:]]
    await asyncio.gather(
        *(log.append(_record(call, name, receipt)) for name, receipt in zip(ids, receipts[1:], strict=True))
    )
    call.confirms, call.answer_commitment, call.outcome = receipts[0].call_id, receipts[0].answer_commitment, "ok"
    answer = {"call_id": call.call_id, "recorded": len(receipts)}
    return Answer(orjson.dumps(answer), b"application/json; charset=utf-8", 0)


def read_receipts(body: bytes) -> list[Receipt]:
    """Raises BodyNotJson, FieldNotValid."""
    fields = strict_json(body)
    if not isinstance(fields, dict):
        raise BodyNotJson
    given = fields.get("receipts")
    if fields.keys() != {"receipts"} or not isinstance(given, list) or not 1 <= len(given) <= MOST:
        raise FieldNotValid(field="receipts")
    return [_receipt(entry) for entry in given]


def _receipt(entry: object) -> Receipt:
    if not isinstance(entry, dict) or entry.keys() != {"call_id", "answer_commitment"}:
        raise FieldNotValid(field="receipts")
    call_id, commitment = entry["call_id"], entry["answer_commitment"]
    if not isinstance(call_id, str) or not _CALL_ID.fullmatch(call_id):
        raise FieldNotValid(field="call_id")
    if not isinstance(commitment, str) or not _COMMITMENT.fullmatch(commitment):
        raise FieldNotValid(field="answer_commitment")
    return Receipt(call_id, commitment)


def _admit(desk: CallDesk, call: Call, request: Request) -> None:
    view = desk.view
    if view is None:
        raise PolicyMissing
    if view.expires_at <= call.at:
        raise PolicyExpired
    try:
        caller = admit(request, view, desk.nonces, now=time.time(), on=call.at)
    except JinqiaoError as refusal:
        claimed = refusal.details.get("key_id", "")
        call.key_id = claimed if _KEY_ID.fullmatch(claimed) else ""
        raise
    call.key_id, call.token = caller.key_id, caller.token
    call.application, call.consumer = caller.application.application_id, caller.application.organisation


def _record(call: Call, name: str, receipt: Receipt) -> CallRecord:
    fields = {
        **blank_record(call_id=name, at=call.at, gateway=call.gateway),
        "operation": RECEIPT,
        "application": call.application,
        "key_id": call.key_id,
        "address": call.address,
        "consumer": call.consumer,
        "outcome": "ok",
        "confirms": receipt.call_id,
        "answer_commitment": receipt.answer_commitment,
    }
    return CallRecord(**fields)
