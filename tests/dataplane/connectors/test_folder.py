"""Folders of documents and scans: every file with its digest, from one folder into another, and nothing outside of them."""

import hashlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.connectors import DeliveryPlan, ReadPlan, open_source, open_target
from jinqiao.dataplane.connectors.folder_source import COLUMNS
from jinqiao.dataplane.connectors.folder_target import FolderTarget, is_path
from jinqiao.dataplane.connectors.values import arrow_schema, fit
from jinqiao.dataplane.errors import (
    DatabaseMissing,
    FileTooLarge,
    FilterNotPossible,
    SourceChanged,
    TableMissing,
    TargetCannot,
    TargetFilesForeign,
    TargetKeyNotUnique,
    TargetPathRefused,
    TargetRefused,
    TargetSchemaMismatch,
)
from jinqiao.dataplane.pipeline import Spool, compare
from jinqiao.kernel.contracts.exchange import ChunkKind, ChunkManifest, CopyMode, Delivery, DeliveryCounts
from jinqiao.kernel.contracts.tables import Connection, Engine, Operator, RowCondition
from tests.dataplane.connectors.departments import item
from tests.dataplane.exchanges import exchange, order, read_table, sqlite_at, write_table

ITEMS = [item(c.name, c.type, length=c.length) for c in COLUMNS]
SCANS = {
    "2026/03/身份证 正面.jpg": b"\xff\xd8\xff" + bytes(5_000),
    "2026/03/说明.txt": "汉字".encode("gb18030"),
    "空.pdf": b"",
    "a.b/c..d/e.docx": b"PK",
}


def folder_at(path: Path, files: dict[str, bytes] | None = None, **options: Any) -> Connection:
    path.mkdir(exist_ok=True)
    for name, content in (files or {}).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return Connection(engine=Engine.FOLDER, database=str(path), options=options)


def files_in(path: Path) -> dict[str, bytes]:
    return {
        str(found.relative_to(path)): found.read_bytes()
        for found in path.rglob("*")
        if found.is_file() and ".jinqiao" not in found.parts
    }


def paths(place: Connection, *conditions: RowCondition, order_by: tuple[str, ...] = ()) -> list[str]:
    with open_source(place) as source:
        plan = ReadPlan(table="files", columns=("path",), row_filter=conditions, order_by=order_by)
        return [path for batch in source.read(plan) for path in batch.column("path").to_pylist()]


def run(source: Connection, target: Connection, spool: Path, run_id: str = "RUN-1") -> DeliveryCounts:
    asked = order(run_id, ITEMS, source_table="files", target_table="files", key_columns=("path",))
    _, counts = exchange(asked, source, target, Spool(spool))
    with open_source(source) as given, open_source(target) as delivered:
        assert compare(asked, given, delivered).same
    return counts


def batch(files: dict[str, bytes] | Sequence[tuple[str, bytes]]) -> pa.Table:
    pairs = list(files.items()) if isinstance(files, dict) else list(files)
    return pa.table({"path": [path for path, _ in pairs], "content": pa.array([c for _, c in pairs], pa.binary())})


NARROW = (COLUMNS[0], COLUMNS[4])


def test_a_row_for_each_file_with_size_time_and_digest(tmp_path: Path) -> None:
    place = folder_at(tmp_path / "scans", SCANS)
    os.utime(tmp_path / "scans" / "空.pdf", ns=(0, 1_767_225_600_123_456_789))

    with open_source(place) as source:
        (table,) = source.tables()
        rows = {row["path"]: row for row in read_table(source, "files", COLUMNS).to_pylist()}

    assert (table.name, table.row_estimate, [c.name for c in table.columns if c.primary_key]) == ("files", 4, ["path"])
    assert {path: row["content"] for path, row in rows.items()} == SCANS
    assert all(row["sha256"] == hashlib.sha256(SCANS[path]).hexdigest() for path, row in rows.items())
    assert all(row["size_bytes"] == len(SCANS[path]) for path, row in rows.items())
    assert rows["空.pdf"]["modified_at"] == datetime(2026, 1, 1, 8, 0, 0, 123456)  # noqa: DTZ001


