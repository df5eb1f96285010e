"""The evidence of a gateway as a pack, from its home alone, and the check of what lies there."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from jinqiao.dataplane.evidence.anchors import AnchorStore, heads
from jinqiao.dataplane.evidence.log import connect_read_only, stored_batches
from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.home import GatewayHome
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import PLATFORM, KnownIdentity, PackManifest
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.evidence.checking import Verdict
from jinqiao.kernel.evidence.packs import PackContent, write_pack

Ranges = Mapping[str, tuple[int, int]]
"""Lane → first and last batch."""


def own_identities(home: GatewayHome) -> list[KnownIdentity]:
    """The gateway's identities, those of before a rotation with their end, and the platform's."""
    former = sorted(home.keys.former(), key=lambda one: one.until)
    since: datetime | None = None
    found = []
    for one in former:
        public = one.identity.public.to_json()
        found.append(KnownIdentity(node=home.gateway_id, kind="gateway", identity=public, since=since, until=one.until))
        since = one.until
    found.append(
        KnownIdentity(node=home.gateway_id, kind="gateway", identity=home.identity.public.to_json(), since=since)
    )
    found.append(KnownIdentity(node=PLATFORM, kind="platform", identity=home.platform.to_json()))
    return found


def known_identities(home: GatewayHome, anchors: AnchorStore) -> list[KnownIdentity]:
    """Its own, the platform's, and those of witnesses."""
    own = own_identities(home)
    there = {entry.identity.get("key_id") for entry in own}
    return [*own, *(entry for entry in anchors.identities() if entry.identity.get("key_id") not in there)]


def export(home: GatewayHome, to: Path, *, ranges: Ranges | None = None, purpose: str = "export") -> PackManifest:
    """Write a pack of the whole log, or of ranges of batches; a new anchor says where it ends.

    Raises NothingToExport, PackTooLarge, sqlite3.Error, OSError. The gateway may be running meanwhile.
    """
    now = moments.now()
    with (
        contextlib.closing(AnchorStore(home.anchors_file)) as anchors,
        contextlib.closing(connect_read_only(home.evidence_file)) as db,
    ):
        ends = heads(home.evidence_file)
        for head in ends:
            anchors.anchor(head, gateway=home.gateway_id, identity=home.identity, at=now)
        spans = ranges if ranges is not None else {head.lane: (1, head.batch) for head in ends}
        content = PackContent(
            gateway=home.gateway_id,
            suite=home.suite,
            lanes={
                lane: stored_batches(db, lane=lane, first=first, last=last) for lane, (first, last) in spans.items()
            },
            anchors=[
                message
                for lane, (first, last) in spans.items()
                for message in anchors.messages(lane, first=first, last=last)
            ],
            countersignatures=[
                message
                for lane, (first, last) in spans.items()
                for message in anchors.countersignatures(lane, first=first, last=last)
            ],
            identities=known_identities(home, anchors),
        )
        return write_pack(to, content, exporter=home.identity, exported_by=home.gateway_id, at=now, purpose=purpose)


def verify_home(folder: Path, kept: Sequence[SignedMessage] = ()) -> Verdict:
    """Check the log of a home with its anchors and countersignatures, and with anchors that a witness kept. Raises HomeNotPrepared, FileNotFoundError, sqlite3.Error."""
    home = homes.load(folder)
    kept = [message for message in kept if message.body.get("gateway") == home.gateway_id]
    if not home.anchors_file.exists():
        return verify(home.evidence_file, gateway=home.gateway_id, identities=own_identities(home), anchors=kept)
    with contextlib.closing(AnchorStore(home.anchors_file)) as anchors:
        names = anchors.lanes()
        return verify(
            home.evidence_file,
            gateway=home.gateway_id,
            identities=known_identities(home, anchors),
            anchors=[*(message for lane in names for message in anchors.messages(lane)), *kept],
            countersignatures=[message for lane in names for message in anchors.countersignatures(lane)],
        )
