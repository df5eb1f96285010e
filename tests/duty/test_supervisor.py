"""A part that dies is started again; a home is used by one platform at a time."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jinqiao.supervisor import Part, Platform


def _part(tmp_path: Path, arguments: list[str]) -> Part:
    return Part("cli", arguments, dict(os.environ), tmp_path / "cli.log")


def test_a_part_that_dies_is_started_again_after_a_pause(tmp_path: Path) -> None:
    part = _part(tmp_path, ["--version"])
    part.start()
    assert part.process is not None
    part.process.wait(20)

    part.look_after()
    assert part.process is None, "not at once: it may be dying in a row"
    assert part.failures == 1
    time.sleep(max(0.0, part.next_start - time.monotonic()))
    part.look_after()

    assert part.process is not None
    part.process.wait(20)
    assert part.log.read_text().count("jinqiao 0.1.0") == 2


def test_a_home_is_used_by_one_platform_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with (tmp_path / "home" / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit, match="stop it first"):
            Platform(tmp_path / "home").prepare()


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SystemExit, match="--port"):
            Platform(tmp_path / "home", port=other.getsockname()[1]).prepare()


def test_children_do_not_outlive_a_supervisor_that_is_killed() -> None:
    script = (
        "import sys, time, subprocess; import jinqiao.supervisor as s;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], preexec_fn=s._die_with_parent);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait(10)
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "zombie" in Path(f"/proc/{child}/status").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child lives on")
    assert supervisor.returncode == -signal.SIGKILL
