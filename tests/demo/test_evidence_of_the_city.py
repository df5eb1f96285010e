"""Calls of a running city: anchored, countersigned by another department, confirmed by their consumer, and none lost."""

import os
import subprocess
import sys
from pathlib import Path

from tests.demo import evidence_walk


def test_what_gateway_witness_consumer_and_platform_say_of_calls_is_one(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("JINQIAO_", "DATABASE_", "DJANGO_"))
    }
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)

    done = subprocess.run(
        [sys.executable, "-m", "tests.demo.evidence_walk", "--rows", "300", "--home", str(tmp_path / "home")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✓") == len(evidence_walk.STEPS)
