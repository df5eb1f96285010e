"""A paged JSON interface as a source. `Connection.database` is its root address; `http_options` says what can be declared.

Types are declared, never inferred. Numbers keep all their digits: they pass as the text that stands in the answer, truth
values as 1 and 0. Only hosts of the installation's list are reached (`kernel.hosts`).

The rows of many answers are no snapshot: a row that is inserted or deleted meanwhile can shift others over a page's edge.
The manifest says `pages`. What can be seen is refused: a total that changes or is not met (may be tried again), a page that
comes twice, a cursor that comes twice. An empty page ends page numbers and offsets, never a short one: an interface may give
less than it is asked for.
"""

import hashlib
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import httpx
import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, Source, select_columns
from jinqiao.dataplane.connectors.file_source import kept, ordered, with_columns
from jinqiao.dataplane.connectors.http_options import Table, at, options_of
from jinqiao.dataplane.connectors.jsonl_source import text_array
from jinqiao.dataplane.connectors.protection import Throttle, timeout_of
from jinqiao.dataplane.errors import (
    AuthenticationFailed,
    ConnectionLost,
    ConnectionTimedOut,
    HostUnreachable,
    HttpAnswerNotValid,
    HttpStatusRefused,
    PermissionDenied,
    RunStopped,
    SourceBusy,
    SourceChanged,
    StatementTimedOut,
    TableMissing,
    TlsFailed,
)
from jinqiao.kernel.contracts.tables import Connection, Engine, TableSchema
from jinqiao.kernel.hosts import Resolver, open_guarded_client, reachable_hosts, resolve

_RETRIED = frozenset((429, 500, 502, 503, 504))
_FIRST_WAIT_S, _MOST_WAIT_S, _MOST_RETRY_AFTER_S = 0.5, 60.0, 300.0
_LINK_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?', re.IGNORECASE)
_CHARSETS = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "gb18030": "gb18030",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "": "utf-8",
}


class _NotJson(ValueError):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotJson
    return found


def _constant(_: str) -> Any:
    raise _NotJson  # NaN and Infinity are no JSON


class _Number(str):
    """A number as it is written."""


_DECODER = json.JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_constant, object_pairs_hook=_pairs)


