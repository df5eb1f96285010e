"""The relay takes from one node and gives to one other, and only while it must."""

from pathlib import Path

import pytest

from jinqiao.exchange import actions
from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.errors import (
    ChunkDigestWrong,
    ChunkEmpty,
    ChunkMissing,
    GrantNotLive,
    NodeKindWrong,
    NotYourRun,
    RelayFull,
    RunMissing,
    RunStateWrong,
)
from jinqiao.exchange.models import RelayChunk, Run
from jinqiao.kernel.contracts.exchange import CommandKind
from jinqiao.kernel.crypto.suites import suite
from jinqiao.sharing.models import Grant
from tests.exchange.factories import NodeHands, World, make_node, relay_files

DATA = b"ciphertext"


def digest(data: bytes = DATA) -> str:
    return suite("international").digest(data).hex()


def put(world: World, run: Run, *, node: NodeHands | None = None, data: bytes = DATA, number: int = 1) -> RelayChunk:
    return actions.store_chunk(run.number, number, data, digest(data), node=(node or world.provider_node).node)


@pytest.fixture
def extracting(world: World) -> Run:
    run = world.run()
    world.provider_node.take(CommandKind.EXTRACT)
    return run


@pytest.fixture
def delivering(world: World) -> Run:
    run = world.run()
    world.handed_over(run)
    return run


def test_what_the_provider_brings_the_consumer_fetches(world: World, delivering: Run) -> None:
    data, chunk = actions.open_chunk(delivering.number, 1, node=world.consumer_node.node)

    assert data == b"ciphertext of " + delivering.number.encode()
    assert chunk.digest == digest(data)
    assert RelayChunk.objects.get().fetched_at is not None


def test_the_same_chunk_again_changes_nothing_and_another_takes_its_place(
    world: World, extracting: Run, relay: Path
) -> None:
    first = put(world, extracting)
    assert put(world, extracting).pk == first.pk
    put(world, extracting, data=b"extracted anew")

    assert RelayChunk.objects.get().digest == digest(b"extracted anew")
    assert not [file for file in relay_files(extracting, relay) if file.name.startswith(".")]


def test_nobody_but_the_provider_brings_chunks(world: World, extracting: Run) -> None:
    for node in (world.consumer_node, make_node(world.parties.provider)):
        with pytest.raises(NotYourRun):
            put(world, extracting, node=node)
    with pytest.raises(NodeKindWrong):
        put(world, extracting, node=make_node(world.parties.provider, NodeKind.GATEWAY))
    assert not RelayChunk.objects.exists()


def test_nobody_but_the_consumer_fetches_chunks(world: World, delivering: Run) -> None:
    for node in (world.provider_node, make_node(world.parties.consumer)):
        with pytest.raises(NotYourRun):
            actions.open_chunk(delivering.number, 1, node=node.node)


def test_chunks_are_not_fetched_before_the_sender_has_signed(world: World, extracting: Run) -> None:
    put(world, extracting)
    with pytest.raises(RunStateWrong):
        actions.open_chunk(extracting.number, 1, node=world.consumer_node.node)


def test_chunks_are_not_changed_after_the_sender_has_signed(world: World, delivering: Run) -> None:
    with pytest.raises(RunStateWrong):
        put(world, delivering, data=b"other")


def test_a_run_that_waits_takes_no_chunks_yet(world: World) -> None:
    with pytest.raises(RunStateWrong):
        put(world, world.run())


@pytest.mark.parametrize("state", ["suspended", "revoked", "expired", "replaced"])
def test_no_byte_moves_when_the_grant_is_not_live(world: World, delivering: Run, state: str) -> None:
    Grant.objects.filter(pk=delivering.task.grant_id).update(state=state)
    with pytest.raises(GrantNotLive):
        actions.open_chunk(delivering.number, 1, node=world.consumer_node.node)
    with pytest.raises(GrantNotLive):
        put(world, delivering)


def test_no_byte_moves_after_the_last_day_of_the_grant(
    world: World, delivering: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2027-06-01")
    with pytest.raises(GrantNotLive):
        actions.open_chunk(delivering.number, 1, node=world.consumer_node.node)


def test_a_chunk_must_be_what_its_digest_says(world: World, extracting: Run, relay: Path) -> None:
    with pytest.raises(ChunkDigestWrong):
        actions.store_chunk(extracting.number, 1, DATA, digest(b"other"), node=world.provider_node.node)
    with pytest.raises(ChunkEmpty):
        put(world, extracting, data=b"")
    with pytest.raises(ChunkMissing):
        put(world, extracting, number=0)
    assert relay_files(extracting, relay) == []


def test_unknown_runs_and_chunks(world: World, delivering: Run) -> None:
    with pytest.raises(RunMissing):
        actions.open_chunk("RUN-20000101-0001", 1, node=world.consumer_node.node)
    with pytest.raises(ChunkMissing):
        actions.open_chunk(delivering.number, 2, node=world.consumer_node.node)


def test_a_disk_that_takes_nothing_is_told_as_trouble_that_may_pass(world: World, extracting: Run, relay: Path) -> None:
    relay.parent.mkdir(exist_ok=True)
    relay.write_text("a file stands where the folder should be")

    with pytest.raises(RelayFull):
        put(world, extracting)


def test_the_relay_is_not_emptied_under_a_live_run(world: World, delivering: Run, relay: Path) -> None:
    assert actions.purge_relay(delivering.number) is False
    assert len(relay_files(delivering, relay)) == 1
