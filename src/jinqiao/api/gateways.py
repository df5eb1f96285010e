"""What gateways call: the policy that they enforce, the evidence of what they answered."""

import threading
import time
from typing import Annotated

from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.params.functions import Query

from jinqiao.api.nodes import answer_json, answer_nothing, caller, read_body
from jinqiao.api.schemas import json_answer, operation, schema_of
from jinqiao.exchange import actions
from jinqiao.exchange.errors import EvidenceBroken
from jinqiao.kernel.contracts.evidence import AnchorsOffered, EvidenceBatch
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.contracts.health import GatewayState, ServicesHealth

router = Router(tags=["gateways"])
LONGEST_WAIT_S = 10
MOST_VERSION = 2**31 - 1
"""What a version number may be, as the database counts them."""
MOST_WAITING = 2  # of one process: who waits holds a thread, and the pages need some; further ones are answered at once
_WAITING = threading.BoundedSemaphore(MOST_WAITING)
_LOOK_EVERY_S = 0.5


@router.get(
    "policy",
    url_name="policy",
    openapi_extra=operation(
        answer=json_answer(schema_of(SignedMessage)), _200="a newer PolicySnapshot, signed", _204="nothing newer"
    ),
)
def policy(
    request: HttpRequest,
    after: Annotated[int, Query(ge=0, le=MOST_VERSION)] = 0,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)] = 0,
) -> HttpResponse:
    """The snapshot newer than version `after`; waits up to `wait` seconds for one, unless too many wait already."""
    ends = time.monotonic() + wait
    waits = wait > 0 and _WAITING.acquire(blocking=False)
    try:
        while True:
            message = actions.policy_for(caller(request).node, after)
            if message is not None:
                return answer_json(message.to_json())
            if not waits or time.monotonic() + _LOOK_EVERY_S > ends:
                return answer_nothing()
            time.sleep(_LOOK_EVERY_S)
    finally:
        if waits:
            _WAITING.release()


@router.post("evidence", url_name="evidence", openapi_extra=operation(body=EvidenceBatch, _204="verified and kept"))
def evidence(request: HttpRequest) -> HttpResponse:
    """A batch of call records; the same batch may come again."""
    gateway = caller(request).node
    try:
        actions.accept_evidence(gateway, read_body(request, EvidenceBatch))
    except EvidenceBroken as error:
        actions.note_broken(gateway, error)
        raise
    return answer_nothing()


@router.post(
    "anchors",
    url_name="anchors",
    openapi_extra=operation(
        body=AnchorsOffered,
        answer=json_answer(schema_of(SignedMessage)),
        _200="kept; countersignatures, as an AnchorsTaken signed by the platform",
    ),
)
def anchors(request: HttpRequest) -> HttpResponse:
    """Anchors of a gateway's lanes; the same may come again."""
    gateway = caller(request).node
    try:
        taken = actions.take_anchors(gateway, read_body(request, AnchorsOffered))
    except EvidenceBroken as error:
        actions.note_broken(gateway, error)
        raise
    return answer_json(taken.to_json())


@router.post("health", url_name="health", openapi_extra=operation(body=ServicesHealth, _204="kept"))
def health(request: HttpRequest) -> HttpResponse:
    """How the departments' HTTP services behind a gateway are, as it probed them."""
    actions.note_health(caller(request).node, read_body(request, ServicesHealth))
    return answer_nothing()


@router.post("state", url_name="state", openapi_extra=operation(body=GatewayState, _204="kept"))
def state(request: HttpRequest) -> HttpResponse:
    """How policy and evidence are at a gateway, as it says itself."""
    actions.note_state(caller(request).node, read_body(request, GatewayState))
    return answer_nothing()
