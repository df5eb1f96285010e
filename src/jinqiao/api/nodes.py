"""What front-end nodes call: register, poll, answer, bring and fetch chunks."""

import json
import time
from typing import Annotated, Any, TypeVar, cast

from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.params.functions import Path

from jinqiao.api.authentication import NodeHttpRequest, body_of
from jinqiao.api.errors import BodyBroken
from jinqiao.api.schemas import json_answer, operation, schema_of
from jinqiao.exchange import actions
from jinqiao.kernel.contracts.base import Contract, canonical_json
from jinqiao.kernel.contracts.exchange import (
    CommandResult,
    Heartbeat,
    NodeAdmission,
    NodeRegistration,
    NodeResubmission,
    NodeRotated,
    NodeRotation,
    SignedMessage,
)

router = Router(tags=["nodes"])
Body = TypeVar("Body", bound=Contract)
DIGEST_HEADER = "X-Chunk-Digest"
ChunkNumber = Annotated[int, Path(ge=0, le=2**31 - 1)]
"""As the database counts them."""


def read_body(request: HttpRequest, kind: type[Body]) -> Body:
    """The contract in the body: JSON in UTF-8, all of whose texts are texts. Raises BodyBroken, ContractBroken."""
    try:
        text = body_of(request).decode("utf-8")
        data = json.loads(text)
        if "\\u" in text:  # half of a pair that stands for one character is none: it could be neither signed nor kept
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as problem:
        raise BodyBroken from problem
    return kind.from_json(data)


def answer_json(value: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(canonical_json(value), status=status, content_type="application/json")


def answer_nothing() -> HttpResponse:
    """204: no content, and so no type of it, which Django would name all the same."""
    response = HttpResponse(status=204)
    del response.headers["Content-Type"]
    return response


def caller(request: HttpRequest) -> NodeHttpRequest:
    """The request of an authenticated node (for the type checker)."""
    return cast(NodeHttpRequest, request)


@router.post(
    "register",
    auth=None,
    url_name="register_node",
    openapi_extra=operation(body=NodeRegistration, answer=json_answer(schema_of(NodeAdmission)), _200="admitted"),
)
def register(request: HttpRequest) -> HttpResponse:
    """A node's first word, with its one-time code."""
    return answer_json(actions.register_node(read_body(request, NodeRegistration)).to_json())


_COMMANDS = {
    "type": "object",
    "required": ["commands", "now"],
    "properties": {"commands": {"type": "array", "items": schema_of(SignedMessage)}, "now": {"type": "number"}},
}


@router.post(
    "poll",
    url_name="poll",
    openapi_extra=operation(body=Heartbeat, answer=json_answer(_COMMANDS), _200="commands, oldest first"),
)
def poll(request: HttpRequest) -> HttpResponse:
    """A heartbeat; the answer holds the commands that wait, and the platform's time (Unix seconds) for a node to set its clock by."""
    messages = actions.take_commands(caller(request).node, read_body(request, Heartbeat))
    return answer_json({"commands": [message.to_json() for message in messages], "now": round(time.time(), 3)})


@router.post(
    "rotate",
    url_name="rotate",
    openapi_extra=operation(body=NodeRotation, answer=json_answer(schema_of(NodeRotated)), _200="the new key is known"),
)
def rotate(request: HttpRequest) -> HttpResponse:
    """A new identity, signed with the old one; said again with what was sealed anew."""
    return answer_json(actions.rotate_identity(caller(request).node, read_body(request, NodeRotation)).to_json())


@router.post("results", url_name="results", openapi_extra=operation(body=CommandResult, _204="taken"))
def results(request: HttpRequest) -> HttpResponse:
    """The answer to a command; the same answer may come again."""
    actions.accept_result(caller(request).node, read_body(request, CommandResult))
    return answer_nothing()


@router.post(
    "resubmit",
    url_name="resubmit",
    openapi_extra=operation(
        body=NodeResubmission,
        answer=json_answer({"type": "object", "required": ["run"], "properties": {"run": {"type": "string"}}}),
        _200="the run that takes the corrected rows",
    ),
)
def resubmit(request: HttpRequest) -> HttpResponse:
    """Corrected rows of a quarantine, handed in at the provider's node."""
    word = read_body(request, NodeResubmission)
    return answer_json({"run": actions.resubmit_at_node(caller(request).node, word).number})


@router.put(
    "runs/{run_number}/chunks/{number}", url_name="put_chunk", openapi_extra=operation(raw_body=True, _204="kept")
)
def put_chunk(request: HttpRequest, run_number: str, number: ChunkNumber) -> HttpResponse:
    """A staged chunk from the run's provider node; header X-Chunk-Digest holds its digest in hexadecimal."""
    digest = request.headers.get(DIGEST_HEADER, "")
    actions.store_chunk(run_number, number, body_of(request), digest, node=caller(request).node)
    return answer_nothing()


@router.get(
    "runs/{run_number}/chunks/{number}",
    url_name="get_chunk",
    openapi_extra=operation(
        answer={"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        _200="the chunk, encrypted",
    ),
)
def get_chunk(request: HttpRequest, run_number: str, number: ChunkNumber) -> HttpResponse:
    """A staged chunk for the run's consumer node."""
    data, chunk = actions.open_chunk(run_number, number, node=caller(request).node)
    response = HttpResponse(data, content_type="application/octet-stream")
    response[DIGEST_HEADER] = chunk.digest
    return response
