"""A live run is held and goes on, by hand; chunks are asked for once more."""

from collections.abc import Collection

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.commanding import OPEN, command_node
from jinqiao.exchange.actions.runs import locked_run
from jinqiao.exchange.enums import CommandState, RunState
from jinqiao.exchange.errors import ChunkMissing, RunStateWrong
from jinqiao.exchange.models import Node, NodeCommand, RelayChunk, Run
from jinqiao.exchange.queries.runs import LIVE, manifest_of, order_of
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind


@transaction.atomic
def pause_run(run: Run, *, by: Post, reason: str = "") -> Run:
    """Hold a live run where it is; nothing staged is lost. Both sides and the bureau may.

    A source that is being read keeps its snapshot open; a node that is held too long ends the reading, which is tried again.
    Raises NotYourTask, RunStateWrong.
    """
    run = locked_run(run)
    rules.check_may_restrain(by, run.task)
    if run.state not in LIVE or run.paused_at is not None:
        raise RunStateWrong(run=run.number, state=str(run.get_state_display()))
    run.paused_at, run.paused_by = moments.now(), by
    run.save(update_fields=["paused_at", "paused_by"])
    _tell(run, CommandKind.PAUSE)
    trail.record("exchange.run.pause", by=by.actor, about=trail.subject(run), reason=reason)
    return run


@transaction.atomic
def resume_run(run: Run, *, by: Post) -> Run:
    """Go on. The side that holds the run may, and the bureau. Raises RunHeldByOther, RunStateWrong."""
    run = locked_run(run)
    rules.check_may_release(by, run)
    if run.state not in LIVE or run.paused_at is None:
        raise RunStateWrong(run=run.number, state=str(run.get_state_display()))
    run.paused_at = run.paused_by = None
    run.save(update_fields=["paused_at", "paused_by"])
    _tell(run, CommandKind.RESUME)
    trail.record("exchange.run.resume", by=by.actor, about=trail.subject(run))
    return run


def _tell(run: Run, kind: CommandKind) -> None:
    """Tell the nodes that work at the run now; one that has not taken it yet is given it only when it is not held."""
    working = NodeCommand.objects.filter(run=run, state=CommandState.TAKEN).values("node_id")
    for node in Node.objects.filter(pk__in=working).order_by("id"):
        command_node(node, kind, run=run)


@transaction.atomic
def resend_chunks(run: Run, *, by: Post, chunks: Collection[int]) -> Run:
    """Have the provider's node bring chunks of a batch that is being delivered once more; the delivery begins anew with them.

    Either side may. Raises NotYourTask, RunStateWrong, GrantNotLive, ChunkMissing for numbers that the batch does not have.
    """
    run = locked_run(run)
    rules.check_may_watch(by, run.task)
    rules.check_is_live(run.task.grant)
    manifest = manifest_of(run)
    if run.state != RunState.DELIVERING or manifest is None:
        raise RunStateWrong(run=run.number, state=str(run.get_state_display()))
    known = {chunk.number for chunk in manifest.chunks}
    wanted = tuple(sorted(set(chunks)))
    for number in wanted or (0,):
        if number not in known:
            raise ChunkMissing(run=run.number, chunk=number)
    order = order_of(run)
    wanted = tuple(sorted({*wanted, *_put_off(run)}))
    RelayChunk.objects.filter(run=run, number__in=wanted).delete()
    provider = Node.objects.get(number=order.provider_node)
    command_node(provider, CommandKind.RESEND, run=run, order=order, chunks=wanted)
    trail.record(
        "exchange.run.resend", by=by.actor, about=trail.subject(run), node=provider.number, chunks=list(wanted)
    )
    return run


def _put_off(run: Run) -> set[int]:
    """Cancel what of the delivery is open: one RESEND at a time, so that one DELIVER follows. Gives the chunks that were still to
    be brought."""
    commands = NodeCommand.objects.filter(run=run, state__in=OPEN)
    resends = commands.filter(kind=CommandKind.RESEND.value)
    chunks = {int(number) for command in resends for number in command.body["body"]["chunks"]}
    commands.filter(kind__in=(CommandKind.DELIVER.value, CommandKind.RESEND.value)).update(
        state=CommandState.CANCELLED, finished_at=moments.now()
    )
    return chunks
