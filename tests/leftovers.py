"""Folders of the suite in the machine's temporary folder: each names the process it belongs to and goes with it; what a killed
run left behind, the next one removes."""

import atexit
import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

PREFIXES = ("jinqiao-test-", "jq-pg-", "jq-my-")
DAY_S = 86_400
_NAMED = re.compile(r"^(?:" + "|".join(PREFIXES) + r")(?:(?P<owner>\d+)-)?\w+$")
_SERVER = ("data/postmaster.pid", "pid")  # where PostgreSQL and MariaDB write theirs


def folder_of(prefix: str) -> Path:
    """A new folder that names this process as its owner; who makes it removes it."""
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))


def own_folder(prefix: str) -> Path:
    """The same, removed when this process ends."""
    folder, owner = folder_of(prefix), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not by a child that was forked and has inherited this
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def remove_leftovers(within: Path | None = None) -> list[Path]:
    """Remove the suite's folders whose process is gone, or, where they name none, that are older than a day; a database server
    that still runs in one of them is ended first. Gives what was removed."""
    removed = []
    for folder in sorted((within or Path(tempfile.gettempdir())).iterdir()):
        named = _NAMED.match(folder.name)
        if named is None or not _is_left(folder, named["owner"]):
            continue
        for file in _SERVER:
            _end_server(folder, folder / file)
        shutil.rmtree(folder, ignore_errors=True)
        removed.append(folder)
    return removed


def _is_left(folder: Path, owner: str | None) -> bool:
    with contextlib.suppress(OSError):
        if not folder.is_dir() or folder.is_symlink() or folder.stat().st_uid not in _OWNERS:
            return False
        if owner is not None:
            return not Path("/proc", owner).exists()
        return time.time() - folder.stat().st_mtime > DAY_S
    return False  # another run has just removed it


def _end_server(folder: Path, file: Path) -> None:
    """End the server that wrote its number into `file`, if that process still works in this folder."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        number = int(file.read_text().splitlines()[0])
        if str(folder) in Path("/proc", str(number), "cmdline").read_text():
            os.kill(number, signal.SIGKILL)


def _owners() -> set[int]:
    """Whose folders are ours: this user's, and under root also those of the user that the servers run as."""
    import pwd

    with contextlib.suppress(KeyError):
        if os.geteuid() == 0:
            return {0, pwd.getpwnam("nobody").pw_uid}
    return {os.geteuid()}


_OWNERS = _owners()
