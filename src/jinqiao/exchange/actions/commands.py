"""What nodes fetch and answer."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction

from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions import anchors, comparing, outcome, resending, slots, sources
from jinqiao.exchange.actions.commanding import OPEN
from jinqiao.exchange.actions.nodes import heard
from jinqiao.exchange.actions.platform import node_actor
from jinqiao.exchange.actions.runs import fail_run, locked_run, move_run, problem_of
from jinqiao.exchange.enums import CommandState, NodeKind, RunState
from jinqiao.exchange.errors import CommandMissing, GrantNotLive, NodeKindWrong
from jinqiao.exchange.models import Node, NodeCommand, Run
from jinqiao.exchange.queries.progress import present_stage, with_sample
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, Heartbeat, Progress, SignedMessage

REDELIVER_AFTER_S = 20
"""A taken command is handed out again after this time, unless the node says that it works on the run."""
SEEN_EVERY_S = 5
URL_LENGTH = 200
_NOTED = ("seen_at", "silence_noticed_at", "version", "spool_free_bytes", "url", "python")
_LOOKING = frozenset({CommandKind.TEST_CONNECTION.value, CommandKind.DROP_SLOT.value})
"""What tells of every slot of ours at a source, also that there is none."""
_MOVING = frozenset({CommandKind.EXTRACT.value, CommandKind.RESUBMIT.value, CommandKind.DELIVER.value})


def take_commands(node: Node, heartbeat: Heartbeat) -> list[SignedMessage]:
    """Note the heartbeat and hand out what waits for this node: small things oldest first, then runs by their task's priority.

    A node works at no more runs at once than its cap; what is held by hand does not count. An order whose grant is no longer
    live is not handed out: its run fails instead (no grant, no byte).
    """
    if node.kind != NodeKind.FRONT_END:
        raise NodeKindWrong(node=node.number)
    _note(node, heartbeat)
    again = moments.now() - timedelta(seconds=REDELIVER_AFTER_S)
    messages = []
    fields = ("pk", "state", "taken_at", "run__number", "run__state", "run__paused_at", "run__task__priority", "kind")
    commands = list(NodeCommand.objects.filter(node=node, state__in=OPEN).order_by("id").values(*fields))
    room = node.run_cap - sum(_takes_room(command) for command in commands)
    for command in sorted(commands, key=_turn):
        is_taken = command["state"] == CommandState.TAKEN
        is_busy = command["run__number"] in heartbeat.busy_with
        if is_taken and (is_busy or (command["taken_at"] and command["taken_at"] > again)):
            continue
        is_new_move = command["kind"] in _MOVING and not is_taken
        if is_new_move and (room <= 0 or command["run__paused_at"] is not None):
            continue
        message = hand_out(node, command["pk"])
        if message is not None:
            messages.append(message)
            room -= is_new_move
    return messages


def _takes_room(command: Mapping[str, Any]) -> bool:
    """Whether the node works at a run for it: a run that is over, or held by hand, takes no room whatever was left open of it."""
    is_moving = command["kind"] in _MOVING and command["state"] == CommandState.TAKEN
    return is_moving and command["run__state"] in LIVE and command["run__paused_at"] is None


def _turn(command: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """What goes first: whatever moves nothing, then the higher priority, then what is half done, then the older."""
    if command["kind"] not in _MOVING:
        return 0, 0, 0, command["pk"]
    return 1, -command["run__task__priority"], int(command["kind"] != CommandKind.DELIVER), command["pk"]


def _note(node: Node, heartbeat: Heartbeat) -> None:
    """Keep what the node says of itself; every few seconds only, unless it was away."""
    now = moments.now()
    is_fresh = node.seen_at is not None and timedelta() <= now - node.seen_at < timedelta(seconds=SEEN_EVERY_S)
    if not is_fresh or node.silence_noticed_at is not None:
        with transaction.atomic():
            row = Node.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=node.pk)
            heard(row)
            row.version = heartbeat.version[:20]
            row.clock_offset_s = round((heartbeat.clock_at - now).total_seconds(), 1)
            row.spool_free_bytes = max(heartbeat.spool_free_bytes, 0)
            row.url, row.python = _address(heartbeat.url), heartbeat.python[:20]
            row.save(update_fields=[*_NOTED, "clock_offset_s"])
    if heartbeat.progress:
        _keep_progress(node, heartbeat.progress)


def _address(url: str) -> str:
    """Where a node says that it takes chunks; nothing where that is no address."""
    parts = urlsplit(url)
    return url if parts.scheme in ("http", "https") and parts.hostname and len(url) <= URL_LENGTH else ""


def note_carried(node: Node, heartbeat: Heartbeat) -> None:
    """A heartbeat that came with a bundle: it is as old as the way was long, and says nothing of the node's clock."""
    with transaction.atomic():
        row = Node.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=node.pk)
        heard(row)
        row.version, row.python = heartbeat.version[:20], heartbeat.python[:20]
        row.spool_free_bytes = max(heartbeat.spool_free_bytes, 0)
        row.save(update_fields=list(_NOTED))
    if heartbeat.progress:
        _keep_progress(node, heartbeat.progress)


