"""The sandbox: each service with synthetic people, before an application calls the real one.

    POST /gateway/sandbox/v1/services/{service}/{operation}     as in production
    GET  /gateway/sandbox/v1/services/{service}/examples        keys that exist, and what to ask with them

The rows are made of the service's own items, always the same, in a database in memory; policy, statements and masks are those
of production. Nothing of a source is read. Person number n is the same in every service. Identity numbers begin with 999999,
which is no division, and have valid check digits; names begin with 测试.
"""

import sqlite3
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import Any

from jinqiao.dataplane.gateway.policy import offered
from jinqiao.dataplane.gateway.sources.base import quoted
from jinqiao.dataplane.gateway.sources.readers import ServiceReader
from jinqiao.dataplane.gateway.sources.sqlite import File, SqliteLookups
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.policy import ServicePolicy
from jinqiao.kernel.contracts.tables import Connection, Engine, LogicalType, Mask, RowCondition
from jinqiao.kernel.identifiers import credit_code, organisation_code, resident_id

PEOPLE = 20
"""Of these the row filter of the grant, where it has one, leaves out the last two."""
OUTSIDE = 2
EXAMPLES = 5
REGION = "999999"
_STEMS = "甲乙丙丁戊己庚辛壬癸"
_BORN = date(1990, 1, 1)
_DECLARED = {
    LogicalType.TEXT: "TEXT",
    LogicalType.INTEGER: "INTEGER",
    LogicalType.DOUBLE: "DOUBLE",
    LogicalType.BOOLEAN: "BOOLEAN",
    LogicalType.DATE: "DATE",
    LogicalType.DATETIME: "DATETIME",
    LogicalType.BINARY: "BLOB",
}


def case_number(number: int) -> str:
    """The case that person `number` (from 0) belongs to, where consumers see their own cases only."""
    return f"SANDBOX-{number + 1:04d}"


def examples(service: ServicePolicy) -> dict[str, Any]:
    """What an application can ask of the sandbox of a service and get an answer to, as JSON values."""
    grant, keys = service.grant, [item for item in service.grant.items if item.code in service.key_items]
    people = [_person(service, number) for number in range(EXAMPLES)]
    verifiable = [item for item in grant.items if item.mask is Mask.NONE and item.code not in service.key_items]
    filters = [item for item in grant.items if item.code in service.filter_items]
    return {
        "service": service.service,
        "environment": "sandbox",
        "operations": [operation.value for operation in offered(service)],
        "purposes": list(grant.purposes),
        "items": [item.code for item in grant.items],
        "key_items": list(service.key_items),
        "people": [
            {
                "by": {item.code: _as_json(person[item.column], item) for item in keys},
                "case_number": case_number(number),
                "claims": {item.code: _as_json(person[item.column], item) for item in verifiable},
            }
            for number, person in enumerate(people)
        ],
        "nobody": {item.code: _as_json(_value(service, item, PEOPLE + 1), item) for item in keys},
        "filter": [
            {"item": item.code, "op": "eq", "value": _as_json(people[0][item.column], item)}
            for item in filters
            if item.type is not LogicalType.DOUBLE
        ],
    }


class Sandbox:
    """The synthetic sources of the services under the policy in force."""

    def __init__(self) -> None:
        self._readers: dict[str, ServiceReader] = {}

    def reader(self, service: ServicePolicy) -> ServiceReader:
        reader = self._readers.get(service.service)
        if reader is None or (reader.service is not service and reader.service != service):
            # the one before ends with whoever still reads from it
            reader = self._readers[service.service] = ServiceReader(service, _Synthetic(service))
        return reader

    def keep_only(self, services: dict[str, ServicePolicy]) -> None:
        for name in [name for name in self._readers if name not in services]:
            del self._readers[name]

    async def close(self) -> None:
        readers, self._readers = list(self._readers.values()), {}
        for reader in readers:
            await reader.source.close()


class _Synthetic(SqliteLookups):
    """A database in memory, the same in each of its connections."""

    def __init__(self, service: ServicePolicy) -> None:
        super().__init__(Connection(engine=Engine.SQLITE, database=":memory:"))
        self._content = _database(service)

    def file(self) -> File:
        return File((0, 0), (0, 0))  # nobody replaces it

    def opened(self, busy_timeout_s: float) -> sqlite3.Connection:
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=256)
        db.deserialize(self._content)
        return db


