"""Replicas of a gateway on several machines tell each other what they counted, so that rates and quotas hold for all together.

A thread of each process puts what its lane has counted on this day into a table of PostgreSQL, four times a second, and reads what
the lanes of other homes have put there. So a limit is overrun by no more than what the others admit within about half a second, the
tolerance that operating.md states; workers of one home hear of each other sooner (`siblings`).

Numbers of a lane only grow within a day, and what is heard is by how much they are more than those heard before: a look that was
lost, or made twice, changes nothing. A lane has one writer at a time, which begins with what the evidence says of it. So a process
that starts again neither loses nor doubles anything, and what it answered without having told, because it was killed, the others
hear of then.

In the table stand names of gateways, lanes, services and applications with counts, nothing of calls or persons. It is no evidence
and needs no backup: everything of the day is told again at each connection, and once a minute.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import psycopg

from jinqiao.dataplane.evidence.shared_tables import STATEMENT_WITHIN_MS, address_of, table_number
from jinqiao.dataplane.gateway.quota import Answered
from jinqiao.dataplane.gateway.rate import MINUTE_S
from jinqiao.dataplane.gateway.siblings import Rate, Use
from jinqiao.kernel import moments

logger = logging.getLogger(__name__)

TABLE = "jinqiao_gateway_use"
EVERY_S = 0.25
REST_S = 0.5  # after a failure
WHOLE_EVERY_S = (
    60.0  # everything is told and looked at, whatever became of the table and its database's clock meanwhile
)
MARGIN_S = 2 * STATEMENT_WITHIN_MS / 1000  # what was told in a statement that became visible later than others
WHOLE_S = 10**6
SWEEP_EVERY_S = 600.0
SWEEP_AT_ONCE = 5000
KEEP_HOURS = 30  # longer than a day lasts
END_WITHIN_S = 15.0
RATE = "rate"  # as the kind of a count; that of a quota of the day is its environment

MAKE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (gateway text NOT NULL, replica text NOT NULL, lane text NOT NULL, day date NOT NULL,"
    " kind text NOT NULL, service text NOT NULL, application text NOT NULL, calls bigint NOT NULL, answered bigint NOT NULL,"
    " told_at timestamptz NOT NULL, PRIMARY KEY (gateway, lane, day, kind, service, application)) WITH (fillfactor = 50)"
)
_COUNT = "lane, day, kind, service, application, calls, answered"
TELL = (
    f"INSERT INTO {TABLE} AS kept (gateway, replica, {_COUNT}, told_at)"  # noqa: S608 -- names of ours
    " SELECT %s, %s, told.*, clock_timestamp() FROM unnest(%s::text[], %s::date[], %s::text[], %s::text[], %s::text[],"
    " %s::bigint[], %s::bigint[]) AS told ON CONFLICT (gateway, lane, day, kind, service, application) DO UPDATE SET"
    " calls = greatest(kept.calls, EXCLUDED.calls), answered = greatest(kept.answered, EXCLUDED.answered),"
    " told_at = EXCLUDED.told_at"
)
OWN = f"SELECT {_COUNT} FROM {TABLE} WHERE gateway = %s AND replica = %s AND day >= %s"  # noqa: S608 -- names of ours
LOOK = (
    f"SELECT {_COUNT} FROM {TABLE} WHERE gateway = %s AND replica <> %s AND day >= %s"  # noqa: S608 -- names of ours
    " AND told_at > clock_timestamp() - make_interval(secs => %s)"
)
SWEEP = (
    f"DELETE FROM {TABLE} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {TABLE}"  # noqa: S608 -- a name of ours
    f" WHERE told_at < clock_timestamp() - interval '{KEEP_HOURS} hours' LIMIT {SWEEP_AT_ONCE} FOR UPDATE SKIP LOCKED))"
)


class Counter(NamedTuple):
    """What is counted: of a rate (`kind` RATE, `service` what is metered), or of a quota of the day (`kind` its environment)."""

    lane: str
    day: date
    kind: str
    service: str
    application: str


class Heard(NamedTuple):
    """By how much others' counters are more than before; `rows` 0 for a rate."""

    counter: Counter
    calls: int
    rows: int


