"""What a run carries: its chunks, what its checks found, its receipt, its comparisons."""

import enum
from dataclasses import dataclass
from datetime import datetime

from jinqiao.exchange.enums import CommandState, RunState
from jinqiao.exchange.models import Comparison, NodeCommand, RelayChunk, Run
from jinqiao.exchange.queries.runs import manifest_of
from jinqiao.kernel.contracts.exchange import ChunkKind, CommandKind, Severity


class ChunkState(enum.StrEnum):
    STAGED = "staged"  # at the provider's node
    DIRECT = "direct"  # went from node to node
    RELAYED = "relayed"  # waits in the relay
    FETCHED = "fetched"  # the consumer's node has it
    DELIVERED = "delivered"  # in the target, reconciled
    AWAITED = "awaited"  # asked for again
    GONE = "gone"  # the run ended without delivery; what was staged is removed


@dataclass(frozen=True, slots=True)
class ChunkRow:
    number: int
    kind: ChunkKind
    rows: int
    size_bytes: int
    digest: str
    content_digest: str
    state: ChunkState
    received_at: datetime | None
    fetched_at: datetime | None


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A broken check, counted. `share` is of the rows read (0 to 1); `sample_rows` are row numbers, never values."""

    check: str
    item: str
    item_name: str
    severity: Severity
    rows: int
    share: float
    sample_rows: tuple[int, ...]


def chunks(run: Run) -> tuple[ChunkRow, ...]:
    """Every chunk of the run's manifest in order; before there is one, what the relay has already."""
    relayed = {chunk.number: chunk for chunk in RelayChunk.objects.filter(run=run)}
    manifest = manifest_of(run)
    if manifest is None:
        return tuple(
            ChunkRow(
                number=number,
                kind=ChunkKind.ROWS,
                rows=0,
                size_bytes=chunk.size_bytes,
                digest=chunk.digest,
                content_digest="",
                state=ChunkState.RELAYED,
                received_at=chunk.received_at,
                fetched_at=chunk.fetched_at,
            )
            for number, chunk in sorted(relayed.items())
        )
    awaited, direct = _awaited(run), set(_direct(run))
    rows = []
    for chunk in manifest.chunks:
        there = relayed.get(chunk.number)
        rows.append(
            ChunkRow(
                number=chunk.number,
                kind=chunk.kind,
                rows=chunk.rows,
                size_bytes=chunk.size_bytes,
                digest=chunk.digest,
                content_digest=chunk.content_digest,
                state=_chunk_state(run, there, is_awaited=chunk.number in awaited, is_direct=chunk.number in direct),
                received_at=there.received_at if there else None,
                fetched_at=there.fetched_at if there else None,
            )
        )
    return tuple(rows)


def _chunk_state(run: Run, there: RelayChunk | None, *, is_awaited: bool, is_direct: bool) -> ChunkState:
    if run.state == RunState.RECONCILED:
        return ChunkState.DELIVERED
    if run.state in (RunState.FAILED, RunState.STOPPED) and there is None and run.retry_at is None:
        return ChunkState.GONE
    if there is not None:
        return ChunkState.FETCHED if there.fetched_at else ChunkState.RELAYED
    if is_awaited:
        return ChunkState.AWAITED
    return ChunkState.DIRECT if is_direct else ChunkState.STAGED


def _awaited(run: Run) -> set[int]:
    """Chunks that the provider's node has been asked to upload again."""
    commands = NodeCommand.objects.filter(
        run=run, kind=CommandKind.RESEND.value, state__in=(CommandState.WAITING, CommandState.TAKEN)
    )
    return {int(number) for body in commands.values_list("body", flat=True) for number in body["body"]["chunks"]}


def _direct(run: Run) -> list[int]:
    answer = (
        NodeCommand.objects.filter(run=run, kind=CommandKind.EXTRACT.value, state=CommandState.DONE)
        .order_by("-id")
        .values_list("result", flat=True)
        .first()
    )
    return list(answer.get("direct", [])) if answer else []


def findings(run: Run) -> tuple[FindingRow, ...]:
    """What the checks of the run found, the most frequent first."""
    manifest = manifest_of(run)
    if manifest is None:
        return ()
    names = {str(item["code"]): str(item["name"]) for item in run.task.grant.items}
    rows = [
        FindingRow(
            check=finding.check,
            item=finding.item,
            item_name=names.get(finding.item, finding.item),
            severity=finding.severity,
            rows=finding.rows,
            share=finding.rows / manifest.rows_read if manifest.rows_read else 0.0,
            sample_rows=finding.sample_rows,
        )
        for finding in manifest.findings
    ]
    return tuple(sorted(rows, key=lambda row: (-row.rows, row.item, row.check)))


def comparisons(run: Run) -> list[Comparison]:
    """Comparisons of contents that belong to the run, the newest first."""
    return list(Comparison.objects.filter(run=run).select_related("asked_by__person").order_by("-id"))
