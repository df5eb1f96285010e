"""The document itself: servers, identity, one path an operation, refusals by status."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinqiao.kernel.contracts.policy import ApplicationPolicy, Operation, ServicePolicy
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.kernel.errors import Language
from jinqiao.kernel.openapi.schemas import Schema, answer_schema, example_question, question_schema

Words = Callable[..., str]
PRODUCTION, SANDBOX = "/gateway/v1", "/gateway/sandbox/v1"
_ONE_BY_ONE = (Operation.QUERY, Operation.BATCH, Operation.VERIFY)
_AS_ROWS = (Operation.QUERY, Operation.BATCH, Operation.LIST)
_OTHER_FORMS = ("text/csv", "application/vnd.apache.arrow.stream")


@cache
def _texts() -> Mapping[str, Mapping[str, str]]:
    return tomllib.loads((files("jinqiao.kernel") / "texts" / "openapi.toml").read_text(encoding="utf-8"))


@cache
def refusals() -> Mapping[str, Sequence[str]]:
    """Codes by HTTP status with which a gateway refuses calls; `tools.reference` writes the file from the error classes."""
    return tomllib.loads((files("jinqiao.kernel") / "texts" / "refusals.toml").read_text(encoding="utf-8"))


def document(
    application: ApplicationPolicy, services: Sequence[ServicePolicy], *, root: str, language: Language = "zh"
) -> dict[str, Any]:
    """OpenAPI 3.1 of the services that this application may call, and of nothing else.

    `root` is the gateway's address without a path. No row filter, column, connection or key is in it.
    """
    mine = sorted((s for s in services if application.application_id in s.applications), key=lambda s: s.service)

    def text(name: str, /, **values: object) -> str:
        return _texts()[name][language].format_map(values)

    paths: dict[str, Any] = {"/openapi.json": _own_path(text, root)}
    for service in mine:
        for operation in _offered(service):
            paths[f"/services/{service.service}/{operation.value}"] = {"post": _operation(service, operation, text)}
        paths[f"/services/{service.service}/examples"] = _examples_path(service, text, root)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": text("title", application=application.name),
            "version": ".".join(str(s.version) for s in mine) or "0",
            "description": text("description"),
            "x-jinqiao-application": application.application_id,
        },
        "servers": [
            {"url": f"{root}{PRODUCTION}", "description": text("production")},
            {"url": f"{root}{SANDBOX}", "description": text("sandbox")},
        ],
        "security": [{"signature": [], "signatureInput": []}],
        "tags": [{"name": s.service, "description": _service_words(s, text)} for s in mine],
        "paths": paths,
        "components": _components(text),
    }


def _offered(service: ServicePolicy) -> tuple[Operation, ...]:
    """As the gateway has it: HTTP services of departments are asked one by one."""
    if service.connection.engine is not Engine.HTTP:
        return service.operations
    return tuple(operation for operation in service.operations if operation in _ONE_BY_ONE)


def _operation(service: ServicePolicy, operation: Operation, text: Words) -> dict[str, Any]:
    content: dict[str, Any] = {
        "application/json": {
            "schema": question_schema(service, operation),
            "example": example_question(service, operation),
        }
    }
    made: dict[str, Any] = {
        "operationId": f"{service.service}.{operation.value}",
        "tags": [service.service],
        "summary": f"{service.name} · {text(operation.value)}",
        "description": text(f"{operation.value}_what"),
        "parameters": [{"$ref": "#/components/parameters/ContentDigest"}],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": _answer(service, operation, text), **_refusal_references()},
        "x-jinqiao-limits": _limits(service),
    }
    if operation is Operation.BATCH:
        content["text/csv"] = {"schema": {"type": "string", "description": text("file")}}
        made["parameters"] += [
            {"$ref": f"#/components/parameters/{name}"}
            for name in ("Items", "Purpose", "CaseNumber", "EndUser", "Role")
        ]
    if service.deprecated_on is not None:
        made["deprecated"] = True
    return made


def _answer(service: ServicePolicy, operation: Operation, text: Words) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": answer_schema(service, operation)}}
    if operation in _AS_ROWS:
        content["text/csv"] = {"schema": {"type": "string"}}
        content["application/vnd.apache.arrow.stream"] = {"schema": {"type": "string", "format": "binary"}}
    headers: dict[str, Any] = {
        "Jinqiao-Answer-Salt": {"description": text("salt"), "schema": {"type": "string", "pattern": "^[0-9a-f]*$"}}
    }
    if service.deprecated_on is not None or service.ends_on is not None:
        for name in ("Deprecation", "Sunset", "Link"):
            headers[name] = {"description": text("ending"), "schema": {"type": "string"}}
    return {"description": text("answered"), "headers": headers, "content": content}


def _limits(service: ServicePolicy) -> dict[str, Any]:
    """Caps, quotas, hours and dates, for programs."""
    grant = service.grant
    return {
        "grant": grant.grant_id,
        "provider": grant.provider_name,
        "valid_from": grant.valid_from.isoformat(),
        "valid_until": grant.valid_until.isoformat(),
        "version": service.version,
        "row_cap": service.row_cap,
        "batch_cap": min(service.batch_cap, service.calls_per_minute),
        "smallest_count": service.smallest_count,
        "calls_per_minute": service.calls_per_minute,
        "calls_per_day": service.calls_per_day,
        "rows_per_day": service.rows_per_day,
        "own_cases_only": bool(service.case_column),
        "hours": [{"first": span.first, "last": span.last, "weekdays": list(span.weekdays)} for span in service.hours],
        "suspended": service.suspended,
        "deprecated_on": service.deprecated_on.isoformat() if service.deprecated_on else None,
        "ends_on": service.ends_on.isoformat() if service.ends_on else None,
        "successor": service.successor or None,
        "national_id": service.national_id or None,
    }


def _service_words(service: ServicePolicy, text: Words) -> str:
    grant = service.grant
    return text(
        "service", name=service.name, provider=grant.provider_name, grant=grant.grant_id, until=grant.valid_until
    )


def _own_path(text: Words, root: str) -> dict[str, Any]:
    get = {
        "operationId": "openapi",
        "summary": text("own"),
        "responses": {
            "200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}},
            **_refusal_references(),
        },
    }
    return {"servers": [{"url": f"{root}{PRODUCTION}"}], "get": get}


def _examples_path(service: ServicePolicy, text: Words, root: str) -> dict[str, Any]:
    """What the sandbox of a service can be asked; production has no such path."""
    get = {
        "operationId": f"{service.service}.examples",
        "tags": [service.service],
        "summary": f"{service.name} · {text('examples')}",
        "responses": {
            "200": {"description": text("examples"), "content": {"application/json": {"schema": {"type": "object"}}}},
            **_refusal_references(),
        },
    }
    return {"servers": [{"url": f"{root}{SANDBOX}"}], "get": get}


def _refusal_references() -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/Refusal{status}"} for status in refusals()}


def _components(text: Words) -> dict[str, Any]:
    return {
        "securitySchemes": {
            "signatureInput": {
                "type": "apiKey",
                "in": "header",
                "name": "Signature-Input",
                "description": text("signature_input"),
            },
            "signature": {"type": "apiKey", "in": "header", "name": "Signature", "description": text("signature")},
        },
        "parameters": {
            "ContentDigest": {
                "name": "Content-Digest",
                "in": "header",
                "required": True,
                "description": text("content_digest"),
                "schema": {"type": "string", "pattern": "^(sha-256|sm3)=:[A-Za-z0-9+/]{43}=:$"},
            },
            **{
                component: {"name": name, "in": "query", "description": text("file_only"), "schema": {"type": "string"}}
                for component, name in (
                    ("Items", "items"),
                    ("Purpose", "purpose"),
                    ("CaseNumber", "case_number"),
                    ("EndUser", "end_user"),
                    ("Role", "role"),
                )
            },
        },
        "schemas": {f"Problem{status}": _problem(status, codes) for status, codes in refusals().items()},
        "responses": {f"Refusal{status}": _refusal(status, text) for status in refusals()},
    }


def _refusal(status: str, text: Words) -> dict[str, Any]:
    body = {"schema": {"$ref": f"#/components/schemas/Problem{status}"}}
    return {"description": text("refusal"), "content": {"application/problem+json": body}}


def _problem(status: str, codes: Sequence[str]) -> Schema:
    """Problem Details (RFC 9457), as `dataplane.gateway.problem` writes them."""
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["type", "title", "status", "code", "retryable", "details"],
        "properties": {
            "type": {"type": "string", "pattern": "^urn:jinqiao:error:"},
            "title": text,
            "status": {"type": "integer", "const": int(status)},
            "detail": text,
            "code": {"type": "string", "enum": list(codes)},
            "retryable": {"type": "boolean"},
            "details": {"type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]}},
            "clause": text,
            "call_id": text,
        },
    }
