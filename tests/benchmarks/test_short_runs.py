"""Every benchmark that no other test runs, once and small: it works, and what it checks beside the time holds. No time is judged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import call_statistics

ROOT = Path(__file__).resolve().parents[2]
RIGHT, SLOW = (
    0,
    2,
)  # 2: a goal of time or memory is missed, or a control found nothing to count: of sizes like these that says nothing


def ran(name: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """The benchmark's own process, with nothing of the suite's settings."""
    settings = ("JINQIAO_", "DATABASE_", "DJANGO_")
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith(settings)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.servers
@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        (
            "exchange_speed",
            ("--rows", "3000", "--rounds", "1", "--only", "limit,ours"),
            ("psql COPY", "guarded, new table", "upsert, 10 % changed"),
        ),
        (
            "incremental",
            ("--rows", "3000", "--diff-rows", "3000", "--rounds", "1"),
            ("watermark, nothing changed: 0 rows moved", "diff stage"),
        ),
        ("snapshot", ("--accounts", "3000", "--copies", "1", "--writers", "2"), ("| postgresql |", "| mysql |")),
        (
            "gateway_speed",
            ("--rows", "300", "--rounds", "1", "--seconds", "1", "--connections", "4", "--only", "ours"),
            ("jinqiao",),
        ),
    ],
)
def test_a_benchmark_of_the_data_plane_runs_and_finds_nothing_wrong(
    name: str, options: tuple[str, ...], told: tuple[str, ...]
) -> None:
    done = ran(name, *options)
    assert done.returncode in (RIGHT, SLOW), done.stdout + done.stderr
    for words in told:
        assert words in done.stdout


@pytest.mark.django_db
def test_the_pages_of_oversight_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """On the suite's database: one of its own takes the benchmark longer to make than all the rest."""
    call_statistics._fill(500, 400)
    call_statistics._measure(1)
    call_statistics._rules()

    told = capsys.readouterr().out
    assert all(name in told for name, _address in call_statistics.PAGES)
    assert "rules of anomalies" in told


@pytest.mark.kill
def test_a_node_is_killed_in_the_running_platform_and_the_contents_are_equal() -> None:
    done = ran("kill_nodes", "--rows", "2000", "--kills", "1", "--seed", "1")
    assert done.returncode in (RIGHT, SLOW), done.stdout + done.stderr  # 2: the run was over before the kill
    assert "contents equal" in done.stdout
