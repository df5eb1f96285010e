"""`jinqiao up`: the whole platform on one machine, one public port, each part a process of its own.

    front    public port: query gateway, proxy to the pages       (no Django)
    gateway  only with JINQIAO_GATEWAY_WORKERS: as many processes behind the front
    web      pages and machine interface, loopback only           (Django)
    worker   schedules, reminders, retries                        (Django)
    node …   one per folder under <home>/nodes                    (no Django)

A part that dies is started again, with growing pauses; the others go on. SIGTERM and Ctrl-C stop all of them in order.
"""

import argparse
import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from jinqiao.kernel.keystore import write_durably
from jinqiao.kernel.ports import free_port

DEMO_DATE = "2026-03-18"
GRACE_S = 12.0
LOG_LIMIT_BYTES = 20 * 1024 * 1024


def _die_with_parent() -> None:
    """In the child: if the supervisor is killed outright, its children get SIGTERM (Linux: PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)


@dataclass
class Part:
    """One process of the platform."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    next_start: float = 0.0
    extra: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jinqiao.cli", *self.arguments],
                env={**self.environment, **self.extra},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
                start_new_session=True,
            )
        self.started_at = time.monotonic()

    def look_after(self) -> None:
        """Starts the process again when it has died; after quick deaths in a row, later each time (up to 30 s)."""
        if self.process is not None and self.process.poll() is None:
            if time.monotonic() - self.started_at > 60:
                self.failures = 0
            return
        now = time.monotonic()
        if self.process is not None:
            self.failures += 1
            self.next_start = now + min(30.0, 0.5 * 2 ** min(self.failures, 6))
            _say(
                f"{self.name} 已退出（{self.process.returncode}），将重新启动 exited, starting again. 日志 log: {self.log}"
            )
            self.process = None
        if now >= self.next_start:
            self.start()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()


def _say(line: str) -> None:
    print(line, flush=True)


def follow_address(file: Path, url: str) -> None:
    """A node or gateway of this machine speaks to the platform at this start's port; one that serves another platform is left alone."""
    text = file.read_text(encoding="utf-8")
    changed = re.sub(r'^platform_url = "http://127\.0\.0\.1:\d+"$', f'platform_url = "{url}"', text, flags=re.MULTILINE)
    if changed != text:
        write_durably(file, changed.encode())


def _port_is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


