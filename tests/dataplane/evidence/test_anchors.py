"""Anchors that a gateway keeps beside its log."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jinqiao.dataplane.evidence.anchors import AnchorStore, LaneHead
from jinqiao.dataplane.node.witness import countersign
from jinqiao.kernel.contracts.exchange import Command, CommandKind
from jinqiao.kernel.crypto.identity import Identity

AT = datetime(2026, 3, 18, 2, 0, tzinfo=UTC)


def test_anchors_are_offered_as_they_were_made_also_when_the_clock_was_set_back_between_them(tmp_path: Path) -> None:
    """A witness that is shown them the other way round says that the lane went back."""
    gateway, witness = Identity.generate("international"), Identity.generate("international")
    with closing(AnchorStore(tmp_path / "anchors.db")) as store:
        for batch in range(1, 4):
            head = LaneHead("1", batch, batch * 10, f"{batch:064x}")
            assert store.anchor(head, gateway="gw-1", identity=gateway, at=AT - timedelta(minutes=batch))
        offered = store.unshipped({"1": 3})["1"]
    assert [message.body["batch"] for message in offered] == [1, 2, 3]
    for message in offered:
        command = Command(
            id="c1",
            kind=CommandKind.COUNTERSIGN,
            anchor=message,
            anchor_identity=gateway.public.to_json(),
            issued_at=AT,
        )
        countersign(command, tmp_path, node_id="node-2", identity=witness)
