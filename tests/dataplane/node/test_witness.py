"""What a witness has countersigned is its own to show: its anchors are written by one command and held against a pack by the other."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.main import main as node
from jinqiao.dataplane.node.witness import countersign
from jinqiao.dataplane.verify import main as verify
from jinqiao.kernel.contracts.evidence import Anchor
from jinqiao.kernel.contracts.exchange import Command, CommandKind, SignedMessage
from jinqiao.kernel.crypto.identity import Identity, sign_message
from tests.dataplane.evidence.fixtures.damage import other_chain
from tests.dataplane.evidence.fixtures.parts import Parts, make_parts, write

SUITES = ["international", "guomi"]
AT = datetime(2026, 3, 18, 2, 0, tzinfo=UTC)


@pytest.fixture(params=SUITES)
def parts(request: pytest.FixtureRequest) -> Parts:
    return make_parts(request.param)


@pytest.fixture
def home(parts: Parts, tmp_path: Path) -> Path:
    """A node that has countersigned the anchors of the pack's gateway, and one of another gateway."""
    folder = tmp_path / "node"
    homes.prepare(folder, "http://127.0.0.1:1", "node-2", parts.platform.public, parts.suite)
    for message in parts.anchors:
        see(folder, message, parts.gateway)
    stranger = Identity.generate(parts.suite)
    see(
        folder, sign_message(Anchor(gateway="gw-9", lane="1", batch=7, number=7, chain="00", at=AT), stranger), stranger
    )
    return folder


def see(folder: Path, message: SignedMessage, signer: Identity) -> None:
    command = Command(
        id="c1",
        kind=CommandKind.COUNTERSIGN,
        anchor=message,
        anchor_identity=signer.public.to_json(),
        issued_at=AT,
    )
    loaded = homes.load(folder)
    countersign(command, loaded.path, node_id=loaded.node_id, identity=loaded.identity)


def first_code(capsys: pytest.CaptureFixture[str]) -> str:
    findings = json.loads(capsys.readouterr().out)["findings"]
    return str(findings[0]["code"]) if findings else ""


def test_the_anchors_of_a_witness_fit_a_whole_pack(
    parts: Parts, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack, kept = tmp_path / "pack.zip", tmp_path / "anchors.jsonl"
    write(parts, pack)

    assert node(["anchors", str(home), "--to", str(kept)]) == 0
    assert capsys.readouterr().out.strip().endswith(": 3")
    assert len(kept.read_text().splitlines()) == 3
    assert verify([str(pack), "--anchors", str(kept)]) == 0
    assert node(["anchors", str(home), "--to", str(kept), "--gateway", "gw-1"]) == 0
    assert len(kept.read_text().splitlines()) == 2


def test_they_show_a_pack_that_was_cut_off_and_one_that_was_written_anew(
    parts: Parts, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack, kept = tmp_path / "pack.zip", tmp_path / "anchors.jsonl"
    node(["anchors", str(home), "--to", str(kept)])
    capsys.readouterr()
    cut = replace(
        parts, batches=parts.batches[:2], anchors=parts.anchors[:1], countersignatures=parts.countersignatures[:2]
    )
    write(cut, pack)
    assert verify([str(pack)]) == 0
    capsys.readouterr()
    assert verify([str(pack), "--anchors", str(kept), "--json"]) == 1
    assert first_code(capsys) == "lane.cut_off"

    other_chain(parts)
    parts.anchors = [parts.anchor(parts.batches[3], AT + timedelta(minutes=2))]
    parts.countersignatures = [parts.countersign(parts.anchors[0], "platform", parts.platform)]
    write(parts, pack)
    assert verify([str(pack)]) == 0
    capsys.readouterr()
    assert verify([str(pack), "--anchors", str(kept), "--json"]) == 1
    assert first_code(capsys) == "anchor.other_chain"


def test_a_node_that_countersigned_nothing_says_so(parts: Parts, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    homes.prepare(folder, "http://127.0.0.1:1", "node-2", parts.platform.public, parts.suite)

    assert node(["anchors", str(folder), "--to", str(tmp_path / "anchors")]) == 1
    assert not (tmp_path / "anchors").exists()
