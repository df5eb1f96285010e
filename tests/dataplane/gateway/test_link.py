"""The gateway and its platform: a change is in force within two seconds, and without the platform calls go on."""

import asyncio
import contextlib
import errno
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from jinqiao.dataplane.evidence.verify import verify_batches
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway import keeping, snapshot
from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.errors import SettingsNotValid
from jinqiao.dataplane.gateway.home import LINK_LOCK, GatewayHome
from jinqiao.dataplane.gateway.keeping import EvidenceKeeper
from jinqiao.dataplane.gateway.link import CONFIRMED, WAIT_S, PlatformLink
from jinqiao.dataplane.gateway.settings import SETTINGS
from jinqiao.dataplane.gateway.snapshot import last_kept
from jinqiao.dataplane.platform import PlatformClient
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.health import GatewayState
from jinqiao.kernel.contracts.policy import PolicySnapshot
from jinqiao.kernel.crypto.identity import Identity, sign_message
from jinqiao.kernel.keystore import KeyStore, write_durably
from tests.dataplane.gateway.platform_stand_in import PlatformStandIn, platform
from tests.dataplane.gateway.world import Caller, World, make_world, talk


@pytest.fixture
def city(tmp_path: Path) -> Iterator[tuple[World, PlatformStandIn]]:
    """A gateway with a platform that can be reached, and no policy yet."""
    world = make_world(tmp_path)
    with platform(world.gateway) as stand_in:
        homes.prepare(world.home, stand_in.url, "gw-1", world.platform.public)
        yield world, stand_in


async def until(caller: Caller, code: str, within_s: float = 5) -> float:
    """Seconds until a call gets this code (`ok` for an answer)."""
    began = time.monotonic()
    while True:
        response = await caller.ask()
        got = "ok" if response.status_code == 200 else response.json()["code"]
        if got == code:
            return time.monotonic() - began
        assert time.monotonic() - began < within_s, f"still {got}"
        await asyncio.sleep(0.05)


def publish(world: World, stand_in: PlatformStandIn) -> None:
    message = world.signed()
    stand_in.put_in_force(message, world.version)


def test_a_policy_comes_by_itself_and_a_revocation_works_within_two_seconds(
    city: tuple[World, PlatformStandIn],
) -> None:
    world, stand_in = city

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).json()["code"] == "gateway.policy.missing"
        publish(world, stand_in)
        await until(caller, "ok")

        world.services = (replace(world.services[0], suspended=True),)
        publish(world, stand_in)
        assert await until(caller, "gateway.service.suspended") <= 2.0

        world.services = ()
        publish(world, stand_in)
        assert await until(caller, "gateway.service.unknown") <= 2.0

        del world.keys["key-housing"]
        publish(world, stand_in)
        assert await until(caller, "signature.unknown_key") <= 2.0

    talk(world, conversation)


def test_without_the_platform_calls_go_on_also_after_a_restart(city: tuple[World, PlatformStandIn]) -> None:
    world, stand_in = city

    async def first(caller: Caller, gateway: Gateway) -> None:
        publish(world, stand_in)
        await until(caller, "ok")
        stand_in.refusing = 503
        await asyncio.sleep(1.5)
        assert (await caller.ask()).status_code == 200
        report = (await caller.client.get("/gateway/health/ready")).json()
        assert report["ready"] is True
        assert report["platform_problem"] == "node.platform.away"
        assert report["platform_reached_s_ago"] > 0

    async def second(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).status_code == 200

    talk(world, first)
    talk(world, second)


def test_evidence_reaches_the_platform_whole_and_only_once(city: tuple[World, PlatformStandIn]) -> None:
    world, stand_in = city

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        publish(world, stand_in)
        await until(caller, "ok")
        stand_in.refusing = 503
        for _ in range(5):
            assert (await caller.ask()).status_code == 200
        stand_in.refusing = 0
        stand_in.pulls.clear()
        for _ in range(100):
            if (await caller.client.get("/gateway/health/ready")).json()["evidence_waiting_batches"] == 0:
                break
            await asyncio.sleep(0.1)

    talk(world, conversation)
    verdict = verify_batches(stand_in.batches, suite_name="international")
    assert verdict.ok
    assert [record.outcome for batch in stand_in.batches for record in batch.records].count("ok") >= 6


