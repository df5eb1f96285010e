"""The allocators of a process that moves rows."""

import os
import subprocess
import sys

SHOWN = """
from jinqiao.dataplane.memory import keep_little
keep_little()
import pyarrow
print(pyarrow.default_memory_pool().backend_name)
"""


def pool(**environment: str) -> str:
    given = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"} | environment
    done = subprocess.run([sys.executable, "-c", SHOWN], env=given, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_is_freed_goes_back_to_the_system() -> None:
    assert pool() == "system"


def test_what_the_environment_says_stands() -> None:
    assert pool(ARROW_DEFAULT_MEMORY_POOL="mimalloc", MALLOC_ARENA_MAX="4") == "mimalloc"
