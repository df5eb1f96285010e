"""From the bytes of a body to a question, strictly: what is not exactly of the agreed form is refused, never mended."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

import msgspec
import orjson
from msgspec import Struct

from jinqiao.dataplane.gateway.asked import Condition, Ordering, Question
from jinqiao.dataplane.gateway.errors import BodyNotJson, FieldNotValid
from jinqiao.dataplane.gateway.values import is_plain
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.contracts.tables import Operator

COMMON = frozenset({"purpose", "case_number", "end_user", "role"})
FIELDS = {
    Operation.QUERY: COMMON | {"by", "items"},
    Operation.BATCH: COMMON | {"by", "items"},
    Operation.VERIFY: COMMON | {"by", "claims"},
    Operation.LIST: COMMON | {"items", "filter", "order", "page"},
    Operation.COUNT: COMMON | {"filter"},
}
_QUERY = Operation.QUERY  # to read a member off its class costs a call as much as its masks do (Python 3.11)
MOST_KEYS = 20
MOST_ITEMS = 200
MOST_BATCH = 50_000
MOST_CONDITIONS = 20
MOST_VALUES = 200
MOST_ORDERINGS = 5
MOST_PAGE = 100_000
CODE_CHARACTERS = 100
PURPOSE_CHARACTERS = 200
CASE_NUMBER_CHARACTERS = 100
END_USER_CHARACTERS = 100
ROLE_CHARACTERS = 100
CURSOR_CHARACTERS = 8_000
_OPERATORS = {operator.value: operator for operator in Operator}
_DIRECTIONS = {"asc": False, "desc": True}


def read_question(body: bytes, operation: Operation = Operation.QUERY) -> Question:
    """Raises BodyNotJson and FieldNotValid. Their details name fields, never what stood in them."""
    if operation is _QUERY:
        usual = read_usual_query(body)
        if usual is not None:
            return usual
    return read_any_question(body, operation)


class _UsualQuery(Struct, forbid_unknown_fields=True, gc=False):
    by: dict[str, str]
    items: list[str]
    purpose: str = ""
    case_number: str = ""
    end_user: str = ""
    role: str = ""


_usual_query = msgspec.json.Decoder(_UsualQuery).decode


def read_usual_query(body: bytes) -> Question | None:
    """A query of the usual form, in a third of the time; None of what is to be read, or refused, the long way.

    A name that stands twice is taken by this decoder, too, and the first value dropped. But where no quote is escaped each text
    of the body has two of them: as many texts were read as it has only where none was dropped.
    """
    if b'\\"' in body:
        return None
    try:
        given = _usual_query(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    by, items, common = given.by, tuple(given.items), (given.purpose, given.case_number, given.end_user, given.role)
    texts = len(_ITS_NAMES) + 2 * len(by) + len(items) + 2 * sum(map(bool, common))
    if body.count(b'"') != 2 * texts or not 0 < len(by) <= MOST_KEYS or not 0 < len(items) <= MOST_ITEMS:
        return None
    for code in by:
        if not is_code(code):
            return None
    purpose, case_number, end_user, role = common
    common = (
        purpose and _plain("purpose", purpose, PURPOSE_CHARACTERS),
        case_number and _speaking_number(case_number),
        end_user and _plain("end_user", end_user, END_USER_CHARACTERS),
        role and _plain("role", role, ROLE_CHARACTERS),
    )
    return Question(by, _checked(items), *common)


_ITS_NAMES = ("by", "items")  # what a query always has


def read_any_question(body: bytes, operation: Operation = Operation.QUERY) -> Question:
    """`read_question` of whatever it may be."""
    fields = strict_json(body)
    if not isinstance(fields, dict):
        raise BodyNotJson
    known = FIELDS[operation]
    if not fields.keys() <= known:
        raise FieldNotValid(field="、".join(sorted(known)))
    common = common_fields(fields)
    if operation is Operation.QUERY:
        return Question(_key(fields.get("by")), checked_items(fields.get("items")), *common)
    match operation:
        case Operation.BATCH:
            given = fields.get("by")
            if not isinstance(given, list) or not 1 <= len(given) <= MOST_BATCH:
                raise FieldNotValid(field="by")
            items = checked_items(fields.get("items"))
            return Question({}, items, *common, batch=tuple(_key(key) for key in given))
        case Operation.VERIFY:
            claims = _key(fields.get("claims"), "claims", most=MOST_ITEMS)
            return Question(_key(fields.get("by")), tuple(claims), *common, claims=claims)
        case Operation.COUNT:
            return Question({}, (), *common, filter=_filter(fields))
    size, after = _page(fields.get("page", {}))
    return Question(
        {},
        checked_items(fields.get("items")),
        *common,
        filter=_filter(fields),
        order=_order(fields.get("order", [])),
        size=size,
        after=after,
    )


def common_fields(fields: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What every operation takes: purpose, case number, end user and role, as `Question` has them. Raises FieldNotValid."""
    return (
        _text(fields, "purpose", PURPOSE_CHARACTERS),
        _case_number(fields),
        _text(fields, "end_user", END_USER_CHARACTERS),
        _text(fields, "role", ROLE_CHARACTERS),
    )


def strict_json(body: bytes) -> Any:
    """RFC 8259 in UTF-8 as I-JSON (RFC 7493) wants it: no name twice, no NaN or Infinity, no number that does not fit."""
    value = _usual_json(body)
    if value is not None:
        return value
    try:
        return _strict_decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as problem:
        raise BodyNotJson from problem