def test_a_platform_restored_from_a_backup_gets_again_what_it_lost(city: tuple[World, PlatformStandIn]) -> None:
    world, stand_in = city

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        publish(world, stand_in)
        await until(caller, "ok")
        for _ in range(3):
            await caller.ask()
        while (await caller.client.get("/gateway/health/ready")).json()["evidence_waiting_batches"]:
            await asyncio.sleep(0.05)
        lost = stand_in.batches[1:]
        stand_in.batches, stand_in.expects = stand_in.batches[:1], 2
        await caller.ask()
        began = time.monotonic()
        while len(stand_in.batches) <= len(lost) + 1:
            assert time.monotonic() - began < 15
            await asyncio.sleep(0.05)

    talk(world, conversation)
    assert verify_batches(stand_in.batches, suite_name="international").ok


def test_the_policy_is_pulled_about_each_second(city: tuple[World, PlatformStandIn]) -> None:
    world, stand_in = city

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        await asyncio.sleep(3.2)

    talk(world, conversation)
    assert 3 <= len(stand_in.pulls) <= 5


def test_where_the_platform_holds_the_question_a_revocation_needs_no_further_poll(
    city: tuple[World, PlatformStandIn],
) -> None:
    world, stand_in = city
    stand_in.waits = True

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        publish(world, stand_in)
        await until(caller, "ok")
        for suspended, code in ((True, "gateway.service.suspended"), (False, "ok")) * 3:
            world.services = (replace(world.services[0], suspended=suspended),)
            asked = len(stand_in.pulls)
            publish(world, stand_in)
            await until(caller, code)
            # the one that was held brings the news; beside it at most the next one is under way
            assert len(stand_in.pulls) <= asked + 2

    talk(world, conversation)


def test_a_platform_that_waits_with_us_is_asked_once_a_waiting_time(city: tuple[World, PlatformStandIn]) -> None:
    world, stand_in = city
    stand_in.waits = True

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        publish(world, stand_in)
        await until(caller, "ok")
        first = len(stand_in.pulls)
        while len(stand_in.pulls) < first + 3:
            await asyncio.sleep(0.01)

    talk(world, conversation)
    gaps = [after - before for before, after in itertools.pairwise(stand_in.pulls[-3:])]
    assert all(gap >= WAIT_S for gap in gaps)


def test_a_forged_policy_never_takes_effect(city: tuple[World, PlatformStandIn]) -> None:
    world, stand_in = city

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        publish(world, stand_in)
        await until(caller, "ok")
        stand_in.put_in_force(sign_message(world.snapshot(version=9, services=()), Identity.generate()), 9)
        seen = len(stand_in.pulls)
        while len(stand_in.pulls) < seen + 2:
            await asyncio.sleep(0.05)
        assert (await caller.ask()).status_code == 200
        report = (await caller.client.get("/gateway/health/ready")).json()
        assert (report["policy_version"], report["platform_problem"]) == (1, "crypto.signature.invalid")

    talk(world, conversation)


def test_a_policy_on_disk_that_was_altered_is_not_used(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.publish()
    file = homes.load(world.home).policy_file
    file.write_text(file.read_text().replace("hunyin-dengji-001", "hunyin-dengji-002"))

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).json()["code"] == "gateway.policy.missing"

    talk(world, conversation)


def test_the_policy_in_force_ends_by_the_gateways_own_clock(city: tuple[World, PlatformStandIn]) -> None:
    world, stand_in = city
    world.lifetime = timedelta(seconds=2)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        publish(world, stand_in)
        await until(caller, "ok")
        stand_in.refusing = 503
        await until(caller, "gateway.policy.expired")

    talk(world, conversation)


def test_the_snapshot_tells_instants_with_their_zone(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    naive = moments.now().replace(tzinfo=None)
    world.publish(expires_at=naive + timedelta(hours=1))

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).json()["code"] == "gateway.policy.missing"

    talk(world, conversation)
    assert isinstance(world.snapshot(), PolicySnapshot)


