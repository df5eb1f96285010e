"""Small tables in a PostgreSQL that the replicas of a gateway on several machines share: how they are reached and made."""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

STATEMENT_WITHIN_MS = 5000
_MAKE_LOCK = 0x6A71_6777  # of pg_advisory_xact_lock: two replicas make a table at the same moment
DEFAULTS = {
    "connect_timeout": "3",
    "tcp_user_timeout": "5000",
    "keepalives_idle": "30",
    "application_name": "jinqiao gateway",
}


def has_password(url: str) -> bool:
    """Whether a password stands in an address of libpq's form. Raises ValueError, which does not repeat it, for anything else."""
    try:
        if url.startswith(("postgresql://", "postgres://")):
            return bool(conninfo_to_dict(url).get("password"))
    except psycopg.Error:
        pass
    raise ValueError("no address of a PostgreSQL database")


def address_of(url: str) -> str:
    """An address of libpq's form with our defaults for what it does not say. It may hold a password: it is never logged."""
    given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    return make_conninfo(**(DEFAULTS | given))


def table_number(db: "psycopg.Connection[Any]", table: str, schema: Sequence[str]) -> int:
    """Which table it is, by its number in the database; it is made where there is none. Raises psycopg.Error."""
    for _ in range(2):
        (number,) = db.execute(f"SELECT to_regclass('{table}')::oid::bigint").fetchone() or (None,)
        if number is not None:
            return int(number)
        with db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKE_LOCK,))
            for statement in schema:
                db.execute(statement)
    raise psycopg.OperationalError("the table is made, and is not found")
