"""JSON Schema of questions and answers of one service: only granted items, as they are masked for this grant."""

from typing import Any

from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.policy import Operation, ServicePolicy
from jinqiao.kernel.contracts.tables import LogicalType, Mask, Operator

Schema = dict[str, Any]

_IN: dict[LogicalType, Schema] = {
    LogicalType.TEXT: {"type": "string", "minLength": 1, "maxLength": 200},
    LogicalType.INTEGER: {
        "anyOf": [
            {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
            {"type": "string", "pattern": "^-?(0|[1-9][0-9]{0,18})$"},
        ]
    },
    LogicalType.DECIMAL: {
        "anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^-?[0-9]{1,38}(\\.[0-9]{1,38})?$"}]
    },
    LogicalType.DOUBLE: {"type": "number"},
    LogicalType.BOOLEAN: {"type": "boolean"},
    LogicalType.DATE: {"type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
    LogicalType.DATETIME: {
        "type": "string",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,6})?$",
    },
    LogicalType.BINARY: {"type": "string", "pattern": "^([0-9a-f]{2}){1,100}$"},
}
_OUT: dict[LogicalType, Schema] = {
    LogicalType.TEXT: {"type": ["string", "null"]},
    LogicalType.INTEGER: {"type": ["integer", "null"]},
    LogicalType.DECIMAL: {"type": ["string", "null"]},
    LogicalType.DOUBLE: {"type": ["number", "string", "null"]},  # what JSON has no number for (Infinity) is text
    LogicalType.BOOLEAN: {"type": ["boolean", "null"]},
    LogicalType.DATE: {"type": ["string", "null"], "format": "date"},
    LogicalType.DATETIME: {"type": ["string", "null"]},
    LogicalType.BINARY: {"type": ["string", "null"], "pattern": "^([0-9a-f]{2})*$"},
}
_CALL_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def question_schema(service: ServicePolicy, operation: Operation) -> Schema:
    """The body of a call, strict as the gateway is: a field that is not named is refused."""
    properties: Schema = {}
    required: list[str] = []
    items = {item.code: item for item in service.grant.items}
    key = _object({code: _value(items[code]) for code in service.key_items if code in items}, list(service.key_items))
    match operation:
        case Operation.QUERY:
            properties["by"] = key
        case Operation.BATCH:
            most = min(service.batch_cap, service.calls_per_minute)
            properties["by"] = {"type": "array", "minItems": 1, "maxItems": most, "items": key}
        case Operation.VERIFY:
            open_ = {code: _value(item) for code, item in items.items() if not _is_hidden(item)}
            properties["by"] = key
            properties["claims"] = {**_object(open_, []), "minProperties": 1}
            required += ["claims"]
    if "by" in properties:
        required += ["by"]
    if operation in (Operation.QUERY, Operation.BATCH, Operation.LIST):
        properties["items"] = {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "enum": list(items)},
        }
        required += ["items"]
    filterable = [items[code] for code in service.filter_items if code in items]
    if operation in (Operation.LIST, Operation.COUNT):
        properties["filter"] = _filter(filterable)
    if operation is Operation.LIST:
        properties["order"] = _order(filterable)
        properties["page"] = _object(
            {
                "size": {"type": "integer", "minimum": 1, "maximum": service.row_cap},
                "after": {"type": "string", "maxLength": 8000},
            },
            [],
        )
    _reason(service, properties, required)
    return _object(properties, required)


def answer_schema(service: ServicePolicy, operation: Operation) -> Schema:
    """The JSON answer of a call."""
    codes = [item.code for item in service.grant.items]
    row = {
        "type": "object",
        "additionalProperties": False,
        "properties": {item.code: _shown(item, service) for item in service.grant.items},
    }
    rows = {"type": "array", "items": row, "maxItems": service.row_cap}
    shown: Schema = {"type": "array", "items": {"type": "string", "enum": codes}}
    properties: Schema = {"call_id": _CALL_ID}
    match operation:
        case Operation.QUERY:
            properties |= {"items": shown, "rows": rows, "count": _COUNT, "truncated": {"type": "boolean"}}
        case Operation.BATCH:
            result = {"rows": rows, "count": _COUNT, "truncated": {"type": "boolean"}}
            properties |= {
                "items": shown,
                "results": {"type": "array", "items": _object(result, list(result))},
                "count": _COUNT,
            }
        case Operation.LIST:
            properties |= {"items": shown, "rows": rows, "count": _COUNT, "next": {"type": ["string", "null"]}}
        case Operation.COUNT:
            properties |= {"count": {"type": ["integer", "null"], "minimum": 0}}
            fewer = {"fewer_than": {"type": "integer", "const": service.smallest_count}}
            return _object(properties | (fewer if service.smallest_count else {}), list(properties))
        case Operation.VERIFY:
            properties |= {"result": {"type": "string", "enum": ["yes", "partial", "no"]}}
            agrees = {"agrees": {"type": "object", "additionalProperties": {"type": "boolean"}}}
            return _object(properties | agrees, list(properties))
    return _object(properties, list(properties))


