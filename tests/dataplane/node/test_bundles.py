"""Two nodes without a network: everything they and the platform say to each other is carried as files."""

import base64
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from jinqiao.accounts.models import Post
from jinqiao.dataplane.node import bundles, main
from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.errors import HomeCarried, HomeNotCarried
from jinqiao.dataplane.node.process import Node
from jinqiao.exchange import actions
from jinqiao.exchange.enums import NetworkZone, NodeState, RunState, SourceState
from jinqiao.exchange.errors import NodeAwaitsApproval, NodeNotActive
from jinqiao.exchange.models import BundleRecord, DataSource, ExchangeReceipt, ExchangeTask, Run
from jinqiao.exchange.models import Node as NodeRecord
from jinqiao.exchange.queries.receipts import signatures
from jinqiao.kernel.bundles import (
    BundleBroken,
    BundleMissing,
    BundleOfAnotherNode,
    BundleOutdated,
    BundleSignatureWrong,
    Content,
    read_bundle,
    write_bundle,
)
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.contracts.bundles import Direction, PartKind
from jinqiao.kernel.contracts.exchange import NodeRotation
from jinqiao.kernel.crypto.identity import Identity, fingerprint, sealed_to
from tests.dataplane.node.marriages import ROWS, add_database, agreed_task, expected_node, sharing_asker
from tests.factories import seed_calendar
from tests.sharing import factories as sharing

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Island:
    """A department whose node has no network: `home` lies there, `stick` is what is carried."""

    folder: Path
    record: NodeRecord
    source: DataSource | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def stick(self) -> Path:
        return self.folder / "stick"

    @property
    def file(self) -> Path:
        return self.folder / "data.db"

    def out(self) -> Path:
        """Export at the node; the file."""
        with closing(Node(homes.load(self.home))) as node:
            return bundles.export(node, self.stick)

    def take(self, file: Path) -> bundles.Taken:
        with closing(Node(homes.load(self.home))) as node:
            return bundles.take(node, file)

    def down(self) -> Path:
        """Export at the platform; the file."""
        return actions.export_bundle(NodeRecord.objects.get(pk=self.record.pk), self.stick)

    def trip(self) -> None:
        """The stick goes to the node and back."""
        self.take(self.down())
        actions.import_bundle(self.out())


def make_island(folder: Path, operator: Post, rows: list[Any]) -> Island:
    folder.mkdir()
    (folder / "stick").mkdir()
    admin, record, code = expected_node(operator.organisation, folder.name, NetworkZone.INTRANET)
    island = Island(folder, record)
    request, answer = island.stick / "registration.json", island.stick / "admission.json"
    arguments = ["register", str(island.home), "--offline", "--code", code, "--name", "前置节点", "--to", str(request)]
    assert main.main(arguments) == 0
    call_command("bundle", "register", str(request), "--to", str(answer))
    assert main.main(["admit", str(island.home), str(answer)]) == 0
    actions.approve_node(record, by=admin, key_id=homes.load(island.home).identity.key_id)
    source = add_database(record, operator, island.file, rows)
    island.trip()
    island.trip()
    island.source = DataSource.objects.get(pk=source.pk)
    assert island.source.state == SourceState.REACHABLE
    return island


@pytest.fixture
def islands(tmp_path: Path, settings: Any) -> tuple[Island, Island, ExchangeTask]:
    settings.RELAY_ROOT = tmp_path / "relay"
    seed_calendar()
    parties = sharing.make_parties()
    provider = make_island(tmp_path / "minzheng", parties.clerk, ROWS)
    consumer = make_island(tmp_path / "zhujian", parties.asker, [])
    task = agreed_task(parties, provider.source, consumer.source)
    return provider, consumer, task


def delivered(island: Island) -> tuple[int, int]:
    with closing(sqlite3.connect(island.file)) as database:
        return database.execute("SELECT count(*), count(DISTINCT sfzh) FROM hunyin").fetchone()  # type: ignore[no-any-return]


def state_of(run: Run) -> str:
    return Run.objects.get(pk=run.pk).state


