"""Receipts of the other side: an application says of calls which answers it got, and that word stands in the same chain.

POST /gateway/v1/receipts     {"receipts": [{"call_id": …, "answer_commitment": …}, …]}, signed like a call

The commitment is HMAC(salt, bytes of the answer), hex, with the salt of the answer's `jinqiao-answer-salt` header. What a receipt
says is not judged here: the centre pairs it with the record of the call.
"""

import asyncio
import math
import os
import re
import time
from dataclasses import dataclass

import orjson

from jinqiao.dataplane.evidence.errors import TokenTaken
from jinqiao.dataplane.evidence.log import EvidenceLog
from jinqiao.dataplane.evidence.records import blank_record
from jinqiao.dataplane.gateway.answers import Answer
from jinqiao.dataplane.gateway.calls import RECEIPT_METER, Call, CallDesk
from jinqiao.dataplane.gateway.errors import BodyNotJson, FieldNotValid, ReceiptsTooMany
from jinqiao.dataplane.gateway.http import Receive, Scope
from jinqiao.dataplane.gateway.questions import strict_json
from jinqiao.kernel.contracts.evidence import RECEIPT, CallRecord
from jinqiao.kernel.httpsig import NonceReplayed

PATH = "/gateway/v1/receipts"
MOST = 100
_CALL_ID, _COMMITMENT = (re.compile(rf"[0-9a-f]{{{length}}}", re.ASCII) for length in (32, 64))


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an application says of one call."""

    call_id: str
    answer_commitment: str


async def take_receipts(desk: CallDesk, log: EvidenceLog, call: Call, scope: Scope, receive: Receive) -> Answer:
    """Record receipts; the last of them is what `call` becomes, for the caller to record. Raises JinqiaoError: the refusal."""
    call.operation = RECEIPT
    request = await desk.take(call, scope, receive, "POST")
    desk.admit(call, request, desk.policy(call.at))
    receipts = read_receipts(request.body)
    _check_rate(desk, call.application, len(receipts))
    further = [_record(call, os.urandom(16).hex(), receipt) for receipt in receipts[1:]]
    if further:
        await _claim(log, call, further[0])
        await asyncio.gather(*map(log.append, further[1:]))
    call.confirms, call.answer_commitment, call.outcome = receipts[0].call_id, receipts[0].answer_commitment, "ok"
    answer = {"call_id": call.call_id, "recorded": len(receipts)}
    return Answer(orjson.dumps(answer), b"application/json; charset=utf-8", 0)


async def _claim(log: EvidenceLog, call: Call, first: CallRecord) -> None:
    """Record the first of further receipts with the call's nonce: where another process has taken that, nothing of the call is recorded
    but its refusal. Raises NonceReplayed, EvidenceUnavailable."""
    token, call.token = call.token, None
    try:
        await log.append(first, token)
    except TokenTaken as problem:
        raise NonceReplayed(key_id=call.key_id) from problem


def _check_rate(desk: CallDesk, application: str, count: int) -> None:
    """Receipts of an application have a rate of their own, beside that of its calls; all of them are taken or none. Raises
    ReceiptsTooMany."""
    limit, now = desk.gate.limits.receipts_per_minute, time.monotonic()
    metered = f"{RECEIPT_METER}{application}"
    wait_s = desk.receipt_meter.wait_s(metered, limit, now, count)
    if wait_s > 0:
        raise ReceiptsTooMany(limit=limit, retry_after=max(1, math.ceil(wait_s)))
    desk.receipt_meter.count(metered, now, count)
    for others in desk.others:
        others.counted(metered, count)


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