def test_a_gateway_stops_at_once_even_while_the_platform_is_away(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.publish()
    ended: list[float] = []

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert isinstance(await caller.ask(), httpx.Response)
        ended.append(time.monotonic())

    talk(world, conversation)
    assert time.monotonic() - ended[0] < 2


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_reload_with_a_wrong_ca_file_changes_nothing(
    city: tuple[World, PlatformStandIn], content: str | None
) -> None:
    world, stand_in = city
    settings, file = world.home / SETTINGS, world.folder / "ca.pem"
    if content is not None:
        file.write_text(content)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        publish(world, stand_in)
        await until(caller, "ok")
        link, keeper, before = gateway._link, gateway._keeper, gateway.settings
        settings.write_text(f'[limits]\nat_door = 1\n[platform]\nca_file = "{file}"\n')
        with pytest.raises(SettingsNotValid) as refusal:
            await gateway.reload()
        assert refusal.value.details == {"name": "platform.ca_file"}
        assert (gateway._link, gateway._keeper, gateway.settings) == (link, keeper, before)
        world.services = ()
        publish(world, stand_in)
        await until(caller, "gateway.service.unknown")
        for _ in range(100):
            if (await caller.client.get("/gateway/health/ready")).json()["evidence_waiting_batches"] == 0:
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("nothing is shipped any more")

    talk(world, conversation)


def test_a_gateway_does_not_start_with_a_wrong_ca_file_and_leaves_its_home_free(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    (world.home / SETTINGS).write_text('[platform]\nca_file = "/nowhere/ca.pem"\n')
    with pytest.raises(SettingsNotValid):
        talk(world, lambda caller, gateway: asyncio.sleep(0))
    (world.home / SETTINGS).unlink()
    talk(world, lambda caller, gateway: asyncio.sleep(0))


def test_two_reloads_at_once_leave_one_link_that_leads(city: tuple[World, PlatformStandIn]) -> None:
    world, stand_in = city

    def threads() -> list[str]:
        names = ("policy", "evidence-shipper", "evidence-keeper")
        return sorted(thread.name for thread in threading.enumerate() if thread.name in names)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        publish(world, stand_in)
        await until(caller, "ok")
        await asyncio.gather(gateway.reload(), gateway.reload())
        assert threads() == ["evidence-keeper", "evidence-shipper", "policy"]
        assert gateway._link is not None
        while not gateway._link.leads:
            await asyncio.sleep(0.01)
        world.services = ()
        publish(world, stand_in)
        await until(caller, "gateway.service.unknown")
        await asyncio.gather(
            gateway.reload(), gateway.stop()
        )  # one that comes at the end makes no link that nobody stops
        assert threads() == []

    talk(world, conversation)
    assert threads() == []


def test_a_policy_older_than_the_one_in_force_is_not_installed(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.publish()
    older = last_kept(homes.load(world.home))
    world.services = ()
    world.publish()
    assert older is not None

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        gateway._install(older)  # as a link that was stopped a moment too late would
        assert (await caller.ask()).json()["code"] == "gateway.service.unknown"

    talk(world, conversation)


@contextlib.contextmanager
def two_links(world: World) -> Iterator[tuple[tuple[PlatformLink, PlatformLink], tuple[list[int], list[int]]]]:
    """Of one home, as two workers have them: the first leads. Beside them the versions that each has put in force."""
    got: tuple[list[int], list[int]] = ([], [])
    first = PlatformLink(homes.load(world.home), lambda view: got[0].append(view.version))
    second = PlatformLink(homes.load(world.home), lambda view: got[1].append(view.version))
    first.start(None)
    try:
        comes(lambda: first.leads)
        second.start(None)
        yield (first, second), got
    finally:
        first.stop()
        second.stop()


def comes(condition: Callable[[], bool], within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_policy_that_could_not_be_kept_is_kept_at_a_later_pull_and_reaches_who_follows(
    city: tuple[World, PlatformStandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, stand_in = city
    has_room, tried = threading.Event(), list[int]()
    confirmed = world.home / CONFIRMED

    def write(file: Path, content: bytes) -> None:
        if file.name == homes.POLICY and not has_room.is_set():
            tried.append(1)
            raise OSError(errno.ENOSPC, "no space left on device")
        write_durably(file, content)

    publish(world, stand_in)
    with two_links(world) as ((leading, following), got):
        comes(lambda: got[1] == [1])
        monkeypatch.setattr(snapshot, "write_durably", write)
        world.services = ()
        publish(world, stand_in)
        comes(lambda: got[0] == [1, 2])
        comes(lambda: len(tried) >= 2)
        before = confirmed.stat().st_mtime_ns
        comes(lambda: len(tried) >= 4)  # pulls go on, but nobody is told that what is on disk is the newest
        assert confirmed.stat().st_mtime_ns == before
        assert leading.last_problem == "OSError"
        assert got[1] == [1]

        has_room.set()
        comes(lambda: got[1] == [1, 2])
        comes(lambda: confirmed.stat().st_mtime_ns > before)
        comes(lambda: leading.last_problem == "")
        assert following.age_s() < 20


def test_a_link_that_takes_over_in_the_same_process_keeps_what_the_one_before_could_not(
    city: tuple[World, PlatformStandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, stand_in = city

    def write(file: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        with monkeypatch.context() as full:
            full.setattr(snapshot, "write_durably", write)
            publish(world, stand_in)
            await until(caller, "ok")
        await gateway.reload()
        await asyncio.to_thread(comes, homes.load(world.home).policy_file.exists)

    talk(world, conversation)


def test_two_seconds_without_a_free_descriptor_end_no_thread(
    city: tuple[World, PlatformStandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that cannot be opened, where a worker follows and where one that has just become the leading one makes its client."""
    world, stand_in = city
    real_lock, real_client = GatewayHome.try_lock, GatewayHome.client
    locks, clients = iter([True]), iter([True])

    def try_lock(home: GatewayHome, name: str, *, shared: bool = False) -> int | None:
        if name == LINK_LOCK and next(locks, False):
            raise OSError(errno.EMFILE, "too many open files")
        return real_lock(home, name, shared=shared)

    def client(home: GatewayHome, timeout_s: float = 30.0) -> PlatformClient:
        if threading.current_thread().name == "policy" and next(clients, False):
            raise OSError(errno.EMFILE, "too many open files")
        return real_client(home, timeout_s)

    publish(world, stand_in)
    with two_links(world) as ((leading, following), got):
        comes(lambda: got == ([1], [1]))
        monkeypatch.setattr(GatewayHome, "try_lock", try_lock)
        comes(lambda: next(locks, None) is None)
        world.services = ()
        publish(world, stand_in)
        comes(lambda: got == ([1, 2], [1, 2]))
        comes(lambda: following.last_problem == "")
        monkeypatch.setattr(GatewayHome, "client", client)
        leading.stop()
        publish(world, stand_in)
        comes(lambda: got == ([1, 2], [1, 2, 3]))
        assert next(clients, None) is None
        assert following.leads


def test_a_key_store_that_cannot_be_read_for_a_moment_does_not_end_the_keeping_of_evidence(
    city: tuple[World, PlatformStandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _ = city
    read, threads = list[bool](), threading.enumerate()

    def names(store: KeyStore) -> list[str]:
        read.append(True)
        if len(read) == 1:
            raise OSError(errno.EMFILE, "too many open files")
        return real(store)

    real = KeyStore.names
    keeper = EvidenceKeeper(
        homes.load(world.home), leads=lambda: True, keep_days=lambda: None, record=lambda word: None
    )
    monkeypatch.setattr(KeyStore, "names", names)
    monkeypatch.setattr(keeping, "OFFER_EVERY_S", 0.1)
    keeper.start()
    try:
        comes(lambda: len(read) >= 3)
    finally:
        keeper.stop()
    assert set(threading.enumerate()) <= set(threads)


@pytest.mark.parametrize("is_old", [False, True])
def test_the_platform_is_told_how_policy_and_evidence_are_and_an_old_one_is_not_asked_again(
    city: tuple[World, PlatformStandIn], monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    world, stand_in = city
    stand_in.takes_state = not is_old
    monkeypatch.setattr(keeping, "TELL_EVERY_S", 0.0)
    said = GatewayState(at=moments.now(), policy_version=7, waiting_batches=2)
    keeper = EvidenceKeeper(
        homes.load(world.home), leads=lambda: True, keep_days=lambda: None, record=lambda word: None, state=lambda: said
    )
    keeper.start()
    try:
        if is_old:
            comes(lambda: stand_in.states_refused == 1)
            time.sleep(1.2)  # two rounds more
        else:
            comes(lambda: len(stand_in.states) >= 2)
    finally:
        keeper.stop()
    assert stand_in.states_refused == int(is_old)
    assert set(stand_in.states) == (set() if is_old else {said})
