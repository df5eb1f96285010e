"""From a permission to the bytes of an answer, one function an operation."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import orjson
from msgspec import Struct

from jinqiao.dataplane.gateway.cursors import Cursors
from jinqiao.dataplane.gateway.errors import BatchAnswerTooLarge, SourceNotUsable
from jinqiao.dataplane.gateway.formats import Form, arrow_bytes, csv_bytes
from jinqiao.dataplane.gateway.policy import Permission, offered
from jinqiao.dataplane.gateway.sources.base import Row
from jinqiao.dataplane.gateway.sources.readers import Reader, Start
from jinqiao.dataplane.gateway.values import Told, agrees
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.contracts.tables import Operator

logger = logging.getLogger(__name__)

BATCH_ROWS = 20_000
_AS_JSON = Form.JSON  # to read a member off its class costs a call as much as its masks do (Python 3.11)
Headers = tuple[tuple[bytes, bytes], ...]
_JSON = b"application/json; charset=utf-8"


class Answer(Struct, gc=False):
    """`rows` is how many rows of the source are in it: what quotas and records count. `persons`: numbers of whom they are, as
    the source has them; for the record's commitments alone."""

    body: bytes
    content_type: bytes
    rows: int
    headers: Headers = ()
    persons: frozenset[str] = frozenset()


class Telling(Struct, gc=False):
    """How a call is answered: its number, the form, and what makes cursors of its application in its environment."""

    call_id: str
    form: Form
    cursors: Callable[[], Cursors]
    environment: str
    application: str

    @property
    def scope(self) -> str:
        return f"{self.environment} {self.application}"


def answer_call(permission: Permission, reader: Reader, telling: Telling) -> Awaitable[Answer]:
    """The answer to whatever was permitted. Raises what the source raises, BatchAnswerTooLarge, CursorNotValid."""
    return _ANSWERS[permission.operation](permission, reader, telling)


async def answer_query(permission: Permission, reader: Reader, telling: Telling) -> Answer:
    """Rows of one key."""
    rows = await reader.look_up(permission, permission.keys[0])
    truncated = len(rows) > permission.row_cap
    if truncated:
        rows = rows[: permission.row_cap]
    if telling.form is not _AS_JSON:
        values = _values(permission, rows)
        return _table(permission, values, telling, _persons(permission, rows), truncated=truncated)
    fields: dict[str, Any] = {
        "call_id": telling.call_id,
        "items": permission.shape.codes,
        "rows": _named(permission, rows),
        "count": len(rows),
        "truncated": truncated,
    }
    return Answer(orjson.dumps(fields), _JSON, len(rows), persons=_persons(permission, rows))


async def answer_batch(permission: Permission, reader: Reader, telling: Telling) -> Answer:
    """Rows of each key, in the order of the keys; a key that finds nothing has no rows."""
    found = await _look_up_all(permission, reader)
    shown = [rows[: permission.row_cap] for rows in found]
    flat = [row for rows in shown for row in rows]
    persons = _persons(permission, flat)
    truncated = [len(rows) > permission.row_cap for rows in found]
    if telling.form is not Form.JSON:
        keys = [number for number, rows in enumerate(shown, 1) for _ in rows]
        every = _values(permission, flat)
        return _table(permission, every, telling, persons, truncated=any(truncated), keys=keys)
    results = [
        {"rows": _named(permission, rows), "count": len(rows), "truncated": cut}
        for rows, cut in zip(shown, truncated, strict=True)
    ]
    fields = {
        "call_id": telling.call_id,
        "items": permission.shape.codes,
        "results": results,
        "count": len(flat),
    }
    return Answer(orjson.dumps(fields), _JSON, len(flat), persons=persons)


