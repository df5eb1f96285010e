"""The worker: outbox rows become durable workflows, once; the process ends cleanly and alone in its home."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOS

from jinqiao.config import worker
from jinqiao.exchange.models import OutboxMessage, ProcessBeat, RelayChunk
from tests.exchange.factories import make_world, relay_files
from tests.factories import seed_calendar


@pytest.mark.django_db(transaction=True)
def test_an_outbox_row_is_seen_through_once(relay: Path, settings: Any, tmp_path: Path) -> None:
    settings.JOBS_DATABASE_URL = f"sqlite:///{tmp_path / 'jobs.db'}"
    seed_calendar()
    world = make_world()
    run = world.run()
    world.handed_over(run)
    worker.exchange_actions.stop_run(run, by=world.parties.asker)
    assert len(relay_files(run, relay)) == 1

    with worker.workflow_engine():
        assert worker.dispatch_outbox() == 1
        assert worker.dispatch_outbox() == 0
        row = OutboxMessage.objects.get()
        assert row.taken_at is not None
        ends = time.monotonic() + 20
        while relay_files(run, relay) or RelayChunk.objects.exists():
            assert time.monotonic() < ends
            time.sleep(0.05)

        OutboxMessage.objects.update(taken_at=None)  # handed over, and killed before it was noted
        worker.dispatch_outbox()

        assert [status.name for status in DBOS.list_workflows()] == ["outbox_message"]


def test_a_duty_that_fails_holds_up_no_other() -> None:
    done: list[str] = []

    def breaks() -> None:
        raise OSError

    duties = [worker.Duty("breaks", 60, breaks), worker.Duty("works", 60, lambda: done.append("done"))]
    for now in (1000.0, 1001.0):
        for duty in duties:
            duty.run_if_due(now)

    assert done == ["done"]


@pytest.mark.django_db
def test_every_duty_may_be_repeated() -> None:
    for _ in range(2):
        for duty in worker.duties():
            if duty.name != "outbox":
                duty.work()

    assert ProcessBeat.objects.get(name="worker").at >= time.time() - 5


def test_the_process_beats_alone_and_ends_cleanly(tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "TEST_DATABASE_URL")},
        "JINQIAO_HOME": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "jinqiao.config.settings",
    }
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=environment, check=True)
    command = [sys.executable, "-m", "jinqiao.cli", "worker"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stderr=log)
    ends = time.monotonic() + 40
    while b" works" not in (tmp_path / "log").read_bytes():
        assert time.monotonic() < ends, (tmp_path / "log").read_text()
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.1)

    second = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 0
    assert second.returncode == 1
    assert b"another worker" in second.stderr
    assert b"dbos.dev" not in (tmp_path / "log").read_bytes()