@transaction.atomic
def _keep_progress(node: Node, progress: Iterable[Progress]) -> None:
    by_run: dict[str, list[Progress]] = {}
    for step in progress:
        by_run.setdefault(step.run_id, []).append(step)
    runs = Run.objects.select_for_update(of=("self",)).filter(
        number__in=list(by_run), state__in=LIVE, pk__in=NodeCommand.objects.filter(node=node).values("run_id")
    )
    for run in runs.order_by("id"):
        new = dict(run.progress)
        for step in by_run[run.number]:
            new[step.stage.value] = step.to_json()
        if new != run.progress:
            run.progress = new
            stage = present_stage(run)
            for step in by_run[run.number]:
                if step.stage is stage:
                    run.samples = with_sample(run, step)
            run.save(update_fields=["progress", "samples"])


@transaction.atomic
def hand_out(node: Node, command_id: int) -> SignedMessage | None:
    """The signed command, once more where it was taken before; None where it is not to be worked any more."""
    command = NodeCommand.objects.select_related("run").get(pk=command_id)
    run = locked_run(command.run) if command.run is not None and command.kind in _MOVING else None
    command = NodeCommand.objects.select_for_update(of=("self",)).get(pk=command_id)
    if command.state not in OPEN:
        return None
    if run is not None:
        if run.state not in LIVE:
            return None
        if not rules.is_live(run.task.grant):
            grant = run.task.grant
            error = GrantNotLive(
                grant=grant.number, state=str(grant.get_state_display()), until=grant.valid_until.isoformat()
            )
            fail_run(run, problem_of(error), at=node)
            return None
        if run.state == RunState.QUEUED:
            move_run(run, RunState.EXTRACTING)
            run.started_at = moments.now()
            run.save(update_fields=["state", "started_at"])
    command.state = CommandState.TAKEN
    command.taken_at = moments.now()
    command.save(update_fields=["state", "taken_at"])
    return SignedMessage.from_json(command.body)


@transaction.atomic
def accept_result(node: Node, result: CommandResult) -> None:
    """Take a node's answer, once; the same answer again changes nothing. Raises CommandMissing for what it was never asked."""
    command = NodeCommand.objects.select_related("run", "source").filter(node=node, number=result.command_id).first()
    if command is None:
        raise CommandMissing(command=result.command_id)
    run = locked_run(command.run) if command.run is not None else None
    command = (
        NodeCommand.objects.select_for_update(of=("self",))
        .select_related("node__organisation", "source")
        .get(pk=command.pk)
    )
    if command.state not in OPEN and not outcome.came_after_stop(run, command, result):
        return
    command.state = CommandState.DONE if result.ok and result.problem is None else CommandState.FAILED
    command.result = _kept(result)
    command.finished_at = moments.now()
    command.save(update_fields=["state", "result", "finished_at"])
    if command.source is not None and (result.slots or (result.ok and command.kind in _LOOKING)):
        slots.keep_slots(command, result.slots)
    if run is not None and command.kind in _MOVING:
        outcome.take_answer(run, command, result)
    elif command.kind == CommandKind.COMPARE:
        comparing.take_answer(command, result)
    elif command.kind == CommandKind.COUNTERSIGN:
        anchors.take_countersignature(command, result)
    elif run is not None and command.kind == CommandKind.RESEND:
        resending.take_answer(run, command, result)
    elif command.source is not None and command.kind in (CommandKind.TEST_CONNECTION, CommandKind.LIST_TABLES):
        sources.take_answer(command.source, command, result)
    elif command.state == CommandState.FAILED and result.problem is not None:
        trail.record(
            "exchange.command.fail",
            by=node_actor(command.node),
            about=trail.subject(run) if run else None,
            outcome=Outcome.FAILED,
            kind=command.kind,
            code=result.problem.code,
        )


def _kept(result: CommandResult) -> dict[str, object]:
    """The answer without what is kept elsewhere: tables and manifest may be large."""
    answer = result.to_json()
    return {**answer, "tables": [], "manifest": None}
