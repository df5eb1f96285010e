"""What is staged is not read again: an extraction that was ended goes on in every mode, and says so where it has to begin anew."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.errors import RunStopped, SourceKeyNotUnique
from jinqiao.dataplane.pipeline import RunSpool, Spool
from jinqiao.kernel.contracts.exchange import BatchManifest, CheckRule, CopyMode, Delivery, ExchangeOrder
from jinqiao.kernel.contracts.tables import Connection, Engine
from tests.dataplane.exchanges import (
    CONSUMER,
    PEOPLE,
    PROVIDER,
    change,
    hand_over,
    order,
    people,
    rows_of,
    some_people,
    sqlite_at,
    states_of,
)
from tests.dataplane.pipeline.test_extract import stop_after

DIFF: dict[str, Any] = {"mode": CopyMode.DIFF}
APPENDED: dict[str, Any] = {"mode": CopyMode.WATERMARK, "watermark_column": "updated", "delivery": Delivery.APPEND}
ROWS = 100


class Site:
    """A source in a folder, whose runs are ended again and again before they come to their end."""

    def __init__(self, folder: Path, source: Connection) -> None:
        self.folder, self.source, self.spool = folder, source, Spool(folder / "spool")

    def extract(self, asked: ExchangeOrder, stop: Callable[[], bool] = lambda: False) -> BatchManifest:
        with open_source(self.source) as source:
            return pipeline.extract(
                asked, source, spool=self.spool, identity=PROVIDER, states=states_of(self.spool), stop=stop
            )

    def end_early(self, asked: ExchangeOrder, after: int) -> dict[int, bytes]:
        """A run that is stopped when it has asked so often; the chunks that are staged whole."""
        with pytest.raises(RunStopped):
            self.extract(asked, stop_after(after))
        return self.staged(asked)

    def staged(self, asked: ExchangeOrder) -> dict[int, bytes]:
        out = self.out(asked)
        numbers = [chunk["number"] for record in out.staged_splits() for chunk in record["chunks"]]
        return {number: out.read_chunk(number) for number in numbers}

    def out(self, asked: ExchangeOrder) -> RunSpool:
        return self.spool.outgoing(asked.run_id)

    def deliver(self, asked: ExchangeOrder, manifest: BatchManifest) -> None:
        hand_over(self.spool, asked.run_id, manifest)
        with open_target(sqlite_at(self.folder / "b.db")) as target:
            pipeline.deliver(asked, manifest, target, spool=self.spool, identity=CONSUMER)

    def target(self) -> list[tuple[Any, ...]]:
        return rows_of(self.folder / "b.db", "residents")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    people(tmp_path / "a.db", some_people(ROWS))
    return Site(tmp_path, sqlite_at(tmp_path / "a.db"))


def changed(site: Site) -> None:
    change(
        site.folder / "a.db",
        "UPDATE people SET name = '改' || id, updated = '2026-03-02 08:00:00' WHERE id % 3 = 0",
        "DELETE FROM people WHERE id % 10 = 1",
        "INSERT INTO people SELECT id + 1000, name, born, '2026-03-02 09:00:00' FROM people WHERE id % 7 = 0",
    )


def source_rows(site: Site) -> list[tuple[Any, ...]]:
    with sqlite3.connect(site.folder / "a.db") as connection:
        return connection.execute("SELECT id, name FROM people ORDER BY 1").fetchall()


def shown(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [row[:2] for row in rows]


@pytest.mark.parametrize("after", [3, 6, 9])
def test_a_diff_goes_on_and_the_next_one_finds_nothing(site: Site, after: int) -> None:
    first = order("R1", chunk_rows=10, **DIFF)
    before = site.end_early(first, after)
    begun = site.extract(first)
    site.deliver(first, begun)
    changed(site)
    second = replace(first, run_id="R2", after=begun.new_cursor)
    kept = site.end_early(second, after)

    manifest = site.extract(second)
    site.deliver(second, manifest)
    third = site.extract(replace(first, run_id="R3", after=manifest.new_cursor))

    assert (begun.resumed, manifest.resumed, manifest.restarted) == (1, 1, ())
    assert before
    assert kept
    assert {number: site.out(second).read_chunk(number) for number in kept} == kept
    assert shown(site.target()) == source_rows(site)
    assert (third.rows, third.rows_deleted) == (0, 0)


def test_a_key_that_stands_twice_is_found_though_its_rows_were_read_by_two_processes(tmp_path: Path) -> None:
    rows = some_people(ROWS)
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE people (id INTEGER, name VARCHAR(60), born DATE, updated DATETIME)")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", [*rows, (1, "again", None, None)])
    site = Site(tmp_path, sqlite_at(tmp_path / "a.db"))
    asked = order(chunk_rows=10, **DIFF)
    assert site.end_early(asked, 4)

    with pytest.raises(SourceKeyNotUnique) as caught:
        site.extract(asked)

    assert caught.value.details["rows"] == 1


def test_an_appending_watermark_run_goes_on_and_appends_nothing_twice(site: Site) -> None:
    first = order("R1", chunk_rows=10, overlap_s=86_400, **APPENDED)
    assert site.end_early(first, 5)
    begun = site.extract(first)
    site.deliver(first, begun)
    change(
        site.folder / "a.db",
        "INSERT INTO people SELECT id + 200, name, born, '2026-03-02 07:00:00' FROM people WHERE id <= 60",
    )
    second = replace(first, run_id="R2", after=begun.new_cursor)
    kept: dict[int, bytes] = {}
    while not kept:  # the rows of the overlap come first, and are not handed over again
        kept = site.end_early(second, 10)

    manifest = site.extract(second)
    site.deliver(second, manifest)
    third = site.extract(replace(first, run_id="R3", after=manifest.new_cursor))

    assert manifest.restarted == ()
    assert (begun.resumed, begun.rows, manifest.rows, third.rows) == (1, ROWS, 60, 0)
    assert manifest.resumed > 0
    assert kept
    assert {number: site.out(second).read_chunk(number) for number in kept} == kept
    assert shown(site.target()) == source_rows(site)


def test_a_small_window_is_read_in_one_piece(site: Site) -> None:
    first = order("R1", chunk_rows=10, **APPENDED)
    begun = site.extract(first)
    change(site.folder / "a.db", "UPDATE people SET updated = '2026-03-03 07:00:00' WHERE id <= 15")
    second = replace(first, run_id="R2", after=begun.new_cursor.replace("T08:00:00", "T08:00:01"), overlap_s=0)

    assert site.extract(second).rows == 15
    begun_as = site.out(second).begun()
    assert begun_as is not None
    assert begun_as["snapshot"]["splits"] == [""]


def test_what_is_remembered_of_a_split_is_not_believed_when_the_disk_changed_it(site: Site) -> None:
    first = order("R1", chunk_rows=10, **DIFF)
    begun = site.extract(first)
    changed(site)
    second = replace(first, run_id="R2", after=begun.new_cursor)
    assert site.end_early(second, 6)
    (damaged, *_) = sorted(site.out(second).folder.glob("memory-*.jqc"))
    data = bytearray(damaged.read_bytes())
    data[random.randrange(len(data))] ^= 1
    damaged.write_bytes(data)

    manifest = site.extract(second)
    third = site.extract(replace(first, run_id="R3", after=manifest.new_cursor))

    assert (manifest.resumed, manifest.restarted) == (1, ())
    assert (third.rows, third.rows_deleted) == (0, 0)


def test_a_state_that_was_lost_meanwhile_makes_the_run_begin_anew_and_it_says_so(site: Site) -> None:
    first = order("R1", chunk_rows=10, **DIFF)
    begun = site.extract(first)
    changed(site)
    second = replace(first, run_id="R2", after=begun.new_cursor)
    assert site.end_early(second, 6)
    for state in (site.spool.root / "state").glob("*/*.jqs"):
        state.unlink()

    manifest = site.extract(second)

    assert (manifest.resumed, manifest.restarted, manifest.complete) == (0, ("state",), True)


@pytest.mark.parametrize(
    ("checks", "meanwhile", "reason"),
    [
        ((), "UPDATE people SET name = 'other' WHERE id = 1", "snapshot"),
        ((CheckRule(check="unique", item="id"),), "SELECT 1", "checks"),
    ],
)
def test_why_a_run_began_anew_stands_in_its_manifest(
    site: Site, checks: tuple[CheckRule, ...], meanwhile: str, reason: str
) -> None:
    asked = order(chunk_rows=10, checks=checks)
    assert site.end_early(asked, 5)
    change(site.folder / "a.db", meanwhile)
    again = site.end_early(asked, 6)

    manifest = site.extract(asked)

    assert again
    assert manifest.rows == ROWS
    assert manifest.restarted == ((reason,) if reason == "snapshot" else (reason, reason))


def test_a_workbook_goes_on_by_ranges_of_its_rows(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append([item.column for item in PEOPLE])
    for row in some_people(ROWS):
        sheet.append(row)
    book.save(tmp_path / "people.xlsx")
    site = Site(tmp_path, Connection(engine=Engine.EXCEL, database=str(tmp_path)))
    asked = order(chunk_rows=10, **DIFF)
    kept = site.end_early(asked, 5)

    manifest = site.extract(asked)
    site.deliver(asked, manifest)

    assert (manifest.resumed, manifest.restarted, manifest.rows) == (1, (), ROWS)
    assert kept
    assert {number: site.out(asked).read_chunk(number) for number in kept} == kept
    assert [row[0] for row in site.target()] == list(range(1, ROWS + 1))


WAYS: dict[str, dict[str, Any]] = {
    "full": {},
    "diff": DIFF,
    "appending watermark": APPENDED,
    "watermark": {**APPENDED, "delivery": Delivery.UPSERT},
}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(way=st.sampled_from(sorted(WAYS)), ends=st.lists(st.integers(1, 14), max_size=6), chunk_rows=st.integers(3, 30))
def test_however_often_a_run_is_ended_what_arrives_is_what_one_run_brings(
    way: str, ends: list[int], chunk_rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("site")
    people(folder / "a.db", some_people(ROWS))
    site = Site(folder, sqlite_at(folder / "a.db"))
    first = order("R1", chunk_rows=chunk_rows, overlap_s=86_400 if "watermark" in way else 0, **WAYS[way])
    begun = site.extract(first)
    site.deliver(first, begun)
    change(
        folder / "a.db",
        "INSERT INTO people SELECT id + 200, name, born, '2026-03-02 07:00:00' FROM people WHERE id % 2 = 0",
        *(
            []
            if "appending" in way
            else ["UPDATE people SET name = '改', updated = '2026-03-02 07:30:00' WHERE id % 5 = 0"]
        ),
        *([] if "watermark" in way else ["DELETE FROM people WHERE id % 9 = 0"]),
    )
    second = replace(first, run_id="R2", after=begun.new_cursor)
    kept: dict[int, bytes] = {}
    for after in ends:
        with suppress(RunStopped):
            site.extract(second, stop_after(after))
        kept |= site.staged(second)

    manifest = site.extract(second)
    site.deliver(second, manifest)

    assert {number: site.out(second).read_chunk(number) for number in kept} == kept
    assert set(manifest.restarted) <= {"piece"}
    assert shown(site.target()) == source_rows(site)
    if way != "full":
        assert site.extract(replace(first, run_id="R3", after=manifest.new_cursor)).rows == 0