class HttpSource(Source):
    engine: ClassVar[Engine] = Engine.HTTP
    snapshot = "pages"

    def __init__(
        self,
        connection: Connection,
        password: str | None = None,
        *,
        allowed: tuple[str, ...] | None = None,
        resolver: Resolver = resolve,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._root, self._user, self._secret = connection.database.rstrip("/"), connection.user, password or ""
        self._options = options_of(connection.options)
        self._allowed, self._resolver, self._sleep = allowed, resolver, sleep

    def test(self) -> str:
        table = next(iter(self._options.tables.values()))
        with self.client() as client:
            next(self._pages(client, table, ReadPlan(table=table.name, columns=())))
        return "HTTP JSON"

    def tables(self) -> tuple[TableSchema, ...]:
        return tuple(table.schema for table in self._options.tables.values())

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        table = self._options.tables.get(plan.table)
        if table is None:
            raise TableMissing(table=plan.table)
        schema = table.schema
        select_columns(schema, plan.columns)
        conditions = with_columns(plan.row_filter, schema)
        order = select_columns(schema, plan.order_by)
        throttle = Throttle(plan)
        with self.client() as client:
            pages = (_batch(rows, table) for rows in self._pages(client, table, plan) if rows)
            rows = (kept(batch, conditions, plan.table) for batch in pages)
            for batch in ordered(rows, order, plan) if order else rows:
                wanted = batch.select(list(plan.columns))
                for start in range(0, wanted.num_rows, throttle.batch_rows):
                    piece = wanted.slice(start, throttle.batch_rows)
                    yield piece
                    throttle.took(piece)

    # --- pages ----------------------------------------------------------------------------------------------------

    def _pages(self, client: httpx.Client, table: Table, plan: ReadPlan) -> Iterator[list[dict[str, Any]]]:
        """The rows of each answer, until the interface says or shows that there are no more."""
        paging = table.paging
        reading = _Reading(self, client, table, plan)
        query = dict(table.query)
        if paging.size_parameter:
            query[paging.size_parameter] = str(paging.size)
        url, position, seen_rows = self._root + table.path, "", 0
        if paging.kind == "page":
            position = str(paging.first)
        elif paging.kind == "offset":
            position = "0"
        seen: set[str] = set()
        before = b""
        total: int | None = None
        for number in range(self._options.max_pages):
            asked = {**query, paging.parameter: position} if position else query
            answer, following = reading.ask(url, asked)
            rows = at(answer, table.rows)
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise HttpAnswerNotValid(table=table.name, reason="rows")
            total = _held_total(total, at(answer, paging.total) if paging.total is not None else None, table, number)
            if rows and paging.kind in ("page", "offset"):
                mark = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).digest()
                if mark == before:  # the parameter is ignored, or the last page comes for ever
                    raise HttpAnswerNotValid(table=table.name, reason="page twice")
                before = mark
            seen_rows += len(rows)
            yield rows
            if total is not None and seen_rows > total:
                raise SourceChanged(table=table.name)
            match paging.kind:
                case "none":
                    break
                case "page" | "offset":
                    if not rows or seen_rows == total:
                        break
                    position = str(paging.first + number + 1) if paging.kind == "page" else str(seen_rows)
                    continue
                case "cursor":
                    position = _cursor(at(answer, paging.next), table)
                case _:
                    found = following if paging.next == "header" else _cursor(at(answer, paging.next), table)
                    position, url, query = "", self._same_origin(url, found, table) if found else "", {}
            step = url if paging.kind == "link" else position
            if not step:
                break
            if step in seen:
                raise HttpAnswerNotValid(table=table.name, reason="page twice")
            seen.add(step)
        else:
            raise HttpAnswerNotValid(table=table.name, reason="max_pages")
        if total is not None and seen_rows != total:
            raise SourceChanged(table=table.name)

    def _same_origin(self, url: str, following: str, table: Table) -> str:
        """The next address; another host than the root's never gets our key."""
        try:
            joined = httpx.URL(url).join(following)
        except (httpx.InvalidURL, ValueError):
            raise HttpAnswerNotValid(table=table.name, reason="next") from None
        root = httpx.URL(self._root)
        if (joined.scheme, joined.raw_host, joined.port) != (root.scheme, root.raw_host, root.port) or joined.userinfo:
            raise HttpAnswerNotValid(table=table.name, reason="next")
        return str(joined)

    # --- one answer -----------------------------------------------------------------------------------------------

    def client(self, *, timeout_s: float | None = None) -> httpx.Client:
        """A client that shows our key; close it. Raises TlsFailed, AuthenticationFailed."""
        headers = {"Accept": "application/json", "User-Agent": "jinqiao"}
        auth: httpx.Auth | None = None
        match self._options.auth:
            case "bearer":
                headers["Authorization"] = f"Bearer {self._secret}"
            case "header":
                headers[self._options.auth_name] = self._secret
            case "basic":
                auth = httpx.BasicAuth(self._user, self._secret)
        try:
            return open_guarded_client(
                reachable_hosts() if self._allowed is None else self._allowed,
                timeout_s=timeout_s or self._options.timeout_s,
                ca_file=self._options.ca,
                headers=headers,
                auth=auth,
                resolver=self._resolver,
            )
        except (OSError, ssl.SSLError):
            raise TlsFailed() from None
        except UnicodeEncodeError:
            raise AuthenticationFailed(user=self._user) from None

    def secret_query(self) -> dict[str, str]:
        return {self._options.auth_name: self._secret} if self._options.auth == "query" else {}


