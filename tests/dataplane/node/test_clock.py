"""A node whose clock is wrong: it says so, and its work goes through."""

import time

import pytest

from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.platform import BELIEVED_S, PlatformClient, PlatformRefused, PlatformTime
from jinqiao.kernel import moments
from jinqiao.kernel.httpsig import OutsideWindow
from tests.dataplane.node.test_work import extracted, once, working
from tests.dataplane.node.world import CONSUMER, PROVIDER, World


@pytest.mark.parametrize("offset_s", [3600, -3600, 30 * 3600])
def test_a_clock_that_is_off_is_found_from_the_refusal_and_reported(
    world: World, monkeypatch: pytest.MonkeyPatch, offset_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JINQIAO_CLOCK_OFFSET_S", str(offset_s))
    with working(world, PROVIDER) as node:
        assert node.run_once()
        assert abs(node.home.time.offset_s + offset_s) < 60
    monkeypatch.delenv("JINQIAO_CLOCK_OFFSET_S")
    told = (world.platform.heartbeats[-1].clock_at - moments.now()).total_seconds()
    assert abs(told - offset_s) < 60  # the platform hears by how much
    assert "clock" in caplog.text
    monkeypatch.setenv("JINQIAO_CLOCK_OFFSET_S", str(3600 if offset_s > 0 else -3600))
    order = world.order()
    command = world.deliver(order, extracted(world))
    once(world, CONSUMER)
    assert world.platform.result_of(command).ok
    assert world.target_rows() == world.source_rows()


def test_a_clock_that_is_right_is_left_alone(world: World) -> None:
    with working(world, PROVIDER) as node:
        assert node.run_once()
        assert not node.home.time.is_wrong
        assert node.home.time.now() == pytest.approx(time.time(), abs=30)


def test_a_platform_that_claims_another_day_is_not_believed(world: World) -> None:
    clock = PlatformTime()
    assert not clock.learn(time.time() + BELIEVED_S + 100)
    assert clock.offset_s == 0.0
    world.platform.refusals["/api/nodes/poll"] = (401, OutsideWindow.code)
    home = homes.load(world.home(PROVIDER))
    with home.client() as platform, pytest.raises(PlatformRefused):
        platform.get("/api/nodes/poll")
    assert len(world.platform.calls) == 1  # no time was told: nothing to sign again with


def test_a_clock_that_was_set_right_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINQIAO_CLOCK_OFFSET_S", "3600")
    with working(world, PROVIDER) as node:
        assert node.run_once()
        assert node.home.time.is_wrong
        monkeypatch.delenv("JINQIAO_CLOCK_OFFSET_S")
        assert node.run_once()  # signed an hour too early now: learned again
        assert not node.home.time.is_wrong


def test_real_time_is_the_machines_unless_it_is_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert moments.real_time() == pytest.approx(time.time(), abs=30)
    right = moments.now()
    monkeypatch.setenv("JINQIAO_CLOCK_OFFSET_S", "-86400")
    assert moments.real_time() == pytest.approx(time.time() - 86400, abs=30)
    assert (moments.now() - right).total_seconds() == pytest.approx(-86400, abs=30)


def test_a_client_may_share_what_it_knows_of_the_time(world: World) -> None:
    shared = PlatformTime()
    with PlatformClient(world.platform.url, homes.load(world.home(PROVIDER)).identity, time=shared) as platform:
        assert platform.time is shared