class SharedUse:
    """`counted`, `used`, `hear` and `start` belong to the event loop; `exchange` to one thread at a time."""

    def __init__(
        self, url: str, gateway: str, replica: str, lane: str, *, is_alone: bool, rate: Rate, use: Use
    ) -> None:
        """`url` as of the claims. `is_alone`: no other process writes lanes of this home. `rate(metered, keys)` and
        `use(environment, service, application, keys, rows)` are called with what other homes counted."""
        self._address = address_of(url)
        self._gateway, self._replica, self._lane, self._is_alone = gateway, replica, lane, is_alone
        self._rate, self._use = rate, use
        # since the start, only added to by the loop, only copied by the thread: neither waits for the other
        self._rates: dict[str, int] = {}
        self._uses: dict[tuple[str, str, str], list[int]] = {}
        self._told_rates: dict[str, int] = {}
        self._told_uses: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._day = moments.today()
        self._totals: dict[Counter, tuple[int, int]] = {}  # of our lanes
        self._begun: (
            dict[Counter, tuple[int, int]] | None
        ) = {}  # what the evidence said; None: the table has been asked too
        self._untold: set[Counter] = set()
        self._given: dict[Counter, tuple[int, int]] = {}  # of other homes' lanes: what has been heard
        self._heard: list[Heard] = []
        self._looked_at: float | None = None
        self._whole_at = self._sweep_at = 0.0
        self._db: psycopg.Connection[Any] | None = None
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_shared: bool | None = None
        """Whether the last exchange succeeded; None: there was none."""

    def counted(self, metered: str, keys: int = 1) -> None:
        """A call was admitted under a rate."""
        self._rates[metered] = self._rates.get(metered, 0) + keys

    def used(self, environment: str, service: str, application: str, keys: int, rows: int) -> None:
        """Something of a quota of the day was used, and stands in the evidence."""
        use = self._uses.setdefault((environment, service, application), [0, 0])
        use[0] += keys
        use[1] += rows

    def begin(self, answered: Mapping[Answered, tuple[int, int]], day: date) -> None:
        """What the evidence of the home says of a day; before the first exchange."""
        for (lane, *names), use in answered.items():
            if self._is_alone or lane == self._lane:
                counter = Counter(lane, day, *names)
                self._totals[counter] = use
        self._begun = dict(self._totals)

    async def start(self) -> None:
        """Hear what the others have used already, then go on in a thread. A database that is away stops no start."""
        loop = asyncio.get_running_loop()
        self.hear(await asyncio.to_thread(self.exchange))
        self._thread = threading.Thread(target=self._exchange_forever, args=(loop,), name="shared-use", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell what is not told yet, where the table is reached, and end. Blocks."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join(END_WITHIN_S)
            self._thread = None
        else:
            self._disconnect()

    def hear(self, heard: Sequence[Heard]) -> None:
        """Count what `exchange` has given."""
        today = moments.today()
        for counter, calls, rows in heard:
            if counter.kind == RATE:
                self._rate(counter.service, calls)
            elif counter.day == today:
                self._use(counter.kind, counter.service, counter.application, calls, rows)

    def exchange(self) -> list[Heard]:
        """Tell what was counted, and what others counted since the last time. Raises nothing of the database; blocks."""
        self._turn(moments.today())
        try:
            db = self._connected()
        except psycopg.Error as problem:
            self._failed(problem)
            # whoever was admitted meanwhile got no answer, for claims are not reached either: of a rate they have used nothing
            self._collect(with_rates=False)
        else:
            self._collect(with_rates=True)
            try:
                self._tell(db)
                self._look(db)
                self._sweep(db)
            except psycopg.Error as problem:
                self._failed(problem)
            else:
                if not self.is_shared:
                    logger.info("rates and quotas are shared with the other replicas")
                self.is_shared = True
        heard, self._heard = self._heard, []
        return heard

    def _exchange_forever(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._ends.wait(EVERY_S if self.is_shared else REST_S):
            self._exchange_into(loop)
        if self._db is not None:
            self._exchange_into(loop)
        self._disconnect()

    def _exchange_into(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            heard = self.exchange()
        except Exception as problem:  # noqa: BLE001 -- whatever it was, the next exchange is tried
            self._failed(problem)
            return
        if heard:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.hear, heard)

    def _turn(self, day: date) -> None:
        """Forget a day that is over; what others told of the new one before it began here is looked at again."""
        if day == self._day:
            return
        self._day, yesterday = day, day - timedelta(days=1)
        self._totals = {key: use for key, use in self._totals.items() if key.day >= day or key in self._untold}
        self._given = {key: use for key, use in self._given.items() if key.day >= yesterday}
        self._whole_at = 0.0

    def _collect(self, *, with_rates: bool) -> None:
        """Add what the loop has counted since the last time."""
        rates = self._rates.copy()  # in one step of the interpreter
        if with_rates:
            for metered, keys in rates.items():
                self._add(RATE, metered, "", keys - self._told_rates.get(metered, 0), 0)
        self._told_rates = rates
        for names, (keys, rows) in self._uses.copy().items():
            told_keys, told_rows = self._told_uses.get(names, (0, 0))
            self._add(*names, keys - told_keys, rows - told_rows)
            self._told_uses[names] = (keys, rows)

    def _add(self, kind: str, service: str, application: str, keys: int, rows: int) -> None:
        if keys or rows:
            counter = Counter(self._lane, self._day, kind, service, application)
            calls, answered = self._totals.get(counter, (0, 0))
            self._totals[counter] = (calls + keys, answered + rows)
            self._untold.add(counter)

    def _tell(self, db: "psycopg.Connection[Any]") -> None:
        if time.monotonic() >= self._whole_at:
            self._untold.update(self._totals)
        if not self._untold:
            return
        told = [(*counter, *self._totals[counter]) for counter in sorted(self._untold)]
        db.execute(TELL, (self._gateway, self._replica, *(list(column) for column in zip(*told, strict=True))))
        self._untold.clear()

    def _look(self, db: "psycopg.Connection[Any]") -> None:
        now, last = time.monotonic(), self._looked_at
        is_whole = last is None or now >= self._whole_at
        span_s = WHOLE_S if last is None or is_whole else now - last + MARGIN_S
        given = (self._gateway, self._replica, self._day - timedelta(days=1), span_s)
        found = db.execute(LOOK, given).fetchall()
        if is_whole:
            self._whole_at = now + WHOLE_EVERY_S
        self._looked_at = now
        # of what was counted before nobody can say how much was within the last minute: the minute begins empty, as at a start
        begins_anew = last is None or now - last > MINUTE_S
        for *names, calls, rows in found:
            counter = Counter(*names)
            if counter.kind != RATE and counter.day != self._day:
                continue
            calls_before, rows_before = self._given.get(counter, (0, 0))
            more = max(0, calls - calls_before), max(0, rows - rows_before)
            if any(more):
                self._given[counter] = (calls_before + more[0], rows_before + more[1])
                if counter.kind != RATE or not begins_anew:
                    self._heard.append(Heard(counter, *more))

    def _sweep(self, db: "psycopg.Connection[Any]") -> None:
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_EVERY_S
            db.execute(SWEEP)

    def _connected(self) -> "psycopg.Connection[Any]":
        """The connection, made where there is none; then everything of the day is to be told and to be looked at. Raises
        psycopg.Error."""
        if self._db is not None and not self._db.closed:
            return self._db
        self._db = db = psycopg.connect(self._address, autocommit=True)
        db.execute(f"SET statement_timeout = {STATEMENT_WITHIN_MS}")
        db.execute("SET synchronous_commit = off")  # what a crash of the database forgets is told again
        table_number(db, TABLE, (MAKE,))
        if self._begun is not None:
            self._begin_with(db, self._begun)
            self._begun = None
        self._whole_at = 0.0
        return db

    def _begin_with(self, db: "psycopg.Connection[Any]", begun: Mapping[Counter, tuple[int, int]]) -> None:
        """Go on from what our lanes have told before. It is more than the evidence says where evidence was lost with its machine:
        then it is what we have used."""
        for *names, told_calls, told_rows in db.execute(OWN, (self._gateway, self._replica, self._day)).fetchall():
            counter = Counter(*names)
            if counter.lane != self._lane and (counter.kind == RATE or not self._is_alone):
                continue
            calls, rows = begun.get(counter, (0, 0))
            more = max(0, told_calls - calls), max(0, told_rows - rows)
            if any(more):
                calls, rows = self._totals.get(counter, (0, 0))
                self._totals[counter] = (calls + more[0], rows + more[1])
                if counter.kind != RATE:
                    self._heard.append(Heard(counter, *more))

    def _failed(self, problem: Exception) -> None:
        if self.is_shared is not False:
            code = getattr(problem, "sqlstate", None) or ""
            logger.error("rates and quotas cannot be shared: %s %s", type(problem).__name__, code)
        self.is_shared = False
        self._disconnect()

    def _disconnect(self) -> None:
        if self._db is not None:
            with contextlib.suppress(psycopg.Error):
                self._db.close()
            self._db = None