def example_question(service: ServicePolicy, operation: Operation) -> Schema:
    """A question of the right form. Its keys are of nobody: what the sandbox holds is asked by its path `examples`."""
    items = [item.code for item in service.grant.items]
    by = {item.code: example_value(item) for item in service.grant.items if item.code in service.key_items}
    question: Schema = {}
    match operation:
        case Operation.QUERY:
            question = {"by": by, "items": items}
        case Operation.BATCH:
            question = {"by": [by], "items": items}
        case Operation.VERIFY:
            claimed = [
                item for item in service.grant.items if not _is_hidden(item) and item.code not in service.key_items
            ]
            claims = {item.code: example_value(item) for item in claimed[:1]} or by
            question = {"by": by, "claims": claims}
        case Operation.LIST:
            question = {"items": items, "filter": [], "page": {"size": min(10, service.row_cap)}}
        case Operation.COUNT:
            question = {"filter": []}
    question["purpose"] = service.grant.purposes[0] if service.grant.purposes else ""
    if service.grant.case_number_required or service.case_column:
        question["case_number"] = "SANDBOX-0001"
    if service.end_user_required:
        question["end_user"] = "1001"
    return question


def example_value(item: GrantedItem) -> Any:
    """A value of the item's type, of nobody."""
    match item.type:
        case LogicalType.INTEGER:
            return 1
        case LogicalType.DECIMAL:
            return "1.5"
        case LogicalType.DOUBLE:
            return 0.5
        case LogicalType.BOOLEAN:
            return True
        case LogicalType.DATE:
            return "2020-01-01"
        case LogicalType.DATETIME:
            return "2020-01-01T09:00:00"
        case LogicalType.BINARY:
            return "00000001"
    if "身份" in item.item:
        return "999999199001010016"  # the first of the sandbox: 999999 is no division
    return "测试甲" if "名" in item.item else "TEST-0001"


def _object(properties: Schema, required: list[str]) -> Schema:
    made: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return made | {"required": required} if required else made


def _value(item: GrantedItem) -> Schema:
    return {"title": item.item, **_IN[item.type]}


def _is_hidden(item: GrantedItem) -> bool:
    return item.mask is Mask.HIDDEN or (item.mask is not Mask.NONE and item.type is not LogicalType.TEXT)


def _shown(item: GrantedItem, service: ServicePolicy) -> Schema:
    """How the item is answered; where it is masked for everybody or for a role, as text."""
    by_role = {mask.role: mask.mask.value for mask in service.role_masks if mask.code == item.code}
    schema: Schema = {"title": item.item, **_OUT[item.type]}
    if item.mask is not Mask.NONE:
        schema = {"title": item.item, "type": ["string", "null"]}
    elif any(mask != Mask.NONE.value for mask in by_role.values()):
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        schema = {"title": item.item, "type": list(dict.fromkeys([*kinds, "string"]))}
    schema["x-jinqiao-mask"] = item.mask.value
    return schema | ({"x-jinqiao-role-masks": by_role} if by_role else {})


def _filter(items: list[GrantedItem]) -> Schema:
    conditions: list[Schema] = []
    for item in items:
        value = _IN[item.type]
        same, ordered = item.type is not LogicalType.DOUBLE, item.type not in (LogicalType.BOOLEAN, LogicalType.BINARY)
        single = [Operator.EQUAL] if same else []
        single += [Operator.AT_LEAST, Operator.AT_MOST] if ordered else []
        single += [Operator.STARTS_WITH] if item.type is LogicalType.TEXT else []
        name = {"type": "string", "const": item.code, "title": item.item}
        for operators, field, of in (
            (single, "value", value),
            (
                [Operator.ONE_OF] if same else [],
                "values",
                {"type": "array", "minItems": 1, "maxItems": 200, "items": value},
            ),
        ):
            if operators:
                kind = {"type": "string", "enum": [operator.value for operator in operators]}
                conditions.append(_object({"item": name, "op": kind, field: of}, ["item", "op", field]))
    if not conditions:
        return {"type": "array", "maxItems": 0}
    return {"type": "array", "maxItems": 20, "items": {"oneOf": conditions}}


def _order(items: list[GrantedItem]) -> Schema:
    codes = [item.code for item in items if item.type is not LogicalType.BINARY]
    if not codes:
        return {"type": "array", "maxItems": 0}
    one = _object(
        {"item": {"type": "string", "enum": codes}, "direction": {"type": "string", "enum": ["asc", "desc"]}}, ["item"]
    )
    return {"type": "array", "maxItems": 5, "items": one}


def _reason(service: ServicePolicy, properties: Schema, required: list[str]) -> None:
    """Why it is asked: purpose, case number, end user and role, as the grant demands them."""
    properties["purpose"] = {"type": "string", "enum": list(service.grant.purposes)}
    required.append("purpose")
    properties["case_number"] = {"type": "string", "maxLength": 100}
    if service.grant.case_number_required or service.case_column:
        properties["case_number"] |= {"minLength": 1}
        required.append("case_number")
    properties["end_user"] = {"type": "string", "maxLength": 100}
    if service.end_user_required:
        properties["end_user"] |= {"minLength": 1}
        required.append("end_user")
    roles = sorted({mask.role for mask in service.role_masks})
    properties["role"] = {"type": "string", "maxLength": 100, **({"examples": roles} if roles else {})}
