"""A target that is put back to an older copy of itself: the next run brings what is missing and says so, or refuses; no run says so
where nothing is missing."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.copy.arguments import parser, request_of, spool_of
from jinqiao.dataplane.copy.copying import Copying, CopyResult, SideFailed
from jinqiao.dataplane.errors import AppendTargetRestored
from tests.dataplane.copy.databases import Database, MariaDB, OnServer, PostgreSQL, Residents, SQLite
from tests.dataplane.copy.test_kill import name, place

RESTORED = ("restored",)
WATERMARK = ("--mode", "watermark", "--watermark", "updated", "--overlap", "0")
DIFF = ("--mode", "diff")


def copied(residents: Residents, target: Database, spool: Path, *way: str) -> CopyResult:
    words = [residents.database.url, target.url, "--table", residents.table, "--spool", str(spool), *way]
    options = parser().parse(words)
    copying = Copying(request_of(options), spool_of(options))
    try:
        return copying.run()
    finally:
        copying.close()


def kept(target: Database, folder: Path) -> Callable[[], None]:
    """Takes a copy of the whole database; gives what puts it back."""
    match target:
        case SQLite():
            copy = Path(tempfile.mkdtemp(dir=folder)) / "copy.db"
            shutil.copy(target.path, copy)
            return lambda: [shutil.copy(copy, target.path)].clear()
        case PostgreSQL():
            _cloned(target, target.database, f"{target.database}_kept")
            return lambda: _cloned(target, f"{target.database}_kept", target.database)
        case MariaDB():
            _dumped(target, target.database, f"{target.database}_kept")
            return lambda: _dumped(target, f"{target.database}_kept", target.database)
    raise AssertionError(target)


def _cloned(target: OnServer, old: str, new: str) -> None:
    target.server.execute(f"DROP DATABASE IF EXISTS {new} WITH (FORCE)", f"CREATE DATABASE {new} TEMPLATE {old}")


def _dumped(target: OnServer, old: str, new: str) -> None:
    found = target.server.fetch(f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{old}'")
    tables = [table for (table,) in found]
    target.server.execute(f"DROP DATABASE IF EXISTS {new}", f"CREATE DATABASE {new}")
    for table in tables:
        target.server.execute(
            f"CREATE TABLE {new}.{table} LIKE {old}.{table}", f"INSERT INTO {new}.{table} SELECT * FROM {old}.{table}"
        )


@pytest.mark.servers
@pytest.mark.parametrize("way", [WATERMARK, (*DIFF, "--delivery", "mirror")], ids=["watermark", "diff"])
@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_a_target_from_an_older_backup_is_filled_up_again(
    engine: str, way: tuple[str, ...], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    residents = Residents(SQLite(tmp_path / "source.db"), name(), 500)
    target, deletes, spool = place(engine, "target", request, tmp_path), "diff" in way, tmp_path / "spool"
    residents.fill()
    copied(residents, target, spool, *way)
    put_back = kept(target, tmp_path)
    for round_number in (1, 2):
        residents.change(round_number, deletes=deletes)
        assert copied(residents, target, spool, *way).manifest.restarted == ()

    put_back()
    residents.change(3, deletes=deletes)
    result = copied(residents, target, spool, *way)

    assert result.manifest.restarted == RESTORED
    assert target.rows(residents.table) == residents.rows()
    nothing = copied(residents, target, spool, *way)
    assert (nothing.manifest.restarted, nothing.manifest.rows) == ((), 0)


Step = st.sampled_from(["change", "run", "keep", "put back"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(Step, min_size=4, max_size=12), by_diff=st.booleans())
def test_whenever_copies_are_kept_and_put_back_the_last_run_makes_both_sides_equal(
    steps: list[str], by_diff: bool, tmp_path: Path
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    residents, target = Residents(SQLite(folder / "source.db"), "people", 60), SQLite(folder / "target.db")
    way, changes, batches = DIFF if by_diff else WATERMARK, 0, 1
    residents.fill()
    copied(residents, target, folder / "spool", *way)
    put_back, held = kept(target, folder), 1
    in_target = 1
    for step in [*steps, "run"]:
        match step:
            case "change":
                changes += 1
                residents.change(changes, deletes=by_diff)
            case "keep":
                put_back, held = kept(target, folder), in_target
            case "put back":
                put_back()
                in_target = held
            case _:
                result = copied(residents, target, folder / "spool", *way)
                assert result.manifest.restarted == (() if in_target == batches else RESTORED)
                batches += 1
                in_target = batches

    assert target.rows("people") == residents.rows()


def test_an_append_to_an_older_copy_is_refused_until_the_newer_one_is_back(tmp_path: Path) -> None:
    residents, target = Residents(SQLite(tmp_path / "source.db"), "people", 60), SQLite(tmp_path / "target.db")
    way = (*WATERMARK, "--delivery", "append")
    residents.fill()
    copied(residents, target, tmp_path / "spool", *way)
    older = kept(target, tmp_path)
    residents.change(1, deletes=False)
    copied(residents, target, tmp_path / "spool", *way)
    newer, there = kept(target, tmp_path), target.rows("people")
    residents.change(2, deletes=False)

    older()
    tables = target.fetch("SELECT name FROM sqlite_master ORDER BY 1")
    for _ in range(2):
        with pytest.raises(SideFailed) as caught:
            copied(residents, target, tmp_path / "spool", *way)
        assert isinstance(caught.value.problem, AppendTargetRestored)
    assert target.fetch("SELECT name FROM sqlite_master ORDER BY 1") == tables

    newer()
    result = copied(residents, target, tmp_path / "spool", *way)
    assert result.manifest.restarted == ()
    assert result.counts.target_rows == there.total() + result.manifest.rows
    assert set(target.rows("people")) >= set(residents.rows())


def test_a_batch_that_was_staged_when_the_target_was_put_back_is_read_anew(tmp_path: Path) -> None:
    """The run under way was ended after its batch was in; then its target is put back to before the run before it, and the next start is
    ended when it has found that."""
    residents, target = Residents(SQLite(tmp_path / "source.db"), "people", 60), SQLite(tmp_path / "target.db")
    spool = tmp_path / "spool"
    residents.fill()
    copied(residents, target, spool, *DIFF)
    put_back = kept(target, tmp_path)
    residents.change(1, deletes=True)
    copied(residents, target, spool, *DIFF)
    residents.change(2, deletes=True)
    ended_at("_finish", residents, target, spool)

    put_back()
    ended_at("_order", residents, target, spool, after=1)
    result = copied(residents, target, spool, *DIFF)

    assert result.manifest.restarted == RESTORED
    assert target.rows("people") == residents.rows()


def ended_at(step: str, residents: Residents, target: SQLite, spool: Path, *, after: int = 0) -> None:
    """A copy that is ended where it comes to a step of its own, after it took it some times."""
    taken, left = getattr(Copying, step), [None] * after

    def end(*arguments: Any) -> Any:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return taken(*arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Copying, step, end)
        copied(residents, target, spool, *DIFF)


def test_a_target_that_lost_its_ledger_and_its_table_is_made_anew(tmp_path: Path) -> None:
    residents, target = Residents(SQLite(tmp_path / "source.db"), "people", 60), SQLite(tmp_path / "target.db")
    residents.fill()
    copied(residents, target, tmp_path / "spool", *WATERMARK)
    target.path.unlink()
    result = copied(residents, target, tmp_path / "spool", *WATERMARK)
    assert result.manifest.restarted == RESTORED
    assert target.rows("people") == residents.rows()
