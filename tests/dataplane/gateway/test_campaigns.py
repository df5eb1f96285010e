"""The long runs of `benchmarks/`, shortened: they work, and their small version finds nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def ran(name: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_short_soak_answers_every_call_and_a_revocation_is_in_force_at_once(workers: str) -> None:
    done = ran("gateway_soak.py", "--minutes", "0.05", "--connections", "40", "--rate", "80", "--workers", workers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "answers without a record: 0" in done.stdout


@pytest.mark.kill
@pytest.mark.servers
def test_a_short_campaign_of_kills_loses_no_record_and_its_control_does() -> None:
    done = ran("gateway_crashes.py", "--kills", "3", "--cuts", "1", "--connections", "8", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
