"""`./run --verify` in small: real processes, every step; and what it says when a step does not hold."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jinqiao.demo import verify
from jinqiao.demo.verify import StepFailed, Walk
from jinqiao.supervisor import Platform


def test_the_main_job_holds_end_to_end(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("JINQIAO_", "DATABASE_", "DJANGO_"))
    }

    done = subprocess.run(
        [sys.executable, "-m", "jinqiao.cli", "demo", "verify", "--rows", "3000", "--home", str(tmp_path / "home")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✓") == len(verify.STEPS)


def test_a_step_that_does_not_hold_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(walk: Walk) -> str:
        raise StepFailed(f"{walk.rows} rows are not 4")

    monkeypatch.setattr(verify, "STEPS", (("good", lambda walk: "1"), ("short", broken), ("never", lambda walk: "3")))

    assert verify._walk(Walk(tmp_path, Platform(tmp_path), 3)) is False
    said = capsys.readouterr().out
    assert "✓  1 good" in said
    assert "✗  2 short   StepFailed: 3 rows are not 4" in said
    assert "never" not in said