def test_a_run_is_carried_there_and_back_and_both_sides_sign_for_it(
    islands: tuple[Island, Island, ExchangeTask],
) -> None:
    provider, consumer, task = islands
    run = actions.start_run(task, by=sharing_asker(task))
    provider.trip()
    assert state_of(run) == RunState.DELIVERING
    consumer.trip()
    assert state_of(run) == RunState.RECONCILED, Run.objects.get(pk=run.pk).problem
    assert delivered(consumer) == (len(ROWS), len(ROWS))
    receipt = ExchangeReceipt.objects.get(run=run)
    assert [(side.is_given, side.holds) for side in signatures(receipt)] == [(True, True), (True, True)]
    for island in islands[:2]:
        island.trip()
        assert homes.load(island.home).spool.runs() == ()
    assert actions.alert_silent_nodes() == 0  # a node that is carried is not silent


def test_what_is_lost_is_repeated_what_is_doubled_changes_nothing_and_what_is_old_is_refused(
    islands: tuple[Island, Island, ExchangeTask],
) -> None:
    provider, consumer, task = islands
    actions.start_run(task, by=sharing_asker(task))
    down = provider.down()
    down.unlink()  # the first stick was lost
    again = provider.down()
    taken = provider.take(again)
    assert taken.commands == 1
    assert taken.skipped == (taken.sequence - 1,)
    assert not provider.take(again).is_new

    lost = provider.out()
    up = provider.out()
    result = actions.import_bundle(up)
    assert (result.is_new, result.results, result.refused) == (True, 1, ())
    assert result.skipped == (result.sequence - 1,)
    assert result.chunks > 0
    assert not actions.import_bundle(up).is_new
    with pytest.raises(BundleOutdated):
        actions.import_bundle(lost)  # found again in a drawer
    repeated = provider.out()  # nothing was acknowledged yet: the same results once more
    assert actions.import_bundle(repeated).refused == ()
    consumer.trip()
    assert delivered(consumer) == (len(ROWS), len(ROWS))
    assert Run.objects.get(task=task).state == RunState.RECONCILED


def test_a_bundle_whose_forerunners_are_missing_is_not_taken(islands: tuple[Island, Island, ExchangeTask]) -> None:
    provider, _consumer, _task = islands
    number, home = provider.record.number, homes.load(provider.home)
    last = BundleRecord.objects.filter(node=provider.record, direction="up").count()
    far = write_bundle(
        provider.stick,
        home.identity,
        [],
        node_id=number,
        direction=Direction.UP,
        sequence=last + 5,
        since=last + 3,
        acknowledged=0,
    )
    with pytest.raises(BundleMissing) as caught:
        actions.import_bundle(far)
    assert caught.value.details["expected"] == last + 1


