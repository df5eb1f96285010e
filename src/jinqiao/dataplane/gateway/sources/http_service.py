"""Look-ups in a department's own HTTP service, behind the same policy as a table.

`Connection` and its options are those of an HTTP source (`connectors.http_options`); `lookup` of a table says how one key is
asked for. Only hosts of the installation's list are reached (`kernel.hosts`). What comes back is checked before anything of it
counts: JSON of the declared form, each value of its item's type, each row of the key that was asked for; then the row filter of
the grant is laid on it here. An answer that is not so is not usable, and nothing of it is told.
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx

from jinqiao.dataplane.connectors.http_json import HttpSource
from jinqiao.dataplane.connectors.http_options import Field, HealthPath, HttpOptions, Lookup, Table, at, options_of
from jinqiao.dataplane.gateway.circuit import Circuit
from jinqiao.dataplane.gateway.errors import (
    FieldNotValid,
    KeyNotValid,
    OperationNotOffered,
    SourceNotReachable,
    SourceNotUsable,
    SourceTooSlow,
)
from jinqiao.dataplane.gateway.policy import ONE_BY_ONE, Permission
from jinqiao.dataplane.gateway.sources.base import LOOKUP_TIMEOUT_S, Row
from jinqiao.dataplane.gateway.sources.conditions import meets
from jinqiao.dataplane.gateway.values import key_text
from jinqiao.kernel.contracts.policy import ServicePolicy
from jinqiao.kernel.contracts.tables import Column, Connection, LogicalType, Operator, RowCondition
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.hosts import Resolver, resolve

logger = logging.getLogger(__name__)

THREADS = 8
AT_ONCE = 4
ANSWER_BYTES = 2 * 1024 * 1024
_BUSY = frozenset((408, 425, 429, 500, 502, 503, 504))
_MISSING = object()


class HttpLookups:
    """One HTTP service. Belongs to the event loop; requests run in threads."""

    def __init__(
        self,
        connection: Connection,
        password: str,
        *,
        timeout_s: float = LOOKUP_TIMEOUT_S,
        allowed: tuple[str, ...] | None = None,
        resolver: Resolver = resolve,
    ) -> None:
        self.connection, self.password = connection, password
        self.circuit = Circuit()
        self._root = connection.database.rstrip("/")
        self._allowed, self._resolver, self._timeout_s = allowed, resolver, timeout_s
        self._threads = ThreadPoolExecutor(THREADS, "http-lookups")
        self._opening = threading.Lock()
        self._client: httpx.Client | None = None
        self._options: HttpOptions | None = None

    def options(self) -> HttpOptions:
        """Raises SourceNotUsable."""
        if self._options is None:
            try:
                self._options = options_of(self.connection.options)
            except JinqiaoError as problem:
                raise SourceNotUsable from problem
        return self._options

    def table(self, name: str) -> Table:
        """Raises SourceNotUsable."""
        table = self.options().tables.get(name)
        if table is None or table.lookup is None:
            raise SourceNotUsable
        return table

    async def ask(self, table: Table, lookup: Lookup, keys: dict[str, Any]) -> Any:
        """The JSON of an answer; None where the service says that there is none.

        `keys`: values by parameter. Raises SourceResting, SourceNotReachable, SourceTooSlow, SourceNotUsable.
        """
        began = time.monotonic()
        self.circuit.enter(began)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                answer = await loop.run_in_executor(self._threads, self._request, table, lookup, keys)
        except (SourceNotReachable, SourceTooSlow):
            self.circuit.failed(time.monotonic())
            raise
        except TimeoutError as problem:
            self.circuit.failed(time.monotonic())
            raise SourceTooSlow from problem
        except asyncio.CancelledError:
            now = time.monotonic()
            if now - began >= self._timeout_s:
                self.circuit.failed(now)
            else:
                self.circuit.left()  # who asked no longer wants to know: that is not the source's fault
            raise
        except BaseException:
            self.circuit.succeeded()  # it answers; that the answer is of no use is another matter
            raise
        self.circuit.succeeded()
        return answer

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        if self._client is not None:
            self._client.close()
            self._client = None

    # ── in a thread ──

    def _request(self, table: Table, lookup: Lookup, keys: dict[str, Any]) -> Any:
        deadline = time.monotonic() + self._timeout_s
        path, parameters, body = table.path, dict(table.query), None
        if lookup.place == "path":
            for name, value in keys.items():
                path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        elif lookup.place == "query":
            parameters |= {name: str(value) for name, value in keys.items()}
        else:
            body = json.dumps(keys, ensure_ascii=False).encode("utf-8")
        try:
            client, secret = self._opened()
            target = httpx.URL(self._root + path).copy_merge_params({**parameters, **secret})
            headers = {"Content-Type": "application/json"} if body is not None else {}
            with client.stream(lookup.method, target, content=body, headers=headers) as response:
                return self._answer(response, lookup, deadline)
        except httpx.TimeoutException as problem:
            raise SourceTooSlow from problem
        except httpx.HTTPError as problem:
            logger.warning("a look-up failed: %s", type(problem).__name__)
            raise SourceNotReachable from problem
        except JinqiaoError as problem:
            if problem.code.startswith("gateway."):
                raise
            logger.warning("a look-up failed: %s", problem.code)
            raise SourceNotReachable if problem.retryable else SourceNotUsable from problem
        except (ValueError, RecursionError) as problem:  # no address, no JSON
            logger.warning("a look-up failed: %s", type(problem).__name__)
            raise SourceNotUsable from problem

    def _opened(self) -> tuple[httpx.Client, dict[str, str]]:
        """The client, which reaches allowed hosts only, and the secret where it stands in the query. Raises what the connector raises."""
        source = HttpSource(self.connection, self.password, allowed=self._allowed, resolver=self._resolver)
        with self._opening:
            if self._client is None:
                self._client = source.client(timeout_s=self._timeout_s)
            return self._client, source.secret_query()

    def probe(self, health: HealthPath) -> int:
        """The status of the health path's answer, of which nothing is read; runs in a thread. Raises httpx.HTTPError, JinqiaoError,
        ValueError."""
        client, secret = self._opened()
        target = httpx.URL(self._root + health.path).copy_merge_params(secret)
        with client.stream("GET", target, timeout=health.timeout_s) as response:
            return response.status_code

    def _answer(self, response: httpx.Response, lookup: Lookup, deadline: float) -> Any:
        if response.status_code in lookup.missing:
            return None
        if response.status_code in _BUSY:
            logger.warning("a look-up failed: status %d", response.status_code)
            raise SourceNotReachable
        if response.status_code != 200:
            logger.warning("a look-up failed: status %d", response.status_code)
            raise SourceNotUsable
        body = bytearray()
        for piece in response.iter_bytes(1 << 14):
            body += piece
            if len(body) > ANSWER_BYTES:
                raise SourceNotUsable
            if time.monotonic() > deadline:
                raise SourceTooSlow
        return json.loads(
            body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once
        )


class HttpReader:
    """Reads for one service: look-ups only, one key a request."""

    def __init__(self, service: ServicePolicy, source: HttpLookups) -> None:
        self.service = service
        self.source = source

    @property
    def at_once(self) -> int:
        return AT_ONCE

    async def look_up(self, permission: Permission, key: Sequence[str]) -> list[Row]:
        """Raises SourceResting, SourceNotReachable, SourceTooSlow, SourceNotUsable, KeyNotValid, FieldNotValid."""
        table = self.source.table(self.service.table)
        lookup = table.lookup
        fields = {field.column.name: field for field in table.fields}
        columns = [item.column for item in permission.shape.key_items]
        if lookup is None or set(columns) != set(lookup.keys):
            raise SourceNotUsable
        asked = dict(zip(columns, key, strict=True))
        for item, text in zip(permission.shape.key_items, key, strict=True):
            if lookup.place == "path" and text in (".", ".."):
                raise KeyNotValid(item=item.code, type=item.type.value)
        own = self._conditions(permission, fields, asked)
        sent = {lookup.keys[column]: _json_key(text, fields[column].column) for column, text in asked.items()}
        answer = await self.source.ask(table, lookup, sent)
        try:
            rows = [_read(row, fields) for row in _rows(answer, table)]
            if not all(_is_of(row, asked, fields) for row in rows):
                raise ValueError("a row of another key")
            kept = [
                row for row in rows if all(meets(condition, row[condition.column], kind) for condition, kind in own)
            ]
            return [
                tuple(row[item.column] for item in permission.shape.read) for row in kept[: self.service.row_cap + 1]
            ]
        except (ValueError, TypeError, ArithmeticError, KeyError) as problem:
            logger.warning("service %s: the answer of its source is not of the declared form", self.service.service)
            raise SourceNotUsable from problem

    def _conditions(
        self, permission: Permission, fields: dict[str, Field], asked: dict[str, str]
    ) -> list[tuple[RowCondition, LogicalType]]:
        """The grant's row filter, and the case."""
        conditions = [*self.service.grant.row_filter]
        if self.service.case_column:
            field = fields.get(self.service.case_column)
            case = key_text(permission.case_number, field.column.type) if field is not None else None
            if field is None:
                raise SourceNotUsable
            if case is None:
                raise FieldNotValid(field="case_number")
            conditions.append(RowCondition(column=field.column.name, operator=Operator.EQUAL, values=(case,)))
        needed = (
            {condition.column for condition in conditions}
            | {item.column for item in permission.shape.read}
            | set(asked)
        )
        if not needed <= fields.keys():
            raise SourceNotUsable
        return [(condition, fields[condition.column].column.type) for condition in conditions]

    async def page(self, permission: Permission, start: Any) -> Any:
        raise OperationNotOffered(allowed="、".join(ONE_BY_ONE))

    async def count(self, permission: Permission) -> int:
        raise OperationNotOffered(allowed="、".join(ONE_BY_ONE))


