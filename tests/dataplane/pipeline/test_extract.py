"""Extraction stages exactly what the grant allows, once."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.checks.quarantine import open_quarantine
from jinqiao.dataplane.connectors import open_source
from jinqiao.dataplane.errors import ColumnMissing, QuarantineExceeded, RunStopped, TableMissing
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import (
    BatchManifest,
    CheckRule,
    CopyMode,
    ExchangeOrder,
    Finding,
    Progress,
    Stage,
)
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType, Mask, Operator, RowCondition
from tests.dataplane.exchanges import (
    CONSUMER,
    PEOPLE,
    PROVIDER,
    change,
    exchange,
    order,
    people,
    rows_of,
    some_people,
    sqlite_at,
    states_of,
)

WATERMARK: dict[str, Any] = {"mode": CopyMode.WATERMARK, "watermark_column": "updated"}


def extract(asked: ExchangeOrder, folder: Path, **options: Any) -> BatchManifest:
    with open_source(sqlite_at(folder / "a.db")) as source:
        spool = Spool(folder / "spool")
        return pipeline.extract(
            asked, source, spool=spool, **{"identity": PROVIDER, "states": states_of(spool)} | options
        )


def test_a_manifest_says_what_was_staged(tmp_path: Path) -> None:
    people(tmp_path / "a.db", some_people(25))

    manifest = extract(order(chunk_rows=10), tmp_path)

    assert [(chunk.number, chunk.rows) for chunk in manifest.chunks] == [(1, 10), (2, 10), (3, 5)]
    assert (manifest.rows, manifest.rows_read, manifest.rows_quarantined) == (25, 25, 0)
    assert [column.name for column in manifest.columns] == ["id", "name", "born", "updated"]
    assert manifest.suite == "international"
    pipeline.verify_manifest(order(), manifest)
    assert BatchManifest.from_json(manifest.to_json()) == manifest


def test_what_is_staged_is_never_read_again(tmp_path: Path) -> None:
    people(tmp_path / "a.db", some_people(5))
    first = extract(order(), tmp_path)
    (tmp_path / "a.db").unlink()

    assert extract(order(), tmp_path) == first


def test_an_empty_table_gives_a_manifest_without_chunks(tmp_path: Path) -> None:
    people(tmp_path / "a.db", [])

    manifest = extract(order(), tmp_path)

    assert (manifest.chunks, manifest.rows) == ((), 0)
    pipeline.verify_manifest(order(), manifest)


def test_an_unfinished_extraction_is_thrown_away(tmp_path: Path) -> None:
    people(tmp_path / "a.db", some_people(5))
    spool = Spool(tmp_path / "spool")
    for number in (1, 2):
        spool.outgoing("RUN-1").write_chunk(number, b"left by a process that died")

    manifest = extract(order(), tmp_path)

    assert len(manifest.chunks) == 1
    assert not spool.outgoing("RUN-1").has_chunk(2)


def test_only_granted_rows_and_items_leave_and_masked(tmp_path: Path) -> None:
    people(tmp_path / "a.db", [(1, "张三丰", None, None), (2, "李四", None, None), (30, "王五", None, None)])
    items = (PEOPLE[0], replace(PEOPLE[1], mask=Mask.NAME, code="xm"))
    granted = RowCondition(column="id", operator=Operator.AT_MOST, values=("9",))

    exchange(
        order(items=items, row_filter=(granted,)),
        sqlite_at(tmp_path / "a.db"),
        sqlite_at(tmp_path / "b.db"),
        Spool(tmp_path),
    )

    assert rows_of(tmp_path / "b.db", "residents") == [(1, "张**"), (2, "李*")]


def test_bad_rows_stay_with_their_provider(tmp_path: Path) -> None:
    rows = [*some_people(300), (901, None, None, None), (902, "赵六", "2023-02-30", None)]
    people(tmp_path / "a.db", rows)
    asked = order(checks=(CheckRule(check="required", item="姓名"),))

    manifest, counts = exchange(
        asked, sqlite_at(tmp_path / "a.db"), sqlite_at(tmp_path / "b.db"), Spool(tmp_path / "spool")
    )

    assert (manifest.rows, manifest.rows_read, manifest.rows_quarantined, counts.target_rows) == (300, 302, 2, 300)
    assert manifest.findings == (
        Finding(check="required", item="姓名", rows=1, sample_rows=(301,)),
        Finding(check="type", item="出生日期", rows=1, sample_rows=(302,)),
    )
    sealed = Spool(tmp_path / "spool").outgoing("RUN-1").quarantine()
    assert sealed is not None
    kept = open_quarantine(sealed, PROVIDER).to_pylist()
    assert [(row["_row"], row["_broken"]) for row in kept] == [(301, "required:姓名"), (302, "type:出生日期")]
    assert kept[1]["出生日期"] == "2023-02-30"


def test_too_many_bad_rows_stop_the_run_before_delivery(tmp_path: Path) -> None:
    people(tmp_path / "a.db", [*some_people(8), (98, None, None, None), (99, None, None, None)])
    asked = order(checks=(CheckRule(check="required", item="姓名"),), quarantine_limit=0.1)

    with pytest.raises(QuarantineExceeded) as caught:
        extract(asked, tmp_path)

    out = Spool(tmp_path / "spool").outgoing("RUN-1")
    assert caught.value.details["quarantined"] == 2
    assert "姓名/required: 2" in caught.value.text().message
    assert out.manifest() is None
    assert not out.has_chunk(1)
    assert out.quarantine() is not None


def test_the_cursor_is_the_highest_watermark_seen_and_names_its_batch(tmp_path: Path) -> None:
    rows = [(1, "a", None, "2026-03-01 08:00:00"), (2, "b", None, "2026-03-02T09:30:00.5"), (3, "c", None, None)]
    people(tmp_path / "a.db", rows)

    first = extract(order("R1", **WATERMARK, overlap_s=86_400), tmp_path)
    again = extract(order("R2", **WATERMARK, after=first.new_cursor, overlap_s=86_400), tmp_path)

    assert (first.rows, first.new_cursor) == (3, f"2026-03-02T09:30:00.500000#{first.batch_id}")
    assert (again.rows, again.new_cursor) == (0, f"2026-03-02T09:30:00.500000#{again.batch_id}")


def test_the_watermark_need_not_be_granted(tmp_path: Path) -> None:
    people(tmp_path / "a.db", some_people(3))

    manifest = extract(order(items=PEOPLE[:2], **WATERMARK), tmp_path)

    assert manifest.new_cursor.startswith("2026-03-01T08:00:00.000000#")
    assert [column.name for column in manifest.columns] == ["id", "name"]


def test_a_stopped_run_keeps_what_is_staged_whole_for_a_restart(tmp_path: Path) -> None:
    people(tmp_path / "a.db", some_people(50))
    asked = order(chunk_rows=10)
    with pytest.raises(RunStopped):
        extract(asked, tmp_path, stop=stop_after(3))
    before = staged(tmp_path)

    manifest = extract(asked, tmp_path)

    assert 0 < len(before) < 5
    assert (manifest.rows, manifest.resumed) == (50, 1)
    assert {number: data for number, data in staged(tmp_path).items() if number in before} == before


def test_a_source_that_was_changed_meanwhile_is_read_anew(tmp_path: Path) -> None:
    people(tmp_path / "a.db", some_people(50))
    asked = order(chunk_rows=10)
    with pytest.raises(RunStopped):
        extract(asked, tmp_path, stop=stop_after(3))
    change(tmp_path / "a.db", "UPDATE people SET name = 'moved' WHERE id = 1")

    manifest = extract(asked, tmp_path)

    assert (manifest.rows, manifest.resumed) == (50, 0)


def test_without_the_key_of_its_node_nothing_staged_can_go_on(tmp_path: Path) -> None:
    people(tmp_path / "a.db", some_people(50))
    asked = order(chunk_rows=10)
    with pytest.raises(RunStopped):
        extract(asked, tmp_path, stop=stop_after(3))

    manifest = extract(asked, tmp_path, identity=CONSUMER)

    assert (manifest.rows, manifest.resumed) == (50, 0)


def test_a_torn_record_of_a_split_is_as_if_it_had_never_been_written(tmp_path: Path) -> None:
    people(tmp_path / "a.db", some_people(50))
    asked = order(chunk_rows=10)
    with pytest.raises(RunStopped):
        extract(asked, tmp_path, stop=stop_after(4))
    records = Spool(tmp_path / "spool").outgoing("RUN-1").folder / "splits.jsonl"
    records.write_bytes(records.read_bytes()[:-20])

    manifest = extract(asked, tmp_path)

    assert (manifest.rows, manifest.resumed) == (50, 1)
    assert [chunk.number for chunk in manifest.chunks] == list(range(1, len(manifest.chunks) + 1))


def test_bad_rows_of_every_split_go_to_quarantine_under_their_number_in_the_run(tmp_path: Path) -> None:
    rows = [(number, None if number % 20 == 0 else "a", None, None) for number in range(1, 101)]
    people(tmp_path / "a.db", rows)
    asked = order(chunk_rows=10, checks=(CheckRule(check="required", item="name"),), quarantine_limit=0.5)
    with pytest.raises(RunStopped):
        extract(asked, tmp_path, stop=stop_after(5))

    manifest = extract(asked, tmp_path)

    sealed = Spool(tmp_path / "spool").outgoing("RUN-1").quarantine()
    assert sealed is not None
    assert open_quarantine(sealed, PROVIDER).column("_row").to_pylist() == [20, 40, 60, 80, 100]
    assert [finding.sample_rows for finding in manifest.findings] == [(20, 40, 60, 80, 100)]
    assert (manifest.rows, manifest.rows_quarantined, manifest.resumed) == (95, 5, 1)


def test_a_first_watermark_run_goes_on_with_the_clock_of_its_snapshot(tmp_path: Path) -> None:
    people(tmp_path / "a.db", [(number, "a", None, f"2026-03-01 08:00:{number:02d}") for number in range(1, 51)])
    asked = order(chunk_rows=10, **WATERMARK)
    with pytest.raises(RunStopped):
        extract(asked, tmp_path, stop=stop_after(4))
    out = Spool(tmp_path / "spool").outgoing("RUN-1")
    begun = out.begun()
    assert begun is not None
    at_eight = 1_772_352_000_000_000 + 30_000_000  # 2026-03-01 08:00:30 in microseconds
    out.write_begun({**begun, "session": {**begun["session"], "ceiling": at_eight}})

    manifest = extract(asked, tmp_path)

    assert (manifest.rows, manifest.resumed) == (50, 1)
    assert manifest.new_cursor.startswith("2026-03-01T08:00:30.000000#")


def stop_after(times: int) -> Callable[[], bool]:
    """Says stop when it has been asked that often."""
    asked = itertools.count(1)
    return lambda: next(asked) > times


def staged(folder: Path) -> dict[int, bytes]:
    """Chunks of the splits that are written down as whole."""
    out = Spool(folder / "spool").outgoing("RUN-1")
    numbers = [chunk["number"] for record in out.staged_splits() for chunk in record["chunks"]]
    return {number: out.read_chunk(number) for number in numbers}


@pytest.mark.parametrize(
    ("statement", "error"),
    [("ALTER TABLE people DROP COLUMN born", ColumnMissing), ("DROP TABLE people", TableMissing)],
)
def test_a_source_that_changed_its_structure_is_noticed(tmp_path: Path, statement: str, error: type[Exception]) -> None:
    people(tmp_path / "a.db", some_people(3))
    change(tmp_path / "a.db", statement)

    with pytest.raises(error):
        extract(order(), tmp_path)


def test_a_column_that_changed_its_type_is_quarantined(tmp_path: Path) -> None:
    people(tmp_path / "a.db", [])
    change(tmp_path / "a.db", "DROP TABLE people", "CREATE TABLE people (id TEXT, name TEXT, born TEXT, updated TEXT)")
    change(tmp_path / "a.db", "INSERT INTO people VALUES ('1', 'a', NULL, NULL), ('two', 'b', NULL, NULL)")

    with pytest.raises(QuarantineExceeded) as caught:
        extract(order(), tmp_path)

    assert "编号/type: 1" in caught.value.details["findings"]


def test_progress_is_told_by_stage(tmp_path: Path) -> None:
    people(tmp_path / "a.db", some_people(30))
    told: list[Progress] = []

    extract(order(chunk_rows=10), tmp_path, progress=told.append)

    assert {each.stage for each in told} == {Stage.EXTRACT, Stage.CHECK, Stage.STAGE}
    last = [each for each in told if each.stage is Stage.STAGE][-1]
    assert (last.run_id, last.rows_done, last.chunks_done) == ("RUN-1", 30, 3)
    assert last.bytes_done > 0


def test_one_column_may_be_granted_twice(tmp_path: Path) -> None:
    people(tmp_path / "a.db", [(1, "张三", None, None)])
    shown: Sequence[GrantedItem] = (
        PEOPLE[0],
        PEOPLE[1],
        GrantedItem(item="姓", code="masked", column="name", type=LogicalType.TEXT, mask=Mask.NAME),
    )

    exchange(order(items=shown), sqlite_at(tmp_path / "a.db"), sqlite_at(tmp_path / "b.db"), Spool(tmp_path))

    assert rows_of(tmp_path / "b.db", "residents") == [(1, "张三", "张*")]
