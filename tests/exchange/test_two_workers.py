"""Two workers share PostgreSQL; one is killed while it holds work: the other finishes it, and nothing happens twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from jinqiao.config import worker
from tests import servers

TAKEOVER_S = 3


@dataclass
class Hook:
    """Holds the first request as long as it is told to; answers the others."""

    got: list[dict[str, Any]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@pytest.fixture
def hook() -> Iterator[Hook]:
    found, lock = Hook(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                found.got.append(body)
                is_first = len(found.got) == 1
            if is_first:
                found.release.wait(60)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield found
    found.release.set()
    server.shutdown()
    server.server_close()


def until(what: Callable[[], Any], *, seconds: float = 60, say: Callable[[], str] = str) -> Any:
    ends = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < ends, say()
        time.sleep(0.1)
    return found


def test_a_dead_worker_s_job_is_finished_by_the_living_one(hook: Hook, tmp_path: Path) -> None:
    with servers.postgresql() as server:
        server.execute("CREATE DATABASE jobs", database="postgres")
        root = f"postgresql://{server.user}:{quote(server.password)}@{server.host}:{server.port}"
        environment = {
            **os.environ,
            "DATABASE_URL": f"{root}/{server.database}",
            "JINQIAO_JOBS_URL": f"{root}/jobs",
            "DJANGO_SETTINGS_MODULE": "tests.exchange.worker_settings",
            "JINQIAO_REACHABLE_HOSTS": "127.0.0.0/8",
            "JINQIAO_WORKER_TAKEOVER_S": str(TAKEOVER_S),
            "JINQIAO_FIXED_DATE": "2026-03-18",
        }
        homes = {name: tmp_path / name for name in ("worker-a", "worker-b")}
        homes["worker-a"].mkdir()
        subprocess.run(
            [sys.executable, "-m", "tests.exchange.worker_world", hook.url],
            env={**environment, "JINQIAO_HOME": str(homes["worker-a"])},
            check=True,
            timeout=120,
        )
        shutil.copytree(homes["worker-a"], homes["worker-b"])  # both machines have the platform's keys
        logs = {name: tmp_path / f"{name}.log" for name in homes}
        running = {}
        for name, home in homes.items():
            with logs[name].open("wb") as log:
                running[name] = subprocess.Popen(
                    [sys.executable, "-m", "jinqiao.cli", "worker"],
                    env={**environment, "JINQIAO_HOME": str(home), "JINQIAO_WORKER": name},
                    stderr=log,
                )

        def told() -> str:
            return "\n".join(log.read_text(encoding="utf-8", errors="replace")[-3000:] for log in logs.values())

        def jobs(status: str) -> list[str]:
            statement = f"SELECT executor_id FROM dbos.workflow_status WHERE status = '{status}'"
            return [str(row[0]) for row in server.fetch(statement, database="jobs")]

        try:
            until(lambda: hook.got, say=told)
            (holder,) = jobs("PENDING")
            (survivor,) = set(running) - {holder}
            until(lambda: b" works as" in logs[survivor].read_bytes(), say=told)
            running[holder].kill()
            hook.release.set()

            until(lambda: jobs("SUCCESS"), say=told)

            assert jobs("SUCCESS") == [survivor]
            assert jobs("PENDING") == []
            assert [message["message"] for message in hook.got] == [hook.got[0]["message"]] * 2
            assert server.fetch("SELECT state FROM exchange_alertdelivery") == [("sent",)]
            until(lambda: server.fetch("SELECT count(*) FROM exchange_run") == [(1,)], say=told)
            beats = "SELECT name FROM exchange_processbeat WHERE name LIKE 'worker:%'"
            until(lambda: server.fetch(beats) == [(f"worker:{survivor}",)], say=told)
            assert f"worker {holder} beats no more" in logs[survivor].read_text(encoding="utf-8")
            running[survivor].send_signal(signal.SIGTERM)
            assert running[survivor].wait(60) == 0
            assert server.fetch("SELECT count(*) FROM exchange_run") == [(1,)]
        finally:
            for process in running.values():
                process.kill()
                process.wait()


class _Beats:
    """What the database says of beats, by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.beats: dict[str, int] = {}
        monkeypatch.setattr(worker.exchange, "worker_beats", lambda: dict(self.beats))


def test_a_worker_is_dead_when_its_beat_stands_still_by_our_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    there = _Beats(monkeypatch)
    neighbours = worker.Neighbours("me", dead_after_s=30)
    there.beats = {"me": 1, "other": 5_000_000_000, "late": 3}  # clocks of others may say anything

    assert neighbours.dead(100.0) == {}
    there.beats["late"] = 4
    assert neighbours.dead(120.0) == {}
    assert neighbours.dead(130.0) == {"other": 5_000_000_000}
    there.beats["other"] += 1  # it goes on
    assert neighbours.dead(131.0) == {}
    assert neighbours.dead(150.0) == {"late": 4}


def test_a_worker_keeps_its_name(tmp_path: Path, settings: Any) -> None:
    name = worker.worker_name(tmp_path)
    assert worker.worker_name(tmp_path) == name

    settings.WORKER_NAME = "machine-7"
    assert worker.worker_name(tmp_path) == "machine-7"
