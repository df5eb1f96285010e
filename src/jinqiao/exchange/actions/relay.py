"""The relay: ciphertext on its way from the provider's node to the consumer's. The platform cannot read it.

Only the run's provider node brings chunks, while the run is being extracted or where it was asked to bring one again; only its
consumer node fetches them, while the run is being delivered; both only under a live grant. After the receipt they are deleted.
"""

import contextlib
import hmac
import logging
import os
import re
import secrets
import shutil
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.actions.resending import is_asked_for
from jinqiao.exchange.actions.runs import locked_run
from jinqiao.exchange.enums import NodeKind, RunState
from jinqiao.exchange.errors import (
    ChunkDigestWrong,
    ChunkEmpty,
    ChunkMissing,
    NodeKindWrong,
    NotYourRun,
    RelayFull,
    RunStateWrong,
)
from jinqiao.exchange.models import Node, RelayChunk, Run
from jinqiao.exchange.queries.runs import LIVE, order_of, run_by_number
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import BatchManifest
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.keystore import sync_folder

log = logging.getLogger(__name__)

_RUN_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,59}")
MOST_CHUNKS = 100_000


def _folder(run: Run) -> Path:
    if not _RUN_NUMBER.fullmatch(run.number):
        raise NotYourRun(run=run.number)
    return Path(settings.RELAY_ROOT) / run.number


def _check(run: Run, node: Node, *, side: str, state: RunState) -> None:
    if node.kind != NodeKind.FRONT_END:
        raise NodeKindWrong(node=node.number)
    order = order_of(run)
    if node.number != (order.provider_node if side == "provider" else order.consumer_node):
        raise NotYourRun(run=run.number)
    rules.check_is_live(run.task.grant)
    if run.state != state:
        raise RunStateWrong(run=run.number, state=str(run.get_state_display()))


def _check_bringer(run: Run, node: Node, number: int, digest: str) -> None:
    """While the run is delivered only chunks that were asked for again, and only as the manifest has them."""
    if run.state != RunState.DELIVERING or not is_asked_for(run, node, number):
        _check(run, node, side="provider", state=RunState.EXTRACTING)
        return
    _check(run, node, side="provider", state=RunState.DELIVERING)
    wanted = {chunk.number: chunk.digest for chunk in BatchManifest.from_json(run.manifest).chunks}
    if wanted.get(number, "").lower() != digest.lower():
        raise ChunkDigestWrong(run=run.number, chunk=number)


def store_chunk(run_number: str, number: int, data: bytes, digest: str, *, node: Node) -> RelayChunk:
    """Keep a chunk: on the disk first, then in the books. The same chunk again changes nothing.

    `digest` is hexadecimal, by the platform's suite. Raises NotYourRun, GrantNotLive, RunStateWrong, ChunkDigestWrong, RelayFull.
    """
    run = run_by_number(run_number)
    _check_bringer(run, node, number, digest)
    if not 1 <= number <= MOST_CHUNKS:
        raise ChunkMissing(run=run_number, chunk=number)
    if not data:
        raise ChunkEmpty(run=run_number, chunk=number)
    digest = digest.lower()
    if not hmac.compare_digest(suite(platform_identity().suite).digest(data).hex().encode(), digest.encode()):
        raise ChunkDigestWrong(run=run_number, chunk=number)
    path = _folder(run) / f"{number:05d}-{digest[:16]}.chunk"
    known = RelayChunk.objects.filter(run=run, number=number, digest=digest).first()
    if known is not None and path.is_file():
        return known
    _write(path, data)
    with transaction.atomic():
        run = locked_run(run)
        _check_bringer(run, node, number, digest)
        chunk, _made = RelayChunk.objects.update_or_create(
            run=run,
            number=number,
            defaults={
                "size_bytes": len(data),
                "digest": digest,
                "path": str(path.relative_to(settings.RELAY_ROOT)),
                "received_at": moments.now(),
                "fetched_at": None,
            },
        )
    return chunk


def _write(path: Path, data: bytes) -> None:
    """Beside its place, flushed, moved into place: a file that is there is whole. Its name carries its digest."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as problem:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise RelayFull from problem


def open_chunk(run_number: str, number: int, *, node: Node) -> tuple[bytes, RelayChunk]:
    """The chunk for the consumer's node. Raises NotYourRun, GrantNotLive, RunStateWrong, ChunkMissing."""
    run = run_by_number(run_number)
    _check(run, node, side="consumer", state=RunState.DELIVERING)
    chunk = RelayChunk.objects.filter(run=run, number=number).first()
    if chunk is None:
        raise ChunkMissing(run=run_number, chunk=number)
    try:
        data = (Path(settings.RELAY_ROOT) / chunk.path).read_bytes()
    except OSError as problem:
        raise ChunkMissing(run=run_number, chunk=number) from problem
    if suite(platform_identity().suite).digest(data).hex() != chunk.digest:
        log.error("chunk %d of run %s was damaged in the relay", number, run_number)
        raise ChunkMissing(run=run_number, chunk=number)
    RelayChunk.objects.filter(pk=chunk.pk).update(fetched_at=moments.now())
    return data, chunk


def purge_relay(run_number: str) -> bool:
    """Delete the chunks of a run that is over; may be repeated. False while the run is live or waits for a retry."""
    with transaction.atomic():
        run = locked_run(run_by_number(run_number))
        if run.state in LIVE or run.retry_at is not None:
            return False
        RelayChunk.objects.filter(run=run).delete()
    shutil.rmtree(_folder(run), ignore_errors=True)
    return True


def sweep_relay() -> int:
    """Delete what lies in this machine's relay of runs that are over: another machine's worker may have purged their rows.
    Gives the count of folders."""
    root = Path(settings.RELAY_ROOT)
    folders = {folder.name: folder for folder in root.iterdir() if folder.is_dir()} if root.is_dir() else {}
    over = (
        Run.objects.filter(number__in=[name for name in folders if _RUN_NUMBER.fullmatch(name)])
        .exclude(Q(state__in=LIVE) | Q(retry_at__isnull=False))
        .filter(relay_chunks__isnull=True)
    )
    gone = [folders[number] for number in over.values_list("number", flat=True)]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return len(gone)
