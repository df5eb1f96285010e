"""Replication slots and publications of ours on a PostgreSQL: made for a task, watched, dropped.

A slot keeps the server's log until it was read. One that nobody reads any more fills the server's disk: `slot_status` tells of
every slot of ours, `SlotStatus.retained_bytes` is what an alert watches, `drop_slot` ends it.
"""

import contextlib
import hashlib
import re
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg

from jinqiao.dataplane.connectors.postgresql import Place, quote, statement, telling
from jinqiao.dataplane.errors import (
    LogGap,
    LogNotAllowed,
    LogNotEnabled,
    LogNotPossible,
    PublicationMissing,
    ReplicaIdentityMissing,
    SlotInUse,
    TableMissing,
)
from jinqiao.kernel.contracts.exchange import ExchangeOrder, SlotStatus

PREFIX = "jinqiao_"
OLDEST = 120000
_ROOTS_FROM = 130000  # publish_via_partition_root
_STATUS_FROM = 130000  # wal_status, safe_wal_size
_FILTERS_FROM = 150000  # row filters and column lists of publications
_WAIT_S = 10.0
_NAME_MOST = 63
_NAME = re.compile(rf"{PREFIX}[a-z0-9_]{{1,{_NAME_MOST - len(PREFIX)}}}")


def slot_of(order: ExchangeOrder) -> str:
    """The slot of an order's task: as the order says, or made from the task's id. Its name is of a-z, 0-9 and _."""
    if _NAME.fullmatch(order.slot):
        return order.slot
    plain = re.sub(r"[^a-z0-9]+", "_", order.task_id.lower()).strip("_")
    mark = hashlib.sha256(f"{order.provider_node}/{order.task_id}".encode()).hexdigest()[:8]
    return f"{PREFIX}{plain[: _NAME_MOST - len(PREFIX) - len(mark) - 1]}_{mark}"


def check_server(connection: "psycopg.Connection[tuple[Any, ...]]", user: str) -> None:
    """Raises LogNotPossible (too old, a standby), LogNotEnabled, LogNotAllowed."""
    with telling():
        row = connection.execute(
            "SELECT current_setting('wal_level'), pg_is_in_recovery(), r.rolsuper OR r.rolreplication, quote_ident(r.rolname)"
            " FROM pg_roles r WHERE r.rolname = current_user"
        ).fetchone()
    level, is_standby, may, name = row or ("", False, False, user)
    if connection.info.server_version < OLDEST or is_standby:
        raise LogNotPossible(engine=f"PostgreSQL {connection.info.server_version // 10000}")
    if level != "logical":
        raise LogNotEnabled(level=level)
    if not may:
        raise LogNotAllowed(user=user, statement=f"ALTER ROLE {name} REPLICATION")


def check_identity(
    connection: "psycopg.Connection[tuple[Any, ...]]", place: Place, table: str, keys: tuple[str, ...]
) -> None:
    """The log names a changed row by the key. Raises TableMissing, ReplicaIdentityMissing.

    Asked before a table is published: one that is published without a replica identity refuses every UPDATE.
    """
    with telling(table):
        row = connection.execute(
            "SELECT c.relreplident::text, c.relkind::text,"
            " (SELECT array_agg(a.attname::text) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
            "  WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
            place.split(table),
        ).fetchone()
    if row is None:
        raise TableMissing(table=table)
    identity, kind, columns = row
    if kind not in "rp":
        raise LogNotPossible(engine="view")
    if identity != "f" and not set(keys) <= set(columns or ()):
        raise ReplicaIdentityMissing(
            table=table, keys=", ".join(keys), statement=f"ALTER TABLE {place.quoted(table)} REPLICA IDENTITY FULL"
        )


