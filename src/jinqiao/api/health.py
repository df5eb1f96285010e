"""Whether the control plane lives, and whether it can work."""

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from ninja import Router

from jinqiao.api.errors import NotReady, problem_response
from jinqiao.api.nodes import answer_json
from jinqiao.api.schemas import operation
from jinqiao.exchange.models import ProcessBeat

router = Router(tags=["health"], auth=None)
WORKER_SILENT_AFTER_S = 60


@router.get("live", url_name="live", openapi_extra=operation(_200="the process answers"))
def live(request: HttpRequest) -> HttpResponse:
    return answer_json({"live": True})


@router.get(
    "ready", url_name="ready", openapi_extra=operation(_200="all parts work", _503="`parts` names what does not")
)
def ready(request: HttpRequest) -> HttpResponse:
    """Database, migrations, relay folder, worker. Says which part fails, never why: this page is public."""
    parts = {name: _holds(check) for name, check in CHECKS.items()}
    if all(parts.values()):
        return answer_json({"ready": True, "parts": parts})
    missing = ", ".join(sorted(name for name, holds in parts.items() if not holds))
    return problem_response(NotReady(parts=missing), parts=parts)


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except (DatabaseError, OSError):
        return False


def database_answers() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def migrations_are_applied() -> bool:
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def relay_is_writable() -> bool:
    folder = Path(settings.RELAY_ROOT)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    probe = folder / f".ready-{os.getpid()}-{secrets.token_hex(4)}"
    probe.write_bytes(b"")
    probe.unlink()
    return True


def worker_beats() -> bool:
    at = ProcessBeat.objects.filter(name="worker").values_list("at", flat=True).first()
    return at is not None and time.time() - at < WORKER_SILENT_AFTER_S


CHECKS: dict[str, Callable[[], bool]] = {
    "database": database_answers,
    "migrations": migrations_are_applied,
    "relay": relay_is_writable,
    "worker": worker_beats,
}
