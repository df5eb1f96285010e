"""A node changes its key: work goes on, nothing that was sealed or ordered before is lost, and nobody enters a password again."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node import main
from jinqiao.dataplane.node.errors import RotationPending
from jinqiao.dataplane.node.keys import KeyRing
from jinqiao.dataplane.node.ledger import KEEP
from jinqiao.dataplane.node.rotation import rotate
from jinqiao.dataplane.platform import PlatformAway, PlatformRefused
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.crypto.identity import Identity, sealed_to
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from tests.dataplane.node.small_platform import SmallPlatform
from tests.dataplane.node.test_work import extracted, once, working
from tests.dataplane.node.world import CONSUMER, PROVIDER, World, kill, make_world, wait_until


@pytest.mark.parametrize("suite", SUITE_NAMES)
def test_passwords_are_sealed_anew_and_calls_are_signed_with_the_new_key(tmp_path: Path, suite: str) -> None:
    with SmallPlatform(suite) as platform:
        world = make_world(tmp_path, platform)
        platform.sealed[PROVIDER] = {world.provider.seal(b"secret-1"), world.provider.seal(b"secret-2")}
        home = homes.load(world.home(PROVIDER))
        result = rotate(home)
        assert (result.old_key_id, result.resealed, result.lost) == (world.provider.key_id, 2, 0)
        assert list(platform.nodes) != [world.provider.key_id]
        again = homes.load(world.home(PROVIDER))
        assert again.identity.key_id == result.new_key_id == home.identity.key_id
        assert {sealed_to(text) for text in platform.sealed[PROVIDER]} == {result.new_key_id}
        assert {again.keys.unseal(text) for text in platform.sealed[PROVIDER]} == {b"secret-1", b"secret-2"}
        once(world, PROVIDER)
        assert platform.heartbeats[-1].node_id == PROVIDER


def test_a_batch_that_was_on_its_way_is_delivered_and_both_sign_with_the_keys_of_the_order(world: World) -> None:
    order = world.order()
    sent = extracted(world)
    for node_id in (PROVIDER, CONSUMER):
        rotate(homes.load(world.home(node_id)))
    command = world.deliver(order, sent)
    once(world, CONSUMER)
    taken = world.platform.result_of(command)
    assert taken.ok, taken.problem
    assert world.target_rows() == world.source_rows()
    assert taken.receipt is not None
    import base64

    world.consumer.verify(taken.receipt.canonical(), base64.b64decode(taken.receipt_signature))


def test_an_order_of_before_is_worked_after_the_rotation_with_a_password_of_before(world: World) -> None:
    sealed = replace(world.source, sealed_password=world.provider.seal(b"unused by a file"))
    rotate(homes.load(world.home(PROVIDER)))
    command = world.extract(world.order(), connection=sealed)
    once(world, PROVIDER)
    assert world.platform.result_of(command).ok


def test_an_answer_that_was_lost_is_asked_for_again_with_the_key_that_the_platform_knows_by_then(world: World) -> None:
    world.platform.sealed[PROVIDER] = {world.provider.seal(b"secret")}
    world.platform.loses_rotations = True
    with pytest.raises(PlatformAway):
        rotate(homes.load(world.home(PROVIDER)))
    home = homes.load(world.home(PROVIDER))
    assert home.identity.key_id == world.provider.key_id  # it does not know yet
    assert home.keys.is_rotating
    world.platform.loses_rotations = False
    once(world, PROVIDER)  # the next round ends what was begun
    after = homes.load(world.home(PROVIDER))
    assert not after.keys.is_rotating
    (text,) = world.platform.sealed[PROVIDER]
    assert sealed_to(text) == after.identity.key_id != world.provider.key_id
    assert after.keys.unseal(text) == b"secret"


def test_a_platform_that_refuses_leaves_the_old_key_in_use(world: World) -> None:
    world.platform.refusals["/api/nodes/rotate"] = (403, "exchange.node.rotation")
    with pytest.raises(PlatformRefused):
        rotate(homes.load(world.home(PROVIDER)))
    assert homes.load(world.home(PROVIDER)).identity.key_id == world.provider.key_id
    once(world, PROVIDER)


def test_a_secret_of_another_node_is_counted_as_lost_and_stays(world: World) -> None:
    foreign = Identity.generate().public.seal(b"not ours")
    world.platform.sealed[PROVIDER] = {foreign}
    assert rotate(homes.load(world.home(PROVIDER))).lost == 1
    assert world.platform.sealed[PROVIDER] == {foreign}


def test_a_running_node_changes_its_key_when_it_is_told_to(world: World) -> None:
    process = world.start(PROVIDER)
    try:
        wait_until(lambda: bool(world.platform.heartbeats), "a poll")
        key_id = main.rotate(world.home(PROVIDER), within_s=30)
        assert key_id != world.provider.key_id
        command = world.extract(
            world.order(provider_identity=homes.load(world.home(PROVIDER)).identity.public.to_json())
        )
        assert world.platform.result_of(command).ok
    finally:
        kill(process)


def test_a_running_node_without_a_platform_says_that_it_will(world: World) -> None:
    world.platform.is_away = True
    with working(world, PROVIDER), pytest.raises(RotationPending):
        main.rotate(world.home(PROVIDER), within_s=0.2)
    world.platform.is_away = False
    once(world, PROVIDER)
    assert homes.load(world.home(PROVIDER)).identity.key_id != world.provider.key_id
    assert not (world.home(PROVIDER) / homes.ROTATE_REQUEST).exists()


def test_an_old_key_goes_when_nothing_can_be_sealed_to_it_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(homes.load(world.home(PROVIDER)))
    text = world.provider.seal(b"old")
    with working(world, PROVIDER) as node:
        node._tidy()
        assert node.home.keys.unseal(text) == b"old"
        later = moments.now() + KEEP + timedelta(days=1)
        monkeypatch.setattr(moments, "now", lambda: later)
        node.spool.outgoing("RUN-1").write_chunk(1, b"staged")
        node.ledger.note_announced("RUN-1")
        node._tidy()
        assert node.home.keys.unseal(text) == b"old"  # a run that is here may need it
        node.spool.purge("RUN-1")
        node._tidy()
        with pytest.raises(SealBroken):
            node.home.keys.unseal(text)
    assert KeyRing(world.home(PROVIDER), "international").former() == ()