def publish(connection: "psycopg.Connection[tuple[Any, ...]]", place: Place, table: str, name: str) -> None:
    """The table's changes are published under `name`, all kinds of them, whole. Raises PublicationMissing with what to run."""
    version = connection.info.server_version
    options = " WITH (publish_via_partition_root = true)" if version >= _ROOTS_FROM else ""
    made = f"CREATE PUBLICATION {quote(name)} FOR TABLE {place.quoted(table)}{options}"
    cut = "t.rowfilter IS NOT NULL" if version >= _FILTERS_FROM else "false"
    with telling(table):
        row = connection.execute(
            statement(
                "SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate,"  # noqa: S608 -- no values
                f" t.tablename IS NOT NULL, coalesce({cut}, false) FROM pg_publication p"
                " LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname AND t.schemaname = %s AND t.tablename = %s"
                " WHERE p.pubname = %s"
            ),
            (*place.split(table), name),
        ).fetchone()
    if row is not None:
        is_whole, is_there, is_cut = row
        if is_whole and is_there and not is_cut:
            return
        made = f"DROP PUBLICATION {quote(name)}; {made}"
    try:
        with connection.transaction():
            for part in made.split("; "):
                connection.execute(statement(part))
    except psycopg.errors.InsufficientPrivilege:
        raise PublicationMissing(table=table, statement=made) from None
    except psycopg.errors.DuplicateObject:
        return  # another run of the same task was faster
    except psycopg.Error as problem:
        with telling(table):
            raise problem


def check_slot(connection: "psycopg.Connection[tuple[Any, ...]]", name: str, after: int) -> None:
    """The slot still holds everything since `after`. Raises LogGap."""
    lost = "wal_status = 'lost'" if connection.info.server_version >= _STATUS_FROM else "restart_lsn IS NULL"
    with telling():
        row = connection.execute(
            statement(
                "SELECT plugin = 'pgoutput' AND database = current_database(),"  # noqa: S608 -- no values
                f" coalesce({lost}, false), (confirmed_flush_lsn - '0/0')::numeric FROM pg_replication_slots WHERE slot_name = %s"
            ),
            (name,),
        ).fetchone()
    if row is None:
        raise LogGap(slot=name, reason="dropped")
    is_ours, is_lost, confirmed = row
    if not is_ours:
        raise LogGap(slot=name, reason="other")
    if is_lost or confirmed is None:
        raise LogGap(slot=name, reason="lost")
    if int(confirmed) > after:
        raise LogGap(slot=name, reason="passed")


def slot_status(place: Place) -> tuple[SlotStatus, ...]:
    """Every slot of ours in this database, by name; none where the server does not let us see."""
    with closing(place.connect()) as connection, telling():
        has_status = connection.info.server_version >= _STATUS_FROM
        more = "coalesce(wal_status, ''), safe_wal_size" if has_status else "'', NULL::bigint"
        rows = connection.execute(
            statement(
                "WITH here AS (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn)"  # noqa: S608
                " SELECT slot_name::text, active, greatest(coalesce(here.lsn - restart_lsn, 0), 0)::bigint,"
                f" greatest(coalesce(here.lsn - confirmed_flush_lsn, 0), 0)::bigint, {more}"
                " FROM pg_replication_slots, here WHERE database = current_database() AND starts_with(slot_name, %s) ORDER BY 1"
            ),
            (PREFIX,),
        ).fetchall()
    return tuple(
        SlotStatus(name=name, active=active, retained_bytes=retained, lag_bytes=lag, wal_status=status, safe_bytes=safe)
        for name, active, retained, lag, status, safe in rows
    )


def drop_slot(place: Place, name: str, *, publication: bool = True) -> bool:
    """End a slot, and the publication of its name where we may. False where there was no slot. Raises SlotInUse."""
    with closing(place.connect()) as connection:
        found = _drop(connection, name)
        if publication:
            with contextlib.suppress(psycopg.Error):  # of another owner, or made for other readers too
                connection.execute(statement(f"DROP PUBLICATION IF EXISTS {quote(name)}"))
    return found


def _drop(connection: "psycopg.Connection[tuple[Any, ...]]", name: str) -> bool:
    def once() -> bool:
        row = connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", (name,)
        ).fetchone()
        return row is not None

    with telling():
        return patiently(once, name)


def patiently(doing: Callable[[], bool], slot: str) -> bool:
    """A connection that ended a moment ago still holds its slot for a moment. Raises SlotInUse."""
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            return doing()
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > until:
                raise SlotInUse(slot=slot) from None
            time.sleep(0.1)
