"""The suite itself: it removes what killed runs left behind, and what stands on one costly thing stays with one worker."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import leftovers
from tests.spreading import order_of, share_of

TESTS = Path(__file__).resolve().parents[1]


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def aged(folder: Path, days: float) -> Path:
    folder.mkdir()
    at = folder.stat().st_mtime - days * leftovers.DAY_S
    os.utime(folder, (at, at))
    return folder


@pytest.mark.parametrize("prefix", leftovers.PREFIXES)
def test_folders_of_a_process_that_is_gone_are_removed_and_others_stay(tmp_path: Path, prefix: str) -> None:
    left = aged(tmp_path / f"{prefix}{gone()}-abc", 0)
    (left / "test.db").write_text("x")
    old = aged(tmp_path / f"{prefix}abcdefgh", 2)
    stay = [
        aged(tmp_path / f"{prefix}{os.getpid()}-abc", 2),  # of a run that goes on
        aged(tmp_path / f"{prefix}hgfedcba", 0.5),
        aged(tmp_path / f"not-{prefix}abcdefgh", 2),
        aged(tmp_path / "gateway-soak-abcdefgh", 2),
    ]

    assert leftovers.remove_leftovers(tmp_path) == sorted([left, old])
    assert sorted(tmp_path.iterdir()) == sorted(stay)


def test_a_server_that_still_runs_in_such_a_folder_is_ended_and_a_stranger_is_not(tmp_path: Path) -> None:
    folder = aged(tmp_path / f"jq-my-{gone()}-abc", 0)
    server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(folder)])
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (folder / "data").mkdir()
        (folder / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n{folder}\n")  # a number that was given again
        (folder / "pid").write_text(f"{server.pid}\n")

        assert leftovers.remove_leftovers(tmp_path) == [folder]
        assert server.wait(20) != 0
        assert stranger.poll() is None
    finally:
        for process in (server, stranger):
            process.kill()
            process.wait()


def test_the_home_of_a_run_goes_with_its_process(tmp_path: Path) -> None:
    make = "from tests import leftovers; print(leftovers.own_folder('jinqiao-test-'))"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(TESTS.parent)}

    made = subprocess.run([sys.executable, "-c", make], env=environment, capture_output=True, text=True, check=True)

    assert made.stdout.startswith(f"{tmp_path}/jinqiao-test-")
    assert list(tmp_path.iterdir()) == []


def test_whole_platforms_are_begun_first_and_built_by_one_worker() -> None:
    walks = [f"tests/{file.relative_to(TESTS)}::test_x[a::b]" for file in (TESTS / "browser").glob("test_*.py")]
    assert len(walks) > 5
    assert {share_of(walk) for walk in walks} == {"platforms"}
    others = ["tests/exchange/test_runs.py::test_x", "tests/demo/test_verify.py::test_x"]
    assert sorted([*others, *walks], key=order_of) == [*walks, *reversed(others)]  # and no other test between them


def test_tests_of_a_module_that_sets_something_up_stay_together_and_long_ones_of_the_data_plane_do_not() -> None:
    assert share_of("tests/exchange/test_runs.py::test_x[1]") == share_of("tests/exchange/test_runs.py::test_y")
    first, second = (f"tests/dataplane/node/test_process.py::test_a_node_killed[{number}]" for number in (1, 2))
    assert share_of(first) != share_of(second)
    tls = "tests/dataplane/connectors/test_tls.py"
    assert share_of(f"{tls}::test_x") == share_of(f"{tls}::test_y") == tls


def test_no_test_trusts_a_mark_that_has_no_effect() -> None:
    mark = "xdist" + "_group"
    assert [str(file) for file in TESTS.rglob("test_*.py") if f"mark.{mark}" in file.read_text(encoding="utf-8")] == []
