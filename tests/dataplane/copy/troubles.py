"""What happens to copies beside kills: servers restart, connections break, disks are full, files of the spool are damaged.

Each `strike` is what goes wrong while a copy works; afterwards the copy is called again until it ends, as its operator would.
"""

import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.dataplane.copy.campaign import Lane, flip, outgoing, staged_chunks, wait_for

TRIES = 4


def disturb(lane: Lane, strike: Callable[[], object], chance: random.Random) -> dict[str, Any]:
    """A round in which `strike` falls at a random instant after the first chunk was staged."""

    def struck() -> dict[str, Any]:
        process = lane.start()
        if wait_for(lambda: bool(outgoing(lane.spool, "chunk-*.jqc")), process):
            time.sleep(chance.uniform(0, 0.4))
        strike()
        return _to_the_end(lane, lane.end(process))

    return lane.round(struck)


def with_limits(lane: Lane, limits: Callable[[], None]) -> dict[str, Any]:
    """A round whose first process works under limits."""

    def limited() -> dict[str, Any]:
        lane.limits = limits
        try:
            told = lane.end(lane.start())
        finally:
            lane.limits = None
        return _to_the_end(lane, told)

    return lane.round(limited)


def _to_the_end(lane: Lane, told: dict[str, Any]) -> dict[str, Any]:
    if told["exit"] == 0:
        lane.outcome.ended["nothing, it went on"] += 1
        return told
    lane.outcome.ended[f"{told['problem']['code']} ({told['exit']})"] += 1
    staged = staged_chunks(lane.spool)
    told = lane.finish(TRIES)
    lane.count_again(staged, told)
    return told


# -- damage


DAMAGES = {
    "a staged chunk": ("splits.jsonl", "chunk-*.jqc"),
    "the list of staged splits": ("splits.jsonl", "splits.jsonl"),
    "how extraction began": ("splits.jsonl", "begun.json"),
    "what a split is remembered by": ("splits.jsonl", "memory-*.jqc"),
    "a chunk when all is staged": ("manifest.json", "chunk-*.jqc"),
    "the manifest": ("manifest.json", "manifest.json"),
}


def damage(lane: Lane, what: str, chance: random.Random, held: tuple["Proxy", int] | None = None) -> dict[str, Any]:
    """A round whose first process is killed when there is something to be damaged; one bit of it is flipped.

    Staged chunks that the damage does not touch must be handed over as they were; those that it does touch, and that had not
    arrived yet, are counted as `mended` when they were made again. With `held`, the way to the target and after how many bytes it
    is held up, they have not.
    """
    there, damaged = DAMAGES[what]

    def killed_and_damaged() -> dict[str, Any]:
        if held:
            held[0].hold_after(held[1])
        process = lane.start()
        wait_for(lambda: any(path.stat().st_size for path in outgoing(lane.spool, there)), process)
        process.send_signal(signal.SIGSTOP)  # nothing moves between the look and the end
        files = outgoing(lane.spool, damaged)
        if damaged.startswith("chunk"):
            whole = {number for _, number in staged_chunks(lane.spool)}
            files = [path for path in files if int(path.stem[6:]) in whole]
        process.kill()
        if held:
            held[0].release()
        told = lane.end(process)
        if process.returncode == 0 or not files:
            lane.outcome.ended["nothing was there"] += 1
            return told if process.returncode == 0 else lane.finish(TRIES)
        staged = staged_chunks(lane.spool)
        path = chance.choice(files)
        hurt = {(path.parent.name, int(path.stem[6:]))} if damaged.startswith("chunk") else set(staged)
        if damaged.startswith("memory"):
            hurt = set(staged_chunks(lane.spool, int(path.stem[7:])))
        flip(path, chance)
        lane.outcome.kills += 1
        told = lane.end(lane.start())
        if told["exit"]:
            lane.outcome.ended[f"{told['problem']['code']} ({told['exit']})"] += 1
            told = lane.finish(TRIES)
        lane.outcome.restarted.update(told.get("restarted", ()))
        run = str(told.get("batch", "")).rpartition(".")[0]
        handed = {(run, chunk["number"]): chunk["digest"] for chunk in told.get("chunks", ())}
        for key, digest in staged.items():
            if key in hurt:
                lane.outcome.mended += handed.get(key) != digest
            else:
                lane.outcome.staged += 1
                if "snapshot" in told.get(
                    "restarted", ()
                ):  # it is gone, and the table may have changed: said so, and read anew
                    lane.outcome.anew += handed.get(key) != digest
                else:
                    lane.outcome.again += handed.get(key) != digest
        return told

    return lane.round(killed_and_damaged)


def damage_state(lane: Lane, pattern: str, change: Callable[[Path], None]) -> dict[str, Any]:
    """A round before which files are damaged that the copy keeps between runs.

    The copy may refuse to go on: then what the error advises is done, the spool removed and everything copied again.
    """

    def damaged() -> dict[str, Any]:
        for path in lane.spool.glob(pattern):
            change(path)
        told = lane.end(lane.start())
        if told["exit"]:
            lane.outcome.ended[f"{told['problem']['code']} ({told['exit']})"] += 1
            shutil.rmtree(lane.spool)
            told = lane.finish()
        return told

    return lane.round(damaged)


# -- full disks


def files_end_at(size_bytes: int) -> Callable[[], None]:
    """No file of the process grows beyond it: the nearest thing to a full disk that needs no privilege."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))

    return limit


class SmallDisk:
    """A disk of its own that can be made full and large again. Needs the right to mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def leave(self, room_kib: int) -> None:
        size = shutil.disk_usage(self.folder).used // 1024 + room_kib
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(self.folder)], check=True, capture_output=True)


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[SmallDisk]:
    """Raises CalledProcessError where the right is not given."""
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0700", "tmpfs", str(folder)],
        check=True,
        capture_output=True,
    )
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def may_mount() -> bool:
    return os.geteuid() == 0 and sys.platform == "linux"


# -- broken connections


class Proxy:
    """A way to a server on this machine that can be cut, at once or after some bytes, and held up. Connections are reset, not closed."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._left: int | None = None
        self._passes: int | None = None  # bytes until it is held up
        self._is_open = threading.Event()
        self._is_open.set()
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()
        self.cut()

    def cut_after(self, size_bytes: int) -> None:
        """Cut every connection once so many bytes have passed, and then no more."""
        self._left = size_bytes

    def hold_after(self, size_bytes: int) -> None:
        """Let nothing pass any more once so many bytes have come, until `release`."""
        self._passes = size_bytes

    def release(self) -> None:
        """Forget what was held up, with its connections, and let new ones pass."""
        self._passes = None
        self.cut()
        self._is_open.set()

    def cut(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self.cuts += bool(pairs)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                near.close()
                continue
            pair = (near, far)
            with self._lock:
                self._pairs.add(pair)
            for come, go in (pair, pair[::-1]):
                threading.Thread(target=self._pass_on, args=(come, go, pair), daemon=True).start()

    def _pass_on(self, come: socket.socket, go: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        with suppress(OSError):
            while data := come.recv(1 << 16):
                if self._left is not None:
                    self._left -= len(data)
                    if self._left < 0:
                        self._left = None
                        self.cut()
                        return
                if self._passes is not None:
                    self._passes -= len(data)
                    if self._passes < 0:
                        self._is_open.clear()
                self._is_open.wait()
                go.sendall(data)
            go.shutdown(socket.SHUT_WR)
            return
        with self._lock:
            self._pairs.discard(pair)


@contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    opened = Proxy(port)
    try:
        yield opened
    finally:
        opened.close()
