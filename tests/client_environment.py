"""An application's machine for tests: a fresh environment with the client's wheel and what it declares, and nothing else of ours.

Nothing is fetched: the distributions that the wheel names are linked from this suite's own environment, file tree by file tree.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from jinqiao.client_wheel import client_wheel, closure

BASE = Path(sys.base_prefix) / "bin"


def environment() -> dict[str, str]:
    """Of a shell on that machine: no path leads to this checkout, and nothing is asked of an index."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "PATH": f"{BASE}:{os.environ['PATH']}", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def client_environment(folder: Path) -> Path:
    """`folder/client`, with the client installed. Fails where the wheel declares less than it needs."""
    place = folder / "client"
    run = {"check": True, "env": environment(), "cwd": folder}
    subprocess.run([BASE / "python3", "-m", "venv", place], **run)
    (packages,) = place.glob("lib/python*/site-packages")
    for one in needed():
        for name in {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}:
            (packages / name).symlink_to(Path(str(one.locate_file(name))).resolve())
    wheel = put_wheel(folder)
    subprocess.run([place / "bin" / "pip", "install", "--quiet", wheel], **run)
    return place


def put_wheel(folder: Path) -> Path:
    """The file as the application's page hands it out."""
    wheel = client_wheel()
    (folder / wheel.name).write_bytes(wheel.content)
    return folder / wheel.name


def needed() -> Iterator[Distribution]:
    """What the wheel names, and what these need in turn."""
    waiting, seen = [Requirement(text) for text in closure().needs], set[str]()
    while waiting:
        wanted = waiting.pop()
        if wanted.name in seen or (wanted.marker is not None and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(wanted.name)
        found = distribution(wanted.name)
        waiting += [Requirement(text) for text in found.requires or ()]
        yield found