def test_only_what_people_put_there_and_only_below_the_folder(tmp_path: Path) -> None:
    folder_at(tmp_path / "outside", {"secret.txt": b"secret"})
    place = folder_at(
        tmp_path / "scans",
        {
            "a.txt": b"1",
            ".hidden": b"",
            "~$b.docx": b"",
            "c.tmp": b"",
            "d.part": b"",
            "Thumbs.db": b"",
            ".git/config": b"",
        },
    )
    (tmp_path / "scans" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "scans" / "link.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    os.mkfifo(tmp_path / "scans" / "pipe")

    assert paths(place) == ["a.txt"]


def test_conditions_and_order_are_met_without_opening_files(tmp_path: Path) -> None:
    place = folder_at(tmp_path / "scans", {f"{name}.txt": bytes(size) for name, size in (("a", 3), ("b", 1), ("c", 2))})
    for day, name in ((3, "a"), (1, "b"), (2, "c")):
        os.utime(tmp_path / "scans" / f"{name}.txt", (0, 1_767_225_600 + day * 86_400))
    since = RowCondition(column="modified_at", operator=Operator.AT_LEAST, values=("2026-01-03T08:00:00",))
    digest = RowCondition(column="sha256", operator=Operator.EQUAL, values=(hashlib.sha256(bytes(2)).hexdigest(),))

    assert paths(place, since, order_by=("modified_at",)) == ["c.txt", "a.txt"]
    assert paths(place, RowCondition(column="size_bytes", operator=Operator.AT_MOST, values=("1",))) == ["b.txt"]
    assert paths(place, digest) == ["c.txt"]
    with pytest.raises(FilterNotPossible):
        paths(place, order_by=("content",))


def test_contents_come_in_batches_that_memory_holds_and_a_larger_file_is_refused(tmp_path: Path) -> None:
    place = folder_at(tmp_path / "scans", {f"{at}.bin": bytes(6 << 20) for at in range(5)})
    with open_source(place) as source:
        sizes = [b.num_rows for b in source.read(ReadPlan(table="files", columns=("path", "content")))]
    assert sizes == [2, 2, 1]

    with open_source(folder_at(tmp_path / "scans", max_file_mb=5)) as source, pytest.raises(FileTooLarge) as caught:
        list(source.read(ReadPlan(table="files", columns=("path",))))
    assert caught.value.details == {"size_mb": 6, "limit_mb": 5}


@pytest.mark.parametrize("change", ["written", "added", "gone"])
def test_a_folder_that_changes_while_it_is_read_is_refused(tmp_path: Path, change: str) -> None:
    place = folder_at(tmp_path / "scans", {f"{at}.txt": b"12" for at in range(4)})
    with open_source(place) as source, pytest.raises(SourceChanged):
        for number, _ in enumerate(source.read(ReadPlan(table="files", columns=("path", "content"), batch_rows=1))):
            if number == 0 and change == "written":
                (tmp_path / "scans" / "3.txt").write_bytes(b"34")
            elif number == 3 and change == "added":
                (tmp_path / "scans" / "4.txt").write_bytes(b"")
            elif number == 1 and change == "gone":
                (tmp_path / "scans" / "3.txt").unlink()


def test_the_token_changes_with_any_file(tmp_path: Path) -> None:
    place = folder_at(tmp_path / "scans", SCANS)
    seen = []
    with open_source(place) as source:
        seen.append(source.state_token("files"))
        assert source.state_token("files") == seen[0]
        (tmp_path / "scans" / "空.pdf").write_bytes(b"x")
        seen.append(source.state_token("files"))
        (tmp_path / "scans" / "空.pdf").rename(tmp_path / "scans" / "满.pdf")
        seen.append(source.state_token("files"))
        with pytest.raises(TableMissing):
            source.state_token("other")
    assert len(set(seen)) == 3
    missing = Connection(engine=Engine.FOLDER, database=str(tmp_path / "none"))
    with open_source(missing) as source, pytest.raises(DatabaseMissing):
        source.test()


def test_a_name_that_is_no_utf8_fits_no_text(tmp_path: Path) -> None:
    place = folder_at(tmp_path / "scans", {"a.txt": b""})
    (tmp_path / "scans" / os.fsdecode("汉字.txt".encode("gb18030"))).write_bytes(b"")
    with open_source(place) as source:
        (found,) = source.read(ReadPlan(table="files", columns=("path",)))

    fitted = fit(found.column("path"), pa.string())
    assert (fitted.values.to_pylist(), fitted.bad is not None and fitted.bad.tolist()) == (
        ["a.txt", None],
        [False, True],
    )


def test_a_mirrored_folder_shows_the_same_files_after_every_run(tmp_path: Path) -> None:
    source, target = folder_at(tmp_path / "a", SCANS), folder_at(tmp_path / "b")

    first = run(source, target, tmp_path / "s1", "RUN-1")
    (tmp_path / "a" / "空.pdf").write_bytes(b"no longer empty")
    (tmp_path / "a" / "a.b" / "c..d" / "e.docx").unlink()
    folder_at(tmp_path / "a", {"new/f.txt": b"f"})
    second = run(source, target, tmp_path / "s2", "RUN-2")
    third = run(source, target, tmp_path / "s3", "RUN-3")

    assert (first.inserted, first.target_rows) == (4, 4)
    assert (second.inserted, second.updated, second.deleted, second.unchanged) == (1, 1, 1, 2)
    assert (third.inserted, third.updated, third.deleted, third.unchanged) == (0, 0, 0, 4)
    assert files_in(tmp_path / "b") == files_in(tmp_path / "a")
    assert not (tmp_path / "b" / "a.b").exists()


def test_a_delivered_file_that_somebody_changed_is_delivered_again(tmp_path: Path) -> None:
    source, target = folder_at(tmp_path / "a", SCANS), folder_at(tmp_path / "b")
    run(source, target, tmp_path / "s1", "RUN-1")
    (tmp_path / "b" / "空.pdf").write_bytes(b"scribbled")
    (tmp_path / "b" / "2026" / "03" / "说明.txt").unlink()

    counts = run(source, target, tmp_path / "s2", "RUN-2")

    assert (counts.inserted, counts.updated, counts.unchanged) == (1, 1, 2)
    assert files_in(tmp_path / "b") == SCANS


def test_files_go_into_a_database_and_back(tmp_path: Path) -> None:
    asked = order("RUN-1", ITEMS, source_table="files", target_table="files", key_columns=("path",))
    source, middle, target = folder_at(tmp_path / "a", SCANS), sqlite_at(tmp_path / "m.db"), folder_at(tmp_path / "b")

    exchange(asked, source, middle, Spool(tmp_path / "s1"))
    run(middle, target, tmp_path / "s2", "RUN-2")

    assert files_in(tmp_path / "b") == SCANS


@pytest.mark.parametrize("delivery", [Delivery.UPSERT, Delivery.APPEND])
def test_upsert_and_append_delete_nothing(tmp_path: Path, delivery: Delivery) -> None:
    target = folder_at(tmp_path / "b", {"theirs.txt": b"theirs"})
    with open_target(target) as opened:
        write_table(opened, "files", NARROW, ["path"], batch({"a.txt": b"1"}), batch_id="b.1", delivery=delivery)
        counts = write_table(
            opened, "files", NARROW, ["path"], batch({"b.txt": b"2"}), batch_id="b.2", delivery=delivery
        )

    assert (counts.inserted, counts.deleted, counts.target_rows) == (1, 0, 3)
    assert files_in(tmp_path / "b") == {"theirs.txt": b"theirs", "a.txt": b"1", "b.txt": b"2"}


def test_a_mirror_never_deletes_files_that_it_did_not_bring(tmp_path: Path) -> None:
    target = folder_at(tmp_path / "b", {"theirs.txt": b"theirs"})
    with open_target(target) as opened, pytest.raises(TargetFilesForeign) as caught:
        write_table(opened, "files", NARROW, ["path"], batch({"a.txt": b"1"}))

    assert caught.value.details == {"files": 1}
    assert files_in(tmp_path / "b") == {"theirs.txt": b"theirs"}


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/x", "a/../../x", "a//b", "", ".", "a/.", ".ssh/authorized_keys", ".jinqiao/ledger.json", "a/.x", "x.tmp",
     "a" * 256, "link/x", "b/c"],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused_before_anything_is_written(tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = folder_at(tmp_path / "b")
    (tmp_path / "b" / "link").symlink_to(outside)
    files = {"b": b"a file, no folder", path: b"evil"}
    with open_target(target) as opened, pytest.raises(TargetPathRefused):
        write_table(opened, "files", NARROW, ["path"], batch(files), delivery=Delivery.UPSERT)

    assert list(outside.iterdir()) == []
    assert not (tmp_path / "x").exists()
    assert set(files_in(tmp_path / "b")) <= ({"b"} if path == "link/x" else set())


@settings(max_examples=200, deadline=None)
@given(path=st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(list("./~\\\0")), max_size=12))
def test_a_path_that_is_taken_stays_below_the_folder(path: str) -> None:
    if is_path(path):
        resolved = os.path.normpath(f"/folder/{path}")
        assert resolved == f"/folder/{path}"
        assert not Path(resolved).name.startswith(".")


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    whole = arrow_schema(COLUMNS)
    row = {
        "path": "a.txt",
        "size_bytes": 1,
        "modified_at": None,
        "sha256": hashlib.sha256(b"1").hexdigest(),
        "content": b"1",
    }
    with open_target(folder_at(tmp_path / "b")) as opened:
        for wrong in ({"size_bytes": 2}, {"sha256": "0" * 64}, {"content": b"2"}):
            with pytest.raises(TargetRefused):
                write_table(
                    opened, "files", COLUMNS, ["path"], pa.Table.from_pylist([row | wrong], whole), batch_id=repr(wrong)
                )
        with pytest.raises(TargetKeyNotUnique):
            write_table(opened, "files", NARROW, ["path"], batch([("a", b"1"), ("a", b"2")]), batch_id="twice")
        with pytest.raises(TargetSchemaMismatch):
            write_table(opened, "files", COLUMNS[:1], ["path"], pa.table({"path": ["a"]}), batch_id="narrow")
        with pytest.raises(TargetCannot):
            write_table(
                opened,
                "files",
                NARROW,
                ["path"],
                batch({}),
                batch_id="h",
                delivery=Delivery.HISTORY,
                at=datetime(2026, 1, 1),  # noqa: DTZ001
            )
    assert files_in(tmp_path / "b") == {}


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", range(6))
def test_a_delivery_that_is_killed_goes_on_and_counts_as_one(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder_at(tmp_path / "b")
    with open_target(target) as opened:
        write_table(opened, "files", NARROW, ["path"], batch({"old.txt": b"0", "b.txt": b"before"}), batch_id="b.0")
        done = 0

        def dies(name: str) -> Any:
            whole = getattr(FolderTarget, name)

            def method(self: FolderTarget, *given: Any) -> Any:
                nonlocal done
                if done == step:
                    raise Killed
                done += 1
                return whole(self, *given)

            return method

        with monkeypatch.context() as patched:
            for name in ("_write", "_delete", "_save"):
                patched.setattr(FolderTarget, name, dies(name))
            files = batch({"a.txt": b"1", "b.txt": b"2", "c.txt": b"3"})
            with pytest.raises(Killed):
                write_table(opened, "files", NARROW, ["path"], files, batch_id="b.1")
    with open_target(target) as again:
        counts = write_table(again, "files", NARROW, ["path"], files, batch_id="b.1")
        assert again.state("b.1").merged == counts

    assert (counts.inserted, counts.updated, counts.deleted, counts.target_rows) == (2, 1, 1, 3)
    assert files_in(tmp_path / "b") == {"a.txt": b"1", "b.txt": b"2", "c.txt": b"3"}
    assert not [path for path in (tmp_path / "b").iterdir() if path.name.endswith(".tmp")]


def test_a_diff_deletes_what_it_names(tmp_path: Path) -> None:
    with open_target(folder_at(tmp_path / "b")) as opened:
        write_table(opened, "files", NARROW, ["path"], batch({"a.txt": b"1", "b.txt": b"2"}), batch_id="b.0")
        plan = DeliveryPlan(
            batch_id="b.1", run_id="b", table="files", columns=NARROW, keys=("path",), mode=CopyMode.DIFF, rows=1, chunks=2,
            rows_deleted=1,
        )  # fmt: skip
        opened.prepare(plan)
        for number, kind, rows in (
            (1, ChunkKind.ROWS, batch({"c.txt": b"3"})),
            (2, ChunkKind.DELETES, pa.table({"path": ["a.txt"]})),
        ):
            manifest = ChunkManifest(
                number=number, rows=1, size_bytes=0, digest="0" * 64, content_digest=f"{number:064x}", kind=kind
            )
            opened.load(plan, manifest, rows)
        counts = opened.merge(plan)

    assert (counts.inserted, counts.deleted, counts.target_rows) == (1, 1, 2)
    assert files_in(tmp_path / "b") == {"b.txt": b"2", "c.txt": b"3"}
