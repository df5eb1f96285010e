"""A killed extraction of files goes on where it was, as long as the files are the same."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import ReadPlan, Source, open_source, open_target
from jinqiao.dataplane.connectors.csv_source import CsvSource
from jinqiao.dataplane.connectors.file_snapshot import FileReader
from jinqiao.dataplane.connectors.folder_source import COLUMNS as FILE_COLUMNS
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.errors import RunStopped, SourceChanged
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import BatchManifest, ExchangeOrder
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, Operator, RowCondition
from tests.dataplane.connectors.departments import item
from tests.dataplane.exchanges import PROVIDER, order, write_table

COLUMNS = (
    Column(name="id", type=LogicalType.INTEGER, nullable=False),
    Column(name="name", type=LogicalType.TEXT),
)
ITEMS = [item(column.name, column.type) for column in COLUMNS]
IN_SPLITS = (Engine.CSV, Engine.JSONL, Engine.PARQUET)


def filled(engine: Engine, folder: Path, rows: int) -> Connection:
    place = Connection(engine=engine, database=str(folder))
    folder.mkdir(exist_ok=True)
    given = pa.Table.from_pylist([{"id": at, "name": f'第{at}行\n"'} for at in range(rows)], arrow_schema(COLUMNS))
    with open_target(place) as target:
        write_table(target, "people", COLUMNS, ["id"], given)
    return place


def stopping_after(calls: int) -> Callable[[], bool]:
    left = calls

    def stop() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    return stop


def extract(asked: ExchangeOrder, place: Connection, spool: Path, **options: Any) -> BatchManifest:
    with open_source(place) as source:
        return pipeline.extract(asked, source, spool=Spool(spool), identity=PROVIDER, **options)


def staged(spool: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in spool.rglob("chunk-*")}


@pytest.mark.parametrize("engine", IN_SPLITS)
def test_a_killed_extraction_of_a_file_goes_on(engine: Engine, tmp_path: Path) -> None:
    place = filled(engine, tmp_path / "files", 500)
    asked = order(items=ITEMS, chunk_rows=50)
    with pytest.raises(RunStopped):
        extract(asked, place, tmp_path / "spool", stop=stopping_after(5))
    before = staged(tmp_path / "spool")

    manifest = extract(asked, place, tmp_path / "spool")

    assert len(before) > 0
    assert (manifest.rows, manifest.resumed) == (500, 1)
    assert {name: data for name, data in staged(tmp_path / "spool").items() if name in before} == before


@pytest.mark.parametrize("engine", IN_SPLITS)
def test_a_file_that_was_replaced_meanwhile_is_read_anew(engine: Engine, tmp_path: Path) -> None:
    place = filled(engine, tmp_path / "files", 500)
    asked = order(items=ITEMS, chunk_rows=50)
    with pytest.raises(RunStopped):
        extract(asked, place, tmp_path / "spool", stop=stopping_after(5))
    (suffix,) = {path.suffix for path in (tmp_path / "files").glob("people.*")}
    (tmp_path / "files" / f"people{suffix}").unlink()
    shutil.rmtree(tmp_path / "files" / ".jinqiao")
    filled(engine, tmp_path / "files", 400)

    manifest = extract(asked, place, tmp_path / "spool")

    assert (manifest.rows, manifest.resumed) == (400, 0)


def test_a_killed_extraction_of_a_folder_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for at in range(30):
        (folder / f"{at:02d}.bin").write_bytes(bytes([at]) * 1000)
    place = Connection(engine=Engine.FOLDER, database=str(folder))
    items = [item(column.name, column.type) for column in FILE_COLUMNS]
    asked = order(items=items, source_table="files", key_columns=("path",), chunk_rows=4)
    with pytest.raises(RunStopped):
        extract(asked, place, tmp_path / "spool", stop=stopping_after(4))
    before = staged(tmp_path / "spool")

    manifest = extract(asked, place, tmp_path / "spool")

    assert len(before) > 0
    assert (manifest.rows, manifest.resumed) == (30, 1)
    assert {name: data for name, data in staged(tmp_path / "spool").items() if name in before} == before


def ids(source: Source, plan: ReadPlan, splits: list[str]) -> list[list[int]]:
    reader = FileReader(source, plan, source.state_token("people") or "")  # type: ignore[arg-type]
    with reader:
        return [[int(i) for batch in reader.read(split) for i in batch.column("id").to_pylist()] for split in splits]


@settings(max_examples=25, deadline=None)
@given(
    bounds=st.lists(st.integers(0, 110), max_size=6), batch_rows=st.integers(1, 60), least=st.sampled_from([None, 30])
)
def test_splits_hold_every_row_once_in_whatever_order_they_are_read(
    bounds: list[int], batch_rows: int, least: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "splits"
    if not folder.exists():
        filled(Engine.CSV, folder, 100)
    place = Connection(engine=Engine.CSV, database=str(folder), options={"types": {"*": {"id": "integer"}}})
    conditions = () if least is None else (RowCondition(column="id", operator=Operator.AT_LEAST, values=(str(least),)),)
    plan = ReadPlan(table="people", columns=("id",), batch_rows=batch_rows, row_filter=conditions)
    edges = sorted({0, *bounds})
    splits = [f"{since}:{until}" for since, until in zip(edges, [*edges[1:], ""], strict=True)]
    rows = list(range(least or 0, 100))
    with open_source(place) as source:
        assert [i for split in ids(source, plan, splits) for i in split] == rows
        backwards = ids(source, plan, splits[::-1])
    assert [i for split in backwards[::-1] for i in split] == rows


def test_a_file_that_changes_after_its_last_row_is_noticed(tmp_path: Path) -> None:
    place = filled(Engine.CSV, tmp_path, 100)
    plan = ReadPlan(table="people", columns=("id",))
    with (
        open_source(place) as source,
        source.open_snapshot(plan, chunk_rows=10) as snapshot,
        pytest.raises(SourceChanged),
        snapshot.reader() as reader,
    ):
        list(reader.read(snapshot.state.splits[0]))
        with (tmp_path / "people.csv").open("a", encoding="utf-8") as file:
            file.write("100,x\n")


def test_a_file_is_gone_through_once_however_few_rows_a_filter_lets_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = filled(Engine.CSV, tmp_path / "files", 500)
    passes = []

    def batches(self: CsvSource, *given: Any) -> Any:
        passes.append(1)
        return plain(self, *given)

    plain = CsvSource.batches
    monkeypatch.setattr(CsvSource, "batches", batches)
    some = RowCondition(column="id", operator=Operator.ONE_OF, values=("3", "77", "499"))
    plan = ReadPlan(table="people", columns=("id",), row_filter=(some,))
    with (
        open_source(place) as source,
        source.open_snapshot(plan, chunk_rows=50) as snapshot,
        snapshot.reader() as reader,
    ):
        rows = [row for split in snapshot.state.splits for b in reader.read(split) for row in b[0].to_pylist()]
        assert len(snapshot.state.splits) > 5
        assert (sorted(rows), len(passes)) == (["3", "499", "77"], 1)
        assert [b.num_rows for b in reader.read(snapshot.state.splits[0])] == [3]  # back to the beginning
