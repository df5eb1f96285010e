"""From the bytes of a body to a question, strictly: what is not exactly of the agreed form is refused, never mended."""

import json
from typing import Any, NoReturn

from jinqiao.dataplane.gateway.errors import BodyNotJson, FieldNotValid
from jinqiao.dataplane.gateway.policy import Question
from jinqiao.dataplane.gateway.values import is_plain

FIELDS = frozenset({"by", "items", "purpose", "case_number", "end_user"})
MOST_KEYS = 20
MOST_ITEMS = 200
CODE_CHARACTERS = 100
PURPOSE_CHARACTERS = 200
CASE_NUMBER_CHARACTERS = 100
END_USER_CHARACTERS = 100


def read_question(body: bytes) -> Question:
    """Raises BodyNotJson and FieldNotValid. Their details name fields, never what stood in them."""
    fields = strict_json(body)
    if not isinstance(fields, dict):
        raise BodyNotJson
    if not fields.keys() <= FIELDS:
        raise FieldNotValid(field="、".join(sorted(FIELDS)))
    by = fields.get("by")
    if not isinstance(by, dict) or not 1 <= len(by) <= MOST_KEYS or not all(_is_code(code) for code in by):
        raise FieldNotValid(field="by")
    if not all(isinstance(value, str | int) for value in by.values()):
        raise FieldNotValid(field="by")
    items = fields.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_ITEMS or not all(_is_code(code) for code in items):
        raise FieldNotValid(field="items")
    if len(set(items)) != len(items):
        raise FieldNotValid(field="items")
    return Question(
        by=by,
        items=tuple(items),
        purpose=_text(fields, "purpose", PURPOSE_CHARACTERS),
        case_number=_case_number(fields),
        end_user=_text(fields, "end_user", END_USER_CHARACTERS),
    )


def strict_json(body: bytes) -> Any:
    """RFC 8259 in UTF-8 as I-JSON (RFC 7493) wants it: no name twice, no NaN or Infinity, no number that does not fit."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as problem:
        raise BodyNotJson from problem


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice")
    return fields


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError("too large for a number")
    return number


def _is_code(code: Any) -> bool:
    return isinstance(code, str) and 0 < len(code) <= CODE_CHARACTERS and is_plain(code)


def _text(fields: dict[str, Any], name: str, most: int) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > most or not is_plain(value):
        raise FieldNotValid(field=name)
    return value


def _case_number(fields: dict[str, Any]) -> str:
    """A number has at least one letter or digit: blanks and invisible characters are no number."""
    value = _text(fields, "case_number", CASE_NUMBER_CHARACTERS)
    if value and not any(character.isalnum() for character in value):
        raise FieldNotValid(field="case_number")
    return value
