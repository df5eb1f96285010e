"""Commands to nodes: signed by the platform, fetched by the node that polls, never pushed."""

import secrets
from datetime import datetime
from typing import Any

from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.enums import CommandState
from jinqiao.exchange.models import Comparison, DataSource, Node, NodeCommand, Run
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import BatchManifest, Command, CommandKind, ExchangeOrder, SignedMessage
from jinqiao.kernel.contracts.tables import Connection
from jinqiao.kernel.crypto.identity import sign_message

OPEN = (CommandState.WAITING, CommandState.TAKEN)


def command_node(
    node: Node,
    kind: CommandKind,
    *,
    run: Run | None = None,
    source: DataSource | None = None,
    connection: Connection | None = None,
    order: ExchangeOrder | None = None,
    manifest: BatchManifest | None = None,
    sender_signature: str = "",
    chunks: tuple[int, ...] = (),
    sealed_payload: str = "",
    corrects: str = "",
    comparison: Comparison | None = None,
    side: str = "",
    slot: str = "",
    transfer: SignedMessage | None = None,
    anchor: SignedMessage | None = None,
    anchor_identity: dict[str, Any] | None = None,
) -> NodeCommand:
    """Leave a signed command for a node. It waits while the node is away or suspended."""
    now: datetime = moments.now()
    attempt = run.attempt if run else 1
    about = run or comparison
    command = Command(
        id=f"{kind.value}-{secrets.token_hex(10)}",
        kind=kind,
        run_id=about.number if about else "",
        data_source=source.number if source else "",
        connection=connection,
        order=order,
        manifest=manifest,
        sender_signature=sender_signature,
        chunks=chunks,
        side=side,
        slot=slot,
        sealed_payload=sealed_payload,
        corrects=corrects,
        transfer=transfer,
        anchor=anchor,
        anchor_identity=anchor_identity or {},
        issued_at=now,
        attempt=attempt,
    )
    return NodeCommand.objects.create(
        number=command.id,
        node=node,
        kind=kind.value,
        run=run,
        source=source,
        comparison=comparison,
        body=sign_message(command, platform_identity()).to_json(),
        attempt=attempt,
        created_at=now,
    )


def cancel_waiting(*, source: DataSource | None = None, run: Run | None = None, kind: CommandKind | None = None) -> int:
    """Cancel commands that no node has taken yet; gives their count."""
    commands = NodeCommand.objects.filter(state=CommandState.WAITING)
    if source is not None:
        commands = commands.filter(source=source)
    if run is not None:
        commands = commands.filter(run=run)
    if kind is not None:
        commands = commands.filter(kind=kind.value)
    return commands.update(state=CommandState.CANCELLED, finished_at=moments.now())


def cancel_waiting_of(comparison: Comparison) -> int:
    """Cancel what of a comparison no node has taken yet; gives the count."""
    commands = NodeCommand.objects.filter(state=CommandState.WAITING, comparison=comparison)
    return commands.update(state=CommandState.CANCELLED, finished_at=moments.now())