class _Reading:
    """One reading's requests: deadline, retries, and the bytes that it may take in all."""

    def __init__(self, source: HttpSource, client: httpx.Client, table: Table, plan: ReadPlan) -> None:
        self._source, self._client, self._table, self._plan = source, client, table, plan
        self._options = source._options
        self._left = self._options.max_bytes
        self._deadline = time.monotonic() + timeout_of(plan, None)

    def ask(self, url: str, query: dict[str, str]) -> tuple[Any, str]:
        """The answer, and the address in its Link header. Tries again what may mend itself, waiting longer each time."""
        wait_s = _FIRST_WAIT_S
        for attempt in range(self._options.retries + 1):
            if self._plan.stop():
                raise RunStopped()
            if time.monotonic() > self._deadline:
                raise StatementTimedOut(table=self._table.name)
            found = self._try(url, query, last=attempt == self._options.retries)
            if not isinstance(found, float):
                return found
            self._rest(max(found, wait_s) if found >= 0 else wait_s)
            wait_s = min(wait_s * 2, _MOST_WAIT_S)
        raise AssertionError("the last attempt returns or raises")

    def _rest(self, seconds: float) -> None:
        while seconds > 0:
            if self._plan.stop():
                raise RunStopped()
            self._source._sleep(min(seconds, 1.0))
            seconds -= 1.0

    def _try(self, url: str, query: dict[str, str], *, last: bool) -> tuple[Any, str] | float:
        """The answer; or how many seconds the interface asks to wait, negative where it asks for nothing."""
        target = httpx.URL(url).copy_merge_params({**query, **self._source.secret_query()})
        where: dict[str, Any] = {
            "host": target.host,
            "port": str(target.port or ""),
            "seconds": self._options.timeout_s,
        }
        try:
            with self._client.stream("GET", target) as response:
                status = response.status_code
                if status in _RETRIED:
                    after = _retry_after(response.headers.get("Retry-After", ""))
                    if last or after > _MOST_RETRY_AFTER_S:
                        raise SourceBusy(state=str(status))
                    return after
                self._refuse(status)
                body = self._body(response)
                charset = _CHARSETS.get((response.charset_encoding or "").lower())
                following = _LINK_NEXT.search(response.headers.get("Link", ""))
        except httpx.TimeoutException:
            if last:
                raise ConnectionTimedOut(**where) from None
            return -1.0
        except httpx.ConnectError as problem:
            if isinstance(problem.__cause__, ssl.SSLError) or "certificate" in str(problem).lower():
                raise TlsFailed() from None
            if last:
                raise HostUnreachable(**where) from None
            return -1.0
        except (httpx.TransportError, httpx.DecodingError):
            if last:
                raise ConnectionLost() from None
            return -1.0
        except (httpx.InvalidURL, UnicodeEncodeError):
            raise HttpAnswerNotValid(table=self._table.name, reason="address") from None
        if charset is None:
            raise HttpAnswerNotValid(table=self._table.name, reason="charset")
        try:
            return _DECODER.decode(body.decode(charset).lstrip("\ufeff")), following[1] if following else ""
        except (ValueError, RecursionError):
            raise HttpAnswerNotValid(table=self._table.name, reason="JSON") from None

    def _body(self, response: httpx.Response) -> bytes:
        pieces: list[bytes] = []
        for piece in response.iter_bytes(1 << 16):
            self._left -= len(piece)
            if self._left < 0:
                raise HttpAnswerNotValid(table=self._table.name, reason="max_mb")
            if time.monotonic() > self._deadline:
                raise StatementTimedOut(table=self._table.name)
            pieces.append(piece)
        return b"".join(pieces)

    def _refuse(self, status: int) -> None:
        if status == 200:
            return
        if status == 401:
            raise AuthenticationFailed(user=self._source._user)
        if status == 403:
            raise PermissionDenied(table=self._table.name)
        if status in (404, 410):
            raise TableMissing(table=self._table.name)
        raise HttpStatusRefused(table=self._table.name, status=status)


def _retry_after(text: str) -> float:
    """Seconds that a Retry-After header asks for, as a number or as a date; negative where it asks for nothing."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return -1.0


def _held_total(before: int | None, given: Any, table: Table, number: int) -> int | None:
    """The total, which must stay the same from page to page. Raises SourceChanged."""
    if table.paging.total is None:
        return None
    if not isinstance(given, _Number) or not given.isdigit():
        raise HttpAnswerNotValid(table=table.name, reason="total")
    if number and int(given) != before:
        raise SourceChanged(table=table.name)
    return int(given)


def _cursor(given: Any, table: Table) -> str:
    if given is None or given is False or given == "":
        return ""
    if not isinstance(given, str):
        raise HttpAnswerNotValid(table=table.name, reason="next")
    return str(given)


def _batch(rows: list[dict[str, Any]], table: Table) -> pa.RecordBatch:
    """A page as columns of text."""
    arrays = []
    for field in table.fields:
        found = [at(row, field.at, _MISSING) for row in rows]
        if not field.optional and all(value is _MISSING for value in found):
            raise HttpAnswerNotValid(table=table.name, reason=f"field {field.column.name}")
        arrays.append(text_array([_text(value, field.column.name, table) for value in found]))
    return pa.RecordBatch.from_arrays(arrays, names=[field.column.name for field in table.fields])


_MISSING = object()


def _text(value: Any, column: str, table: Table) -> str | None:
    if value is None or value is _MISSING:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str):
        return str(value)
    raise HttpAnswerNotValid(table=table.name, reason=f"field {column}")