async def _look_up_all(permission: Permission, reader: Reader) -> list[list[Row]]:
    found: list[list[Row]] = [[] for _ in permission.keys]
    left = iter(enumerate(permission.keys))
    total = 0

    async def some() -> None:
        nonlocal total
        for at, key in left:
            found[at] = await reader.look_up(permission, key)
            total += len(found[at])
            if total > BATCH_ROWS:
                raise BatchAnswerTooLarge(allowed=BATCH_ROWS)
            await asyncio.sleep(0)  # a source that answers at once leaves room for other calls too

    tasks = [asyncio.ensure_future(some()) for _ in range(min(reader.at_once, len(permission.keys)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def answer_verification(permission: Permission, reader: Reader, telling: Telling) -> Answer:
    """Yes, partial or no; no value. Nobody of that key is answered like somebody of whom all claims are wrong, by the same
    statement and the same comparisons.

    Which claims agree is told where the service answers queries too: there it tells nothing that could not be asked.
    """
    found = await reader.look_up(permission, permission.keys[0])
    nobody: Row = (None,) * len(permission.shape.read)
    best: Sequence[bool] = ()
    for row in found[: max(1, permission.row_cap)] or [nobody]:
        right = [
            _agrees(permission, claim, value, at)
            for at, (claim, value) in enumerate(zip(permission.claims, row, strict=False))
        ]
        if not best or sum(right) > sum(best):
            best = right
    result = "yes" if all(best) else "partial" if any(best) else "no"
    fields: dict[str, Any] = {"call_id": telling.call_id, "result": result}
    if Operation.QUERY in offered(permission.service):
        fields["agrees"] = {item.code: right for item, right in zip(permission.shape.items, best, strict=True)}
    return Answer(orjson.dumps(fields), _JSON, 0)


def _agrees(permission: Permission, claim: str, value: Any, at: int) -> bool:
    """A value that is not of its item's type agrees with nothing: an error would tell that there is somebody."""
    try:
        return agrees(claim, value, permission.shape.items[at])
    except (ValueError, TypeError, ArithmeticError):
        logger.warning("service %s: a value is not of its item's type", permission.service.service)
        return False


async def answer_list(permission: Permission, reader: Reader, telling: Telling) -> Answer:
    """A page of rows by filters, and the cursor of the next one."""
    cursors = telling.cursors()
    start = Start(cursors.salt(permission))
    if permission.after:
        after, skip = cursors.read(permission, telling.scope)
        start = Start(start.salt, after, skip)
    page = await reader.page(permission, start)
    following = None if page.last is None else cursors.make(permission, telling.scope, page.last, page.skip)
    persons = _persons(permission, page.rows)
    if telling.form is not Form.JSON:
        return _table(permission, _values(permission, page.rows), telling, persons, following=following)
    fields = {
        "call_id": telling.call_id,
        "items": permission.shape.codes,
        "rows": _named(permission, page.rows),
        "count": len(page.rows),
        "next": following,
    }
    return Answer(orjson.dumps(fields), _JSON, len(page.rows), persons=persons)


async def answer_count(permission: Permission, reader: Reader, telling: Telling) -> Answer:
    """How many rows filters find; small numbers, behind which single persons could be seen, are told as "fewer than"."""
    count = await reader.count(permission)
    least = permission.service.smallest_count
    fields: dict[str, Any] = {"call_id": telling.call_id, "count": count}
    if 0 < count < least:
        fields |= {"count": None, "fewer_than": least}
    return Answer(orjson.dumps(fields), _JSON, 0)


_ANSWERS = {
    Operation.QUERY: answer_query,
    Operation.BATCH: answer_batch,
    Operation.VERIFY: answer_verification,
    Operation.LIST: answer_list,
    Operation.COUNT: answer_count,
}
_BAD_VALUE = (ValueError, TypeError, ArithmeticError)


def _values(permission: Permission, rows: Iterable[Row]) -> list[list[Told]]:
    """Rows as they are answered, masked. Raises SourceNotUsable where a value is not of its item's type."""
    tellers = permission.shape.tellers
    try:
        return [
            [None if value is None else tell(value) for tell, value in zip(tellers, row, strict=False)] for row in rows
        ]
    except _BAD_VALUE as problem:
        raise _unreadable(permission) from problem


def _named(permission: Permission, rows: Iterable[Row]) -> list[dict[str, Told]]:
    """The same with the codes of the items."""
    tellers, named = permission.shape.named_tellers, []
    try:
        for row in rows:
            told: dict[str, Told] = {}
            for at, (code, tell) in enumerate(tellers):
                value = row[at]
                told[code] = None if value is None else tell(value)
            named.append(told)
        return named
    except _BAD_VALUE as problem:
        raise _unreadable(permission) from problem


def _unreadable(permission: Permission) -> SourceNotUsable:
    logger.warning("service %s: a value is not of its item's type", permission.service.service)
    return SourceNotUsable()


def _table(
    permission: Permission,
    values: list[list[Told]],
    telling: Telling,
    persons: frozenset[str],
    *,
    truncated: bool = False,
    following: str | None = None,
    keys: list[int] | None = None,
) -> Answer:
    """Rows as CSV or Arrow; what JSON says beside the rows stands in headers."""
    headers = [(b"jinqiao-call-id", telling.call_id.encode()), (b"jinqiao-truncated", str(truncated).lower().encode())]
    if following is not None:
        headers.append((b"jinqiao-next", following.encode()))
    if telling.form is Form.CSV:
        body, kind = csv_bytes(permission.shape.items, values, keys), b"text/csv; charset=utf-8; header=present"
    else:
        body, kind = arrow_bytes(permission.shape.items, values, keys), telling.form.value.encode()
    return Answer(body, kind, len(values), tuple(headers), persons)


_NOBODY: frozenset[str] = frozenset()


def _persons(permission: Permission, rows: Iterable[Row]) -> frozenset[str]:
    """Numbers of persons in rows, before any mask."""
    places = permission.shape.row_persons
    return frozenset(str(row[at]) for row in rows for at in places if row[at]) if places else _NOBODY


def asked_persons(permission: Permission) -> frozenset[str]:
    """Numbers that a call asks for: as keys, claims, or by filters that name them."""
    persons = permission.service.subject_items
    if not persons:
        return _NOBODY
    found = {key[at] for key in permission.keys for at in permission.shape.key_persons}
    if permission.claims:
        found |= {
            claim for code, claim in zip(permission.shape.codes, permission.claims, strict=True) if code in persons
        }
    for item, condition in zip(permission.filtered, permission.conditions, strict=True):
        if item.code in persons and condition.operator in (Operator.EQUAL, Operator.ONE_OF):
            found.update(condition.values)
    return frozenset(found)
