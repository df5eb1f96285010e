"""A machine of an operator's: command lines as a page shows them, run in a folder of its own."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

LOG = "log"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """`machine("jinqiao …")` gives what that line says in this folder; what `run`s is kept up, with its words in the file `log`."""
    with ExitStack() as running:

        def command(line: str) -> str:
            program, *words = shlex.split(line)
            assert program == "jinqiao"
            words = [sys.executable, "-m", "jinqiao.cli", *words]
            if "run" in words:
                log = running.enter_context((tmp_path / LOG).open("ab"))
                process = running.enter_context(subprocess.Popen(words, cwd=tmp_path, stderr=log, stdout=log))
                running.callback(process.terminate)
                return ""
            return subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

        yield command
