"""The machine that was measured on, and tables in Markdown."""

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from jinqiao.kernel.moments import today
from tests.servers import Server


def machine(*given: Server) -> str:
    """One sentence: cores, memory, systems, versions, load at the start, day."""
    return f"{hardware(*given)}; {load()}"


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f} at the start; {today():%Y-%m-%d}"


def hardware(*given: Server) -> str:
    """Cores, memory, systems, versions: what stays the same from day to day."""
    memory_kib = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0])
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    names = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    versions = [f"{names.get('PRETTY_NAME', 'Linux').strip(chr(34))}", f"Python {platform.python_version()}"]
    for server in given:
        (version,) = server.fetch("SELECT version()")[0]
        versions.append(
            " ".join(version.split()[:2]) if "PostgreSQL" in version else f"MariaDB {version.split('-')[0]}"
        )
    return f"{os.cpu_count()} cores ({processor}), {memory_kib / (1 << 20):.0f} GiB; {', '.join(versions)}"


def revision() -> str:
    """Of the code that was measured; `+` where files differ from it."""
    told = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def verdict(value: float, goal: float | None, form: str = "{:.2f}") -> str:
    """The figure, with the goal that it holds or misses."""
    shown = form.format(value)
    if goal is None:
        return shown
    return f"{shown} (≤ {goal:g})" if value <= goal else f"**{shown}** (> {goal:g})"