class Platform:
    """The processes of one home. `start()` returns when the pages answer; `run()` looks after them until told to stop."""

    def __init__(self, home: Path, *, host: str = "127.0.0.1", port: int = 8000, demo: bool = False) -> None:
        self.home = home
        self.host = host
        self.port = port
        self.demo = demo
        self.stopping = False
        self.parts: list[Part] = []
        self._lock: IO[str] | None = None
        self.environment = dict(os.environ)
        self.environment.setdefault("JINQIAO_PUBLIC_URL", f"http://127.0.0.1:{port}")
        self.environment |= {"JINQIAO_HOME": str(home), "JINQIAO_HOST": host, "PYTHONUNBUFFERED": "1"}
        if demo:
            self.environment["JINQIAO_DEMO"] = "1"
            self.environment.setdefault("JINQIAO_FIXED_DATE", DEMO_DATE)

    @property
    def url(self) -> str:
        return self.environment["JINQIAO_PUBLIC_URL"]

    def prepare(self, *, build: bool = True) -> None:
        """Home, lock, database, static files and, for the demo, the city (unless `build` is off).

        Raises SystemExit with what to do.
        """
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in ("log", "keys", "nodes", "media", "relay"):
            (self.home / folder).mkdir(exist_ok=True, mode=0o700)
        self._lock = (self.home / "up.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._unlock()
            raise SystemExit(
                f"{self.home} 已由另一个金桥进程使用，请先停止它。Another jinqiao up runs in this home; stop it first."
            ) from None
        if not _port_is_free(self.host, self.port):
            self._unlock()
            raise SystemExit(
                f"端口 {self.port} 已被占用，请用 --port 另选。Port {self.port} is taken; choose another with --port."
            )
        arguments = ["manage", "prepare", *(["--demo"] if self.demo and build else [])]
        done = subprocess.run([sys.executable, "-m", "jinqiao.cli", *arguments], env=self.environment, check=False)
        if done.returncode != 0:
            self._unlock()
            raise SystemExit(done.returncode)

    def start(self, ready_within_s: float = 60.0) -> None:
        web_port = free_port()
        self.environment["JINQIAO_WEB_URL"] = f"http://127.0.0.1:{web_port}"
        self._add("web", ["web", str(web_port)])
        workers = int(os.environ.get("JINQIAO_GATEWAY_WORKERS", "0") or 0)
        if workers > 0 and (self.home / "gateway" / "gateway.toml").exists():
            port = free_port()
            self.environment["JINQIAO_GATEWAY_URL"] = f"http://127.0.0.1:{port}"
            options = ["--workers", str(workers), "--port", str(port)]
            self._add("gateway", ["gateway", "run", str(self.home / "gateway"), *options])
            named = os.environ.get(
                "JINQIAO_GATEWAY_PROXIES", ""
            )  # the front says who calls, and it stands behind these
            self.part("gateway").extra["JINQIAO_GATEWAY_PROXIES"] = f"{named},127.0.0.1"
        self._add("front", ["front", str(self.port)])
        self._add("worker", ["worker"])
        own_address = f"http://127.0.0.1:{self.port}"
        if (self.home / "gateway" / "gateway.toml").exists():
            follow_address(self.home / "gateway" / "gateway.toml", own_address)
        for folder in sorted((self.home / "nodes").iterdir()):
            if (folder / "node.toml").exists():
                follow_address(folder / "node.toml", own_address)
                self._add(f"node-{folder.name}", ["node", "run", str(folder)])
        for part in self.parts:
            part.start()
        deadline = time.monotonic() + ready_within_s
        while not self.stopping:
            if self._answers("/api/health/live"):
                return
            if time.monotonic() > deadline:
                self.stop()
                raise SystemExit(
                    f"平台未能在 {ready_within_s:.0f} 秒内启动，请看日志。The platform did not start in time; see the logs: {self.home / 'log'}"
                )
            for part in self.parts:
                part.look_after()
            time.sleep(0.1)

    def settle(self) -> None:
        """The demo's nodes reach their sources and move data: once per home, while the platform runs."""
        command = [sys.executable, "-m", "jinqiao.cli", "manage", "demo_settle"]
        done = subprocess.run(command, env=self.environment, check=False)
        if done.returncode != 0:
            _say(
                f"演示数据未能全部生成，平台照常可用。The demo is not complete; the platform works. ({done.returncode})"
            )

    def run(self) -> None:
        while not self.stopping:
            for part in self.parts:
                part.look_after()
            time.sleep(0.5)

    def stop(self) -> None:
        self.stopping = True
        for part in reversed(self.parts):
            part.stop()
        deadline = time.monotonic() + GRACE_S
        for part in reversed(self.parts):
            if part.process is None:
                continue
            try:
                part.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                part.process.kill()
                part.process.wait()
        self.parts.clear()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def stop_part(self, name: str) -> None:
        """Stops one process and waits for its end; `look_after` or `start` brings it back."""
        part = self.part(name)
        part.stop()
        if part.process is not None:
            part.process.wait(GRACE_S)
            part.process = None

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def _add(self, name: str, arguments: list[str]) -> None:
        self.parts.append(Part(name, arguments, self.environment, self.home / "log" / f"{name}.log"))

    def _answers(self, path: str) -> bool:
        try:
            # our own loopback address
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def print_cast(home: Path) -> None:
    """The people of the demo city with the password of this installation, as the builder wrote them down."""
    file = home / "demo" / "cast.json"
    if not file.exists():
        return
    cast = json.loads(file.read_text(encoding="utf-8"))
    _say(f"\n演示人员（口令均为 password of all of them: {cast['password']}）")
    for person in cast["people"]:
        _say(f"  {person['username']:<14}{person['name']}　{person['post']}　{person['in_english']}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="jinqiao up", description="Start the whole platform on one port.")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("JINQIAO_HOME", "var")))
    parser.add_argument("--host", default=os.environ.get("JINQIAO_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("JINQIAO_PORT", "8000")))
    parser.add_argument("--demo", action="store_true", help="with the demo city, on its fixed date")
    chosen = parser.parse_args(arguments)
    platform = Platform(chosen.home.resolve(), host=chosen.host, port=chosen.port, demo=chosen.demo)

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        platform.stopping = True

    platform.prepare()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    began = time.monotonic()
    try:
        platform.start()
        if not platform.stopping:
            _say(f"\n金桥已启动 Jinqiao is up: {platform.url}   （{time.monotonic() - began:.1f} s）")
            if platform.demo:
                platform.settle()
                print_cast(platform.home)
            _say("\n按 Ctrl-C 停止 Ctrl-C stops it.")
        platform.run()
    finally:
        _say("正在停止 Stopping…")
        platform.stop()
    return 0
