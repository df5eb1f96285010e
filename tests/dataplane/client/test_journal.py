"""An application keeps a record of its own, and puts its word beside the gateway's in the gateway's chain."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from jinqiao.dataplane.client import GatewayClient, Refused
from jinqiao.dataplane.client.journal import Journal
from jinqiao.dataplane.evidence.verify import verify
from jinqiao.kernel.ports import free_port
from tests.dataplane.gateway.test_process import process
from tests.dataplane.gateway.world import ANN, BO, PURPOSE, SECRET, SERVICE, World, make_world, records


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[World, str]]:
    world = make_world(tmp_path / "world")
    world.publish()
    port = free_port()
    with process(world, port):
        yield world, f"http://127.0.0.1:{port}"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def ask(client: GatewayClient, person: str, **changes: object) -> object:
    question = {"by": {"sfzh": person}, "items": ["xm"], "purpose": PURPOSE, "case_number": "GZF-1", **changes}
    return client.query(SERVICE, **question)  # type: ignore[arg-type]


def test_answered_calls_are_noted_and_confirmed_to_the_gateway_once(
    gateway: tuple[World, str], journal: Journal
) -> None:
    world, url = gateway
    with GatewayClient(url, key_id="key-housing", secret=SECRET, journal=journal) as client:
        answers = [ask(client, ANN), ask(client, BO)]
        with pytest.raises(Refused):
            ask(client, ANN, items=["note"])
        assert client.send_receipts() == 2
        assert client.send_receipts() == 0

    calls = {record["call_id"]: record for record in records(world) if record["operation"] == "query"}
    receipts = {r["confirms"]: r["answer_commitment"] for r in records(world) if r["operation"] == "receipt"}
    assert receipts == {a.call_id: calls[a.call_id]["answer_commitment"] for a in answers}  # type: ignore[attr-defined]
    entry = journal.entry(answers[0].call_id)  # type: ignore[attr-defined]
    assert entry is not None
    assert entry.answer_digest == hashlib.sha256(answers[0].body).hexdigest()  # type: ignore[attr-defined]
    assert verify(world.home / "evidence.db").ok


def test_receipts_that_were_not_taken_are_sent_again(gateway: tuple[World, str], journal: Journal) -> None:
    _, url = gateway
    with GatewayClient(url, key_id="key-housing", secret=SECRET, journal=journal) as client:
        ask(client, ANN)
    with (
        GatewayClient(url, key_id="key-housing", secret="another", journal=journal) as stranger,
        pytest.raises(Refused),
    ):
        stranger.send_receipts()
    assert len(journal.unsent()) == 1
    with GatewayClient(url, key_id="key-housing", secret=SECRET, journal=journal) as client:
        assert client.send_receipts() == 1


def test_without_a_journal_nothing_can_be_confirmed(gateway: tuple[World, str]) -> None:
    with GatewayClient(gateway[1], key_id="key-housing", secret=SECRET) as client, pytest.raises(ValueError):
        client.send_receipts()
