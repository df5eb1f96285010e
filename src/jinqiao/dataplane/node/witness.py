"""A node as witness: it countersigns the anchor of another department's gateway, and remembers it.

What a node has countersigned binds it: a later anchor of the same lane that goes back, or names another chain for the same batch,
is refused. The anchors lie in `witness.db`, so that an auditor can hold them against a pack (`jinqiao verify --anchors`).
"""

import contextlib
import sqlite3
from pathlib import Path

from jinqiao.dataplane.node.errors import AnchorContradicts, AnchorNotOfGateway, CommandIncomplete
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import Anchor, Countersignature
from jinqiao.kernel.contracts.exchange import Command, SignedMessage
from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity, open_message, sign_message

FILE = "witness.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
  gateway TEXT NOT NULL, lane TEXT NOT NULL, batch INTEGER NOT NULL, chain TEXT NOT NULL, message TEXT NOT NULL,
  PRIMARY KEY (gateway, lane, batch)
) WITHOUT ROWID;
"""


def countersign(command: Command, folder: Path, *, node_id: str, identity: Identity) -> SignedMessage:
    """The countersignature. Raises CommandIncomplete, AnchorNotOfGateway, AnchorContradicts, ContractBroken, IdentityBroken."""
    message = command.anchor
    if message is None or not command.anchor_identity:
        raise CommandIncomplete(command=command.id, missing="anchor")
    try:
        anchor = open_message(message, PublicIdentity.from_json(command.anchor_identity), Anchor)
    except SignatureInvalid as problem:
        raise AnchorNotOfGateway(key_id=message.key_id) from problem
    _remember(folder / FILE, anchor, message)
    word = Countersignature(anchor=message.to_json(), witness=node_id, seen_at=moments.now())
    return sign_message(word, identity)


def _remember(file: Path, anchor: Anchor, message: SignedMessage) -> None:
    """Durable before the countersignature leaves. Raises AnchorContradicts."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as db:
        file.chmod(0o600)
        db.execute("PRAGMA synchronous=FULL")
        db.executescript(_SCHEMA)
        db.execute("BEGIN IMMEDIATE")
        last = db.execute(
            "SELECT batch, chain FROM seen WHERE gateway = ? AND lane = ? AND batch >= ? ORDER BY batch LIMIT 1",
            (anchor.gateway, anchor.lane, anchor.batch),
        ).fetchone()
        if last is not None and last != (anchor.batch, anchor.chain):
            raise AnchorContradicts(gateway=anchor.gateway, lane=anchor.lane, batch=anchor.batch, seen=last[0])
        db.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, ?)",
            (anchor.gateway, anchor.lane, anchor.batch, anchor.chain, message.canonical().decode()),
        )
        db.execute("COMMIT")


def seen_anchors(folder: Path, gateway: str = "") -> list[str]:
    """What this node has countersigned, of all gateways or of one, as SignedMessages, one a line: for `jinqiao verify --anchors`."""
    file = folder / FILE
    if not file.is_file():
        return []
    with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
        wanted = "SELECT message FROM seen WHERE ? IN ('', gateway) ORDER BY gateway, lane, batch"
        return [text for (text,) in db.execute(wanted, (gateway,))]
