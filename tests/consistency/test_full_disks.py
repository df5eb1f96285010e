"""A full disk: the relay of the platform, the home of a node, the evidence of a gateway. Each on a small disk of its own.

What a full disk does to spool and target alone, without a disk of its own, is held by dataplane/pipeline/test_faults.
"""

import asyncio
import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache

from jinqiao.dataplane.evidence.verify import verify
from jinqiao.dataplane.node import main as node_main
from jinqiao.dataplane.node.errors import HomeNotWritable
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import RelayChunk
from jinqiao.kernel.contracts.exchange import CommandKind
from tests.consistency.marked_city import City, make_city
from tests.consistency.test_bad_input import check_failed, finish, is_chinese, taken
from tests.dataplane.gateway.world import Caller, make_world, records, running
from tests.dataplane.node.small_platform import SmallPlatform
from tests.dataplane.node.test_work import once
from tests.dataplane.node.world import PROVIDER
from tests.dataplane.node.world import make_world as make_node_world


class SmallDisk:
    """A disk of two megabytes that can be filled to the last byte and freed again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small disk needs the right to mount one")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def city(
    tmp_path: Path, live_server: Any, transactional_db: None, settings: Any, small_disk: SmallDisk
) -> Iterator[City]:
    cache.clear()
    settings.RELAY_ROOT = small_disk.folder / "relay"
    settings.MEDIA_ROOT = tmp_path / "media"
    (tmp_path / "city").mkdir()
    made = make_city(tmp_path / "city", live_server.url)
    yield made
    made.close()


def test_a_full_relay_takes_no_half_chunk_and_the_same_order_goes_on_when_there_is_room(
    city: City, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node waits with its chunk: it is the platform's disk, and trouble that passes."""
    assert finish(city).state == RunState.RECONCILED
    before = taken(city)
    small_disk.fill()
    asked: list[float] = []

    def room_after_three(task: Any) -> Any:
        def pause(seconds: float) -> None:
            if seconds:
                asked.append(seconds)
                files = [path for path in (small_disk.folder / "relay").rglob("*") if path.is_file()]
                assert [path.name for path in files if path.name.startswith(".")] == []
                assert not RelayChunk.objects.filter(run__state=RunState.EXTRACTING).exists()
                if len(asked) == 3:
                    small_disk.free()

        return pause

    monkeypatch.setattr(city.provider.node._worker, "_pause_of", room_after_three)
    run = finish(city)
    assert len(asked) == 3
    assert run.state == RunState.RECONCILED, run.problem
    assert taken(city) == before


def test_a_full_disk_at_the_consumer_keeps_what_it_showed(city: City, small_disk: SmallDisk) -> None:
    """The consumer's spool ends before the batch does."""
    assert finish(city).state == RunState.RECONCILED
    before = taken(city)
    run = city.run()
    spool = city.consumer.home / "spool"
    spool.rename(spool.with_name("kept")) if spool.exists() else None
    spool.symlink_to(small_disk.folder / "spool", target_is_directory=True)
    (small_disk.folder / "spool").mkdir()
    small_disk.fill()
    city.consumer.rounds()
    check_failed(city, run, "pipeline.spool.full")
    assert run.retry_at is not None
    assert taken(city) == before
    assert [path for path in (small_disk.folder / "spool").rglob("*") if path.is_file()] == []

    small_disk.free()
    again = finish(city)
    assert again.state == RunState.RECONCILED, again.problem
    assert taken(city) == before


def test_a_node_whose_whole_home_is_full_loses_nothing_and_answers_when_there_is_room(small_disk: SmallDisk) -> None:
    """Ledger and spool share the disk: what cannot be written down is not claimed to be done, and is worked again."""
    with SmallPlatform() as platform:
        world = make_node_world(small_disk.folder, platform, rows=300)
        once(world, PROVIDER)
        command = world.extract(world.order())
        small_disk.fill()
        with pytest.raises(HomeNotWritable) as told:  # the process ends with words; who supervises it starts it again
            node_main.run(world.home(PROVIDER), once=True)
        assert "磁盘" in told.value.text().message
        assert is_chinese(told.value.text().mend)
        assert platform.chunks == {}
        assert platform.results == []
        small_disk.free()
        once(world, PROVIDER)
        result = platform.result_of(command)
        assert result.ok, result.problem
        assert result.manifest is not None
        assert result.manifest.rows == 300
        test = platform.command(PROVIDER, CommandKind.TEST_CONNECTION, connection=world.source)
        once(world, PROVIDER)
        assert platform.result_of(test).ok
    with closing(sqlite3.connect(world.home(PROVIDER) / "ledger.db")) as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_gateway_whose_evidence_has_no_room_answers_nothing_and_its_chain_holds(small_disk: SmallDisk) -> None:
    world = make_world(small_disk.folder)
    world.publish()

    async def conversation() -> tuple[int, int]:
        answered = refused = 0
        async with running(world) as (caller, _gateway):
            assert isinstance(caller, Caller)
            assert (await caller.ask()).status_code == 200
            small_disk.fill()
            for _ in range(200):  # the log's file has a little room of its own
                response = await caller.ask()
                if response.status_code == 200:
                    answered += 1
                    continue
                refused += 1
                told = response.json()
                assert (response.status_code, told["code"]) == (503, "evidence.log.unavailable")
                assert "rows" not in told
                assert is_chinese(told["title"])
                assert "磁盘" in told["detail"]
                if refused == 3:
                    break
            assert refused == 3
            assert (await caller.client.get("/gateway/health/ready")).status_code == 503
            small_disk.free()
            for _ in range(20):
                if (await caller.ask()).status_code == 200:
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError("it does not come back")
            assert (await caller.client.get("/gateway/health/ready")).status_code == 200
        return answered + 2, refused

    answered, refused = asyncio.run(conversation())
    assert verify(world.home / "evidence.db").ok
    written = records(world)
    assert len(written) == answered, (len(written), answered, refused)
    assert {record["outcome"] for record in written} == {"ok"}
    assert json.dumps(written)