def _usual_json(body: bytes) -> Any:
    """What the strict decoder would read, in a third of its time; None where this way cannot tell.

    orjson takes a name that stands twice, and drops the first. But where no quote is escaped each text of the body, names
    included, has two of them: as many texts are read as the body has only where none was dropped.
    """
    if b'\\"' in body:
        return None
    try:
        value = orjson.loads(body)
        return value if body.count(b'"') == 2 * _texts(value) else None
    except (orjson.JSONDecodeError, RecursionError):
        return None


def _texts(value: Any) -> int:
    """How many texts there are in a value, names included; of a number that is not whole, more than any body has."""
    kind = type(value)
    if kind is dict:
        names, within = len(value), value.values()
    elif kind is list:
        names, within = 0, value
    elif kind is str:
        return 1
    else:
        return _NOT_WHOLE if kind is float else 0
    texts = list(map(type, within)).count(str)
    if texts == len(within):
        return names + texts
    return names + texts + sum([_texts(inner) for inner in within if type(inner) is not str])


_NOT_WHOLE = 1 << 60


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


_strict_decode = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite).decode


def is_code(code: Any) -> bool:
    return type(code) is str and 0 < len(code) <= CODE_CHARACTERS and (code.isprintable() or is_plain(code))


def _key(by: Any, field: str = "by", *, most: int = MOST_KEYS) -> dict[str, Any]:
    if not isinstance(by, dict) or not 1 <= len(by) <= most:
        raise FieldNotValid(field=field)
    for code, value in by.items():
        if not is_code(code) or not isinstance(value, (str, int)):
            raise FieldNotValid(field=field)
    return by


def checked_items(items: Any) -> tuple[str, ...]:
    """Raises FieldNotValid unless these are item codes, none twice."""
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_ITEMS:
        raise FieldNotValid(field="items")
    try:
        return _checked(tuple(items))
    except TypeError as problem:  # lists and objects have no place in a cache
        raise FieldNotValid(field="items") from problem


@lru_cache(256)
def _checked(items: tuple[Any, ...]) -> tuple[str, ...]:
    """Callers ask for the same items again and again. Nothing but a text equals a text: what was found to be codes once, is."""
    if not all(map(is_code, items)) or len(set(items)) != len(items):
        raise FieldNotValid(field="items")
    return items


def _filter(fields: dict[str, Any]) -> tuple[Condition, ...]:
    given = fields.get("filter", [])
    if not isinstance(given, list) or len(given) > MOST_CONDITIONS:
        raise FieldNotValid(field="filter")
    return tuple(_condition(one) for one in given)


def _condition(given: Any) -> Condition:
    if not isinstance(given, dict) or not is_code(given.get("item")):
        raise FieldNotValid(field="filter")
    operator = _OPERATORS.get(given["op"]) if isinstance(given.get("op"), str) else None
    many = operator is Operator.ONE_OF
    if operator is None or given.keys() != {"item", "op", "values" if many else "value"}:
        raise FieldNotValid(field="filter")
    values = given["values"] if many else [given["value"]]
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_VALUES:
        raise FieldNotValid(field="filter")
    if not all(isinstance(value, str | int | float) for value in values):
        raise FieldNotValid(field="filter")
    return Condition(given["item"], operator, tuple(values))


def _order(given: Any) -> tuple[Ordering, ...]:
    if not isinstance(given, list) or len(given) > MOST_ORDERINGS:
        raise FieldNotValid(field="order")
    found = []
    for one in given:
        if not isinstance(one, dict) or not {"item"} <= one.keys() <= {"item", "direction"} or not is_code(one["item"]):
            raise FieldNotValid(field="order")
        direction = one.get("direction", "asc")
        if not isinstance(direction, str) or direction not in _DIRECTIONS:
            raise FieldNotValid(field="order")
        found.append(Ordering(one["item"], _DIRECTIONS[direction]))
    if len({ordering.item for ordering in found}) != len(found):
        raise FieldNotValid(field="order")
    return tuple(found)


def _page(given: Any) -> tuple[int, str]:
    if not isinstance(given, dict) or not given.keys() <= {"size", "after"}:
        raise FieldNotValid(field="page")
    size, after = given.get("size", 0), given.get("after", "")
    if isinstance(size, bool) or not isinstance(size, int) or not ("size" not in given or 1 <= size <= MOST_PAGE):
        raise FieldNotValid(field="page")
    if not isinstance(after, str) or len(after) > CURSOR_CHARACTERS or not is_plain(after):
        raise FieldNotValid(field="page")
    return size, after


def _text(fields: Mapping[str, Any], name: str, most: int) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise FieldNotValid(field=name)
    return _plain(name, value, most)


def _plain(name: str, value: str, most: int) -> str:
    if len(value) > most or not (value.isprintable() or is_plain(value)):
        raise FieldNotValid(field=name)
    return value


def _case_number(fields: Mapping[str, Any]) -> str:
    value = _text(fields, "case_number", CASE_NUMBER_CHARACTERS)
    return value and _speaking_number(value)


def _speaking_number(value: str) -> str:
    """A number has at least one letter or digit: blanks and invisible characters are no number."""
    _plain("case_number", value, CASE_NUMBER_CHARACTERS)
    if not value[0].isalnum() and not any(character.isalnum() for character in value):
        raise FieldNotValid(field="case_number")
    return value