def test_bundles_of_others_and_altered_ones_are_refused_on_both_sides(
    islands: tuple[Island, Island, ExchangeTask],
) -> None:
    provider, consumer, task = islands
    actions.start_run(task, by=sharing_asker(task))
    down = provider.down()
    with pytest.raises(BundleOfAnotherNode):
        consumer.take(down)
    with pytest.raises(BundleSignatureWrong):
        actions.import_bundle(down)  # the wrong way round
    data = bytearray(down.read_bytes())
    data[len(data) // 3] ^= 4
    broken = provider.stick / "broken.jqb"
    broken.write_bytes(bytes(data))
    with pytest.raises((BundleBroken, BundleSignatureWrong)):
        provider.take(broken)
    provider.take(down)
    up = provider.out()
    data = bytearray(up.read_bytes())
    data[len(data) // 3] ^= 4
    broken.write_bytes(bytes(data))
    with pytest.raises((BundleBroken, BundleSignatureWrong)):
        actions.import_bundle(broken)
    forged = write_bundle(
        provider.stick / "forged.jqb",
        Identity.generate(),
        [Content(PartKind.HEARTBEAT, b"{}")],
        node_id=provider.record.number,
        direction=Direction.UP,
        sequence=99,
        since=1,
        acknowledged=0,
    )
    with pytest.raises(BundleSignatureWrong):
        actions.import_bundle(forged)
    with pytest.raises(BundleOfAnotherNode):
        actions.import_bundle(
            write_bundle(
                provider.stick / "nobody.jqb",
                Identity.generate(),
                [],
                node_id="nobody",
                direction=Direction.UP,
                sequence=1,
                since=1,
                acknowledged=0,
            )
        )
    assert not Run.objects.filter(state=RunState.DELIVERING).exists()  # nothing of all that was used
    assert actions.import_bundle(up).is_new


def test_a_chunk_that_does_not_come_whole_is_carried_once_more(islands: tuple[Island, Island, ExchangeTask]) -> None:
    provider, consumer, task = islands
    run = actions.start_run(task, by=sharing_asker(task))
    provider.trip()
    down = consumer.down()
    bundle = read_bundle(down, Direction.DOWN, lambda node_id, key_id: homes.load(consumer.home).platform)
    assert [part.kind for part in bundle.manifest.parts].count(PartKind.CHUNK) == 1
    relayed = next(iter((Path(consumer.folder).parent / "relay").rglob("*.chunk")))
    relayed.write_bytes(b"rotten")
    consumer.take(consumer.down())  # without the chunk, for the platform's copy is rotten
    assert state_of(run) == RunState.DELIVERING
    actions.import_bundle(consumer.out())
    provider.trip()  # RESEND
    consumer.trip()
    assert state_of(run) == RunState.RECONCILED, Run.objects.get(pk=run.pk).problem
    assert delivered(consumer) == (len(ROWS), len(ROWS))


def test_nodes_that_may_not_work_get_and_bring_nothing(islands: tuple[Island, Island, ExchangeTask]) -> None:
    provider, _consumer, _task = islands
    up = provider.out()
    NodeRecord.objects.filter(pk=provider.record.pk).update(state=NodeState.SUSPENDED)
    with pytest.raises(NodeNotActive):
        actions.import_bundle(up)
    with pytest.raises(NodeNotActive):
        provider.down()
    NodeRecord.objects.filter(pk=provider.record.pk).update(state=NodeState.AWAITING)
    with pytest.raises(NodeAwaitsApproval):
        actions.import_bundle(up)
    with pytest.raises(NodeAwaitsApproval):
        provider.down()


def test_the_commands_say_what_was_carried(
    islands: tuple[Island, Island, ExchangeTask], capsys: pytest.CaptureFixture[str]
) -> None:
    provider, _consumer, task = islands
    actions.start_run(task, by=sharing_asker(task))
    number = provider.record.number
    call_command("bundle", "export", number, "--to", str(provider.stick))
    down = Path(capsys.readouterr().out.strip())
    assert main.main(["import", str(provider.home), str(down)]) == 0
    assert "1 commands" in capsys.readouterr().out
    assert main.main(["import", str(provider.home), str(down)]) == 0
    assert "before" in capsys.readouterr().out
    assert main.main(["export", str(provider.home), "--to", str(provider.stick)]) == 0
    up = capsys.readouterr().out.strip()
    call_command("bundle", "import", up)
    assert "1 results" in capsys.readouterr().out
    call_command("bundle", "import", up)
    assert "before" in capsys.readouterr().out
    with pytest.raises(CommandError, match=r"bundle\.broken"):
        call_command("bundle", "import", str(provider.stick / "none.jqb"))
    with pytest.raises(CommandError, match="node"):
        call_command("bundle", "export", "nobody", "--to", str(provider.stick))
    assert main.main(["import", str(provider.home), str(provider.stick / "none.jqb")]) == 1
    assert "bundle.broken" in capsys.readouterr().err


def test_a_carried_node_does_not_poll_and_a_polling_node_is_not_carried(
    islands: tuple[Island, Island, ExchangeTask], tmp_path: Path
) -> None:
    provider, _consumer, _task = islands
    with closing(Node(homes.load(provider.home))) as node:
        with pytest.raises(HomeCarried):
            node.run()
        with pytest.raises(HomeCarried):
            node.run_once()
    homes.prepare(tmp_path / "net", "http://127.0.0.1:9", "n-1", Identity.generate().public)
    with closing(Node(homes.load(tmp_path / "net"))) as node, pytest.raises(HomeNotCarried):
        bundles.export(node, tmp_path)


def sealed_key(island: Island) -> str:
    """The key that the password of the island's database is sealed to, at the platform."""
    assert island.source is not None
    return sealed_to(DataSource.objects.get(pk=island.source.pk).sealed_password)


def give_password(island: Island) -> None:
    """A password of the database, sealed as the page seals it."""
    assert island.source is not None
    sealed = homes.load(island.home).identity.public.seal(b"geheim")
    DataSource.objects.filter(pk=island.source.pk).update(sealed_password=sealed)


def test_a_new_key_is_carried_and_what_was_sealed_to_the_old_one_comes_sealed_anew(
    islands: tuple[Island, Island, ExchangeTask], capsys: pytest.CaptureFixture[str]
) -> None:
    provider, consumer, task = islands
    give_password(provider)
    old = homes.load(provider.home).identity
    assert main.main(["rotate", str(provider.home)]) == 0
    new = homes.load(provider.home).keys.following()
    assert fingerprint(new.key_id) in capsys.readouterr().out
    assert main.rotate(provider.home) == new.key_id  # asked twice it is the same key

    provider.trip()
    record = NodeRecord.objects.get(pk=provider.record.pk)
    assert (record.key_id, homes.load(provider.home).identity.key_id) == (new.key_id, old.key_id)
    provider.trip()  # the answer, and what is sealed anew
    assert homes.load(provider.home).identity.key_id == new.key_id == sealed_key(provider)
    provider.trip()  # nothing is left
    home = homes.load(provider.home)
    assert not home.keys.is_rotating
    assert not (provider.home / "rotated.json").exists()
    assert (
        home.keys.unseal(DataSource.objects.get(pk=provider.record.data_sources.get().pk).sealed_password) == b"geheim"
    )

    run = actions.start_run(task, by=sharing_asker(task))
    for island in (provider, consumer):
        island.trip()
    assert state_of(run) == RunState.RECONCILED, Run.objects.get(pk=run.pk).problem


def test_a_run_that_is_on_its_way_while_both_keys_change_is_reconciled(
    islands: tuple[Island, Island, ExchangeTask],
) -> None:
    provider, consumer, task = islands
    run = actions.start_run(task, by=sharing_asker(task))
    for island in (provider, consumer):
        main.rotate(island.home)
        island.trip()
    assert state_of(run) == RunState.RECONCILED, Run.objects.get(pk=run.pk).problem
    receipt = ExchangeReceipt.objects.get(run=run)
    assert [(side.is_given, side.holds) for side in signatures(receipt)] == [(True, True), (True, True)]
    second = actions.start_run(task, by=sharing_asker(task))  # sealed to the new keys, which the nodes do not use yet
    for island in (provider, consumer):
        island.trip()
    assert state_of(second) == RunState.RECONCILED, Run.objects.get(pk=second.pk).problem


def test_the_old_key_is_taken_until_the_node_knows_and_not_after(islands: tuple[Island, Island, ExchangeTask]) -> None:
    provider, _consumer, _task = islands
    old = homes.load(provider.home).identity
    before = provider.out()
    assert actions.import_bundle(before).is_new
    main.rotate(provider.home)
    lost = provider.out()
    lost.unlink()  # the word on the new key never came: the next bundle says it again
    assert actions.import_bundle(provider.out()).refused == ()
    provider.down().unlink()  # the answer never came
    again = actions.import_bundle(provider.out())  # signed with the old key, for the node knows nothing yet
    assert (again.is_new, again.refused) == (True, ())
    stranger = Identity.generate(old.suite)
    word = NodeRotation(node_id=provider.record.number, identity=stranger.public.to_json())
    word = replace(word, proof=base64.b64encode(stranger.sign(word.canonical())).decode("ascii"))
    bad = bundle_with(provider, old, Content(PartKind.ROTATION, canonical_json(word.to_json())))
    assert [code for _part, code in actions.import_bundle(bad).refused] == ["exchange.node.rotation"]

    with closing(Node(homes.load(provider.home))) as node:  # the number that the stranger used is used up
        node.ledger.note_bundle("up", last_taken(provider), "")
    provider.take(provider.down())
    assert actions.import_bundle(provider.out()).refused == ()
    with pytest.raises(BundleSignatureWrong):
        actions.import_bundle(bundle_with(provider, old))
    assert not actions.import_bundle(before).is_new  # found again it changes nothing, as ever


def last_taken(island: Island) -> int:
    """The number of the last bundle that the platform took."""
    return BundleRecord.objects.filter(node=island.record, direction="up").order_by("-sequence")[0].sequence


def bundle_with(island: Island, signer: Identity, *contents: Content) -> Path:
    """A bundle that somebody makes who has this key of the node."""
    sequence = last_taken(island) + 1
    return write_bundle(
        island.stick,
        signer,
        contents,
        node_id=island.record.number,
        direction=Direction.UP,
        sequence=sequence,
        since=sequence,
        acknowledged=0,
    )