def _database(service: ServicePolicy) -> bytes:
    people: list[dict[str, str | None]] = [{**_person(service, number)} for number in range(PEOPLE)]
    for person in people[PEOPLE - OUTSIDE :]:
        for condition in service.grant.row_filter[:1]:
            person[condition.column] = None  # which meets no condition
    declared = {item.column: _declaration(item) for item in service.grant.items}
    columns = list(people[0])
    names = ", ".join(f"{quoted(name)} {declared.get(name, 'TEXT')}" for name in columns)
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(f"CREATE TABLE {quoted(service.table)} ({names})")
        marks = ", ".join("?" * len(columns))
        rows = [[_stored(person[name], declared.get(name, "TEXT")) for name in columns] for person in people]
        db.executemany(f"INSERT INTO {quoted(service.table)} VALUES ({marks})", rows)  # noqa: S608 -- a quoted name
        db.commit()
        return db.serialize()


def _declaration(item: GrantedItem) -> str:
    if item.type is LogicalType.DECIMAL:
        return f"DECIMAL({item.precision or 18},{item.scale or 0})"
    return _DECLARED[item.type]


def _stored(text: str | None, declared: str) -> Any:
    return bytes.fromhex(text) if declared == "BLOB" and text is not None else text


def _person(service: ServicePolicy, number: int) -> dict[str, str]:
    """Canonical texts by column, of everything that a statement of the service may name."""
    person = {item.column: _value(service, item, number) for item in service.grant.items}
    for condition in service.grant.row_filter:
        person[condition.column] = _filtered(condition, number)
    if service.case_column:
        person[service.case_column] = case_number(number)
    return person


def _filtered(condition: RowCondition, number: int) -> str:
    """A value that meets a condition of the grant."""
    return condition.values[number % len(condition.values)] if condition.values else ""


def _value(service: ServicePolicy, item: GrantedItem, number: int) -> str:
    match item.type:
        case LogicalType.INTEGER:
            return str(number + 1)
        case LogicalType.DECIMAL:
            scale = item.scale or 0
            whole = (number + 1) % 10 ** max(1, (item.precision or 18) - scale)
            return f"{whole}.{'5'.ljust(scale, '0')}" if scale else str(whole)
        case LogicalType.DOUBLE:
            return repr(number + 0.5)
        case LogicalType.BOOLEAN:
            return str(number % 2)
        case LogicalType.DATE:
            return (date(2020, 1, 1) + timedelta(days=37 * number)).isoformat()
        case LogicalType.DATETIME:
            moment = datetime.fromisoformat("2020-01-01T09:00:00") + timedelta(days=37 * number, minutes=number)
            return moment.isoformat(timespec="microseconds")
        case LogicalType.BINARY:
            return (number + 1).to_bytes(4, "big").hex()
    text = _text(service, item, number)
    return text[: item.length] if item.length else text


def _text(service: ServicePolicy, item: GrantedItem, number: int) -> str:
    name = item.item
    if item.code in service.subject_items or "身份" in name:
        return identity_number(number)
    if "信用代码" in name:
        return company_code(number)
    if "姓名" in name or "名称" in name or "人员" in name:
        return person_name(number)
    if any(word in name for word in ("电话", "手机", "联系方式")):
        return f"1990000{number + 1:04d}"
    if "址" in name:
        return f"测试市测试区测试路{number + 1}号"
    if item.code in service.key_items:
        return f"TEST-{number + 1:04d}"
    return f"测试{name}{number % 3 + 1}"


def identity_number(number: int) -> str:
    """The identity number of synthetic person `number` (from 0): no division, valid check digit."""
    born = _BORN + timedelta(days=101 * number)
    seventeen = f"{REGION}{born:%Y%m%d}{(number + 1) % 1000:03d}"
    return seventeen + resident_id.check_sign(seventeen)


def company_code(number: int) -> str:
    """A unified social credit code of nobody: division 999999, valid check digits."""
    eight = f"9999{number + 1:04d}"
    seventeen = f"91{REGION}{eight}{organisation_code.check_sign(eight)}"
    return seventeen + credit_code.check_sign(seventeen)


def person_name(number: int) -> str:
    return "测试" + "".join(_STEMS[int(digit)] for digit in str(number))


def _as_json(text: str, item: GrantedItem) -> Any:
    """A canonical text as a question of JSON takes it."""
    if item.type is LogicalType.INTEGER:
        return int(text)
    return text == "1" if item.type is LogicalType.BOOLEAN else text