def _rows(answer: Any, table: Table) -> list[dict[str, Any]]:
    """The rows of an answer: an array of objects, one object, or null for none."""
    if answer is None:
        return []
    found = at(answer, table.rows, _MISSING)
    if found is None:
        return []
    rows = found if isinstance(found, list) else [found]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("no rows")
    return rows


def _read(row: dict[str, Any], fields: dict[str, Field]) -> dict[str, Any]:
    return {name: _value(at(row, field.at, _MISSING), field) for name, field in fields.items()}


def _value(value: Any, field: Field) -> Any:
    """A value of the declared type, or None. Raises ValueError where it is of another."""
    if value is _MISSING:
        if not field.optional:
            raise ValueError("a field is missing")
        return None
    if value is None:
        return None
    match field.column.type:
        case LogicalType.TEXT if isinstance(value, str):
            return value
        case LogicalType.BOOLEAN if isinstance(value, bool):
            return value
        case LogicalType.INTEGER if isinstance(value, int) and not isinstance(value, bool):
            return value
        case LogicalType.DECIMAL if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
            return Decimal(value)
        case LogicalType.DOUBLE if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return float(value)
        case LogicalType.DATE if isinstance(value, str):
            return date.fromisoformat(value)
        case LogicalType.DATETIME if isinstance(value, str):
            return datetime.fromisoformat(value)
        case LogicalType.BINARY if isinstance(value, str):
            return bytes.fromhex(value)
    raise ValueError("a field is of another type")


def _is_of(row: dict[str, Any], asked: dict[str, str], fields: dict[str, Field]) -> bool:
    """Whether a row is of the key that was asked for, as far as it says so: a service that ignores a parameter answers with
    everybody."""
    return all(
        row[column] is None
        or meets(
            RowCondition(column=column, operator=Operator.EQUAL, values=(text,)),
            row[column],
            fields[column].column.type,
        )
        for column, text in asked.items()
    )


def _json_key(text: str, column: Column) -> Any:
    if column.type is LogicalType.INTEGER:
        return int(text)
    return text == "1" if column.type is LogicalType.BOOLEAN else text


def _no_constant(_: str) -> Any:
    raise ValueError("no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice")
    return fields
