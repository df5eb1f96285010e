"""The departments' databases hold together: who died is known to both, some still draw a pension."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from jinqiao.demo import databases

SIZES = {"population": 3000, "marriages": 500, "deaths": 300, "companies": 100, "pensions": 900}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    databases.build(folder, SIZES)
    return folder


def _all(folder: Path, name: str, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / name)) as connection:
        return connection.execute(query).fetchall()


def test_the_dead_are_dead_in_both_registers(folder: Path) -> None:
    dead = {row[0] for row in _all(folder, "minzheng.db", "SELECT sfzh FROM swdjxx")}
    marked = {row[0] for row in _all(folder, "gongan.db", "SELECT gmsfhm FROM rkjbxx WHERE ryzt = '2'")}

    assert dead == marked
    assert len(dead) == 300


def test_the_story_has_something_to_find(folder: Path) -> None:
    dead = {row[0] for row in _all(folder, "minzheng.db", "SELECT sfzh FROM swdjxx")}
    paid = {row[0] for row in _all(folder, "renshe.db", "SELECT sfzh FROM yldyxx WHERE ffzt = '正常发放'")}

    assert 0 < len(dead & paid) < len(dead) / 2


def test_what_stands_is_not_made_again(folder: Path) -> None:
    before = (folder / "minzheng.db").stat().st_mtime_ns

    databases.build(folder, SIZES)

    assert (folder / "minzheng.db").stat().st_mtime_ns == before
