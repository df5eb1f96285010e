"""Seconds and peak memory of a process with all that it starts: `run` waits for its end."""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_EVERY_S = 0.03


@dataclass(frozen=True, slots=True)
class Measured:
    """`peak_bytes`: the highest sum of resident memory of the process and its children; shared pages count in each."""

    seconds: float
    peak_bytes: int
    code: int
    output: str
    errors: str

    @property
    def peak_mib(self) -> float:
        return self.peak_bytes / (1 << 20)


class CommandFailed(RuntimeError):
    """A measured command did not end with 0; its last words."""


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, may_fail: bool = False) -> Measured:
    """Raises CommandFailed unless `may_fail`."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=dict(env) if env is not None else None
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(_EVERY_S)
        seconds = time.perf_counter() - began
        words = []
        for file in (output, errors):
            file.seek(0)
            words.append(file.read().decode(errors="replace"))
    done = Measured(seconds, peak, process.returncode, *words)
    if done.code and not may_fail:
        raise CommandFailed(f"{Path(command[0]).name} ended with {done.code}: {(done.errors or done.output)[-1500:]}")
    return done


def memory_of(process_id: int) -> int:
    """Resident bytes of a process and its descendants now, and at least what one of them ever had."""
    total = most = 0
    for one in descendants(process_id):
        resident, highest = _resident(one)
        total += resident
        most = max(most, highest)
    return max(total, most)


def descendants(process_id: int) -> Iterator[int]:
    """The process and those that it started, at any depth."""
    yield process_id
    with suppress(OSError):
        for children in Path(f"/proc/{process_id}/task").glob("*/children"):
            with suppress(OSError):
                for child in children.read_text().split():
                    yield from descendants(int(child))


def _resident(process_id: int) -> tuple[int, int]:
    found = {"VmRSS": 0, "VmHWM": 0}
    with suppress(OSError):
        for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0]) << 10
    return found["VmRSS"], found["VmHWM"]
