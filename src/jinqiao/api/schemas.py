"""JSON Schemas of the contracts, read off their dataclasses, for the OpenAPI document."""

import dataclasses
import enum
import types
import typing
from datetime import date, datetime
from typing import Any

from jinqiao.kernel.contracts.base import Contract

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Problem Details (RFC 9457)",
    "required": ["type", "title", "status", "code", "retryable"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "stable; programs match on it"},
        "clause": {"type": "string"},
        "retryable": {"type": "boolean"},
        "details": {"type": "object"},
        "instance": {"type": "string"},
    },
}


def schema_of(kind: Any) -> dict[str, Any]:
    """The schema of a contract, or of one field's type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [schema_of(argument) for argument in arguments if argument is not type(None)]
        if type(None) in arguments:
            inner.append({"type": "null"})
        return inner[0] if len(inner) == 1 else {"anyOf": inner}
    if origin in (tuple, list, frozenset):
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if isinstance(kind, type):
        if issubclass(kind, Contract):
            return _contract(kind)
        if issubclass(kind, enum.Enum):
            return {"type": "string", "enum": [member.value for member in kind]}
        for python, schema in _PLAIN:
            if issubclass(kind, python):
                return dict(schema)
    return {}


_PLAIN: tuple[tuple[type, dict[str, Any]], ...] = (
    (bool, {"type": "boolean"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (datetime, {"type": "string", "format": "date-time"}),
    (date, {"type": "string", "format": "date"}),
    (bytes, {"type": "string", "contentEncoding": "base64"}),
    (str, {"type": "string"}),
)


def _contract(kind: type[Contract]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    mark = {"type": "string", "const": f"{kind.__name__}/{kind.VERSION}"}
    return {
        "type": "object",
        "title": kind.__name__,
        "description": (kind.__doc__ or "").strip().split("\n")[0],
        "required": ["_", *required],
        "additionalProperties": False,
        "properties": {"_": mark, **{field.name: schema_of(hints[field.name]) for field in fields}},
    }


def operation(
    *, body: type[Contract] | None = None, raw_body: bool = False, answer: dict[str, Any] | None = None, **answers: str
) -> dict[str, Any]:
    """What an operation adds to the OpenAPI document: its body, its answers (`_200="…"`), Problem Details for the rest."""
    extra: dict[str, Any] = {}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema_of(body)}}}
    if raw_body:
        binary = {"schema": {"type": "string", "format": "binary"}}
        extra["requestBody"] = {"required": True, "content": {"application/octet-stream": binary}}
    responses: dict[str, Any] = {}
    for name, words in answers.items():
        status = int(name.removeprefix("_"))
        responses[str(status)] = {"description": words}
        if status < 300 and status != 204 and answer is not None:  # 204 says that there is none
            responses[str(status)]["content"] = answer
    responses["default"] = {"description": "refused", "content": {"application/problem+json": {"schema": PROBLEM}}}
    extra["responses"] = responses
    return extra


def json_answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
