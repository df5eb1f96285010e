"""A chunk that did not arrive as it was sent: the provider's node brings it once more from what it staged.

The run stays where it is. The relay's damaged copy goes, the provider's node is told to RESEND, and the delivery is ordered
anew; the consumer's node fetches only what it has not got whole.
"""

from typing import Any

from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.commanding import OPEN, command_node
from jinqiao.exchange.actions.platform import node_actor
from jinqiao.exchange.actions.runs import fail_run, for_consumer
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import ExchangeReceipt, Node, NodeCommand, RelayChunk, Run
from jinqiao.exchange.queries.runs import order_of
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel.contracts.exchange import BatchManifest, CommandKind, CommandResult, ExchangeOrder, Problem

DAMAGED = "node.chunk.differs"
MOST_RESENDS = 3
"""Rounds for one attempt of a run; then it fails, and may be tried again as a whole."""


def resend_damaged(run: Run, problem: Problem, *, at: Node) -> bool:
    """Whether the failed delivery is mended by sending chunks again. The caller holds the run's lock."""
    chunks = damaged_chunks(run, problem)
    rounds = NodeCommand.objects.filter(run=run, kind=CommandKind.RESEND.value, attempt=run.attempt).count()
    if run.state != RunState.DELIVERING or not chunks or rounds >= MOST_RESENDS or not rules.is_live(run.task.grant):
        return False
    order = order_of(run)
    provider = Node.objects.get(number=order.provider_node)
    RelayChunk.objects.filter(run=run, number__in=chunks).delete()
    command_node(provider, CommandKind.RESEND, run=run, order=order, chunks=chunks)
    trail.record(
        "exchange.run.resend", by=node_actor(at), about=trail.subject(run), node=provider.number, chunks=list(chunks)
    )
    return True


def damaged_chunks(run: Run, problem: Problem) -> tuple[int, ...]:
    """Numbers of chunks that a node found damaged; empty where the problem is another."""
    if problem.code != DAMAGED or not run.manifest:
        return ()
    named: Any = problem.details.get("chunks") or [problem.details.get("chunk")]
    known = {chunk.number for chunk in BatchManifest.from_json(run.manifest).chunks}
    return tuple(sorted(known.intersection(number for number in named if isinstance(number, int))))


def is_asked_for(run: Run, node: Node, number: int) -> bool:
    """Whether this node was told to bring this chunk of the run again."""
    asked = NodeCommand.objects.filter(run=run, node=node, kind=CommandKind.RESEND.value, state__in=OPEN)
    return any(number in command.body["body"]["chunks"] for command in asked)


def take_answer(run: Run, command: NodeCommand, result: CommandResult) -> None:
    """The chunks are there again: deliver. The caller holds the locks; late answers change nothing."""
    if run.state != RunState.DELIVERING:
        return
    if result.problem is not None or not result.ok:
        problem = result.problem or Problem(code="exchange.run.answer_wrong", details={"node": command.node.number})
        fail_run(run, problem, at=command.node)
        return
    order_delivery(run, order_of(run))


def order_delivery(run: Run, order: ExchangeOrder) -> None:
    """Command the consumer's node to fetch and deliver the batch that the run's manifest describes."""
    target = run.task.target
    receipt = ExchangeReceipt.objects.get(run=run)
    command_node(
        Node.objects.get(number=order.consumer_node),
        CommandKind.DELIVER,
        run=run,
        source=target,
        connection=connection(target) if target is not None else None,
        order=for_consumer(order),
        manifest=BatchManifest.from_json(run.manifest),
        sender_signature=receipt.sender_signature,
    )
