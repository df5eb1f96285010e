"""A state is there under the name of its batch, whole or not at all, and nobody can read in it without the node's key."""

from pathlib import Path

import pyarrow as pa
import pytest

from jinqiao.dataplane.errors import SpoolNameRefused
from jinqiao.dataplane.staging.state import StateStore, TaskState, state_key
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.keystore import KeyStore

KEY = bytes(range(32))


def rows(count: int, first: int = 0) -> pa.RecordBatch:
    return pa.record_batch({"key": [f"62030219900101{number:04d}" for number in range(first, first + count)]})


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state", KEY, "international")


def written(task: TaskState, batch_id: str, count: int = 3, terms: str = "terms") -> Path:
    with task.writer(terms) as writer:
        writer.add(rows(count))
        writer.save(batch_id)
    return task.folder / f"{batch_id}.jqs"


def read(task: TaskState, batch_id: str, terms: str = "terms") -> list[str] | None:
    reader = task.open(batch_id, terms)
    if reader is None:
        return None
    try:
        return [value for frame in reader.frames() for value in frame.column("key").to_pylist()]
    finally:
        reader.close()


def test_rows_come_back_in_their_order_however_many_frames_they_take(store: StateStore) -> None:
    task = store.task("T-1")
    with task.writer("terms") as writer:
        for first in range(0, 150_000, 9_000):
            writer.add(rows(9_000, first))
        writer.save("B-1")

    found = read(task, "B-1")

    assert found is not None
    assert len(found) == 153_000
    assert found[100_000] == "62030219900101100000"


def test_opening_a_state_forgets_every_other(store: StateStore) -> None:
    task = store.task("T-1")
    written(task, "B-1")
    written(task, "B-2")
    (task.folder / ".new-dead").write_bytes(b"left by a killed process")

    assert read(task, "B-1") is not None
    assert [path.name for path in task.folder.iterdir()] == ["B-1.jqs"]
    assert read(task, "B-2") is None


def test_a_state_under_another_name_or_other_terms_is_none(store: StateStore) -> None:
    task = store.task("T-1")
    written(task, "B-1").rename(task.folder / "B-2.jqs")
    assert read(task, "B-2") is None

    written(task, "B-3")
    assert read(task, "B-3", "others") is None


def test_no_value_stands_in_the_file(store: StateStore) -> None:
    assert b"62030219900101" not in written(store.task("T-1"), "B-1").read_bytes()


@pytest.mark.parametrize("place", ["head", "frame", "end"])
def test_a_flipped_bit_is_found(store: StateStore, place: str) -> None:
    task = store.task("T-1")
    file = written(task, "B-1")
    data = bytearray(file.read_bytes())
    data[{"head": 6, "frame": 60, "end": -40}[place]] ^= 1
    file.write_bytes(data)

    # what names the state is looked at when it is opened, its rows when they are asked for
    if place == "frame":
        with pytest.raises(SealBroken):
            read(task, "B-1")
    else:
        assert read(task, "B-1") is None


def test_frames_cannot_change_places(store: StateStore) -> None:
    task = store.task("T-1")
    with task.writer("terms") as writer:
        writer.add(rows(65_536))
        writer.add(rows(65_536))
        writer.save("B-1")
    file = task.folder / "B-1.jqs"
    data = file.read_bytes()
    length = 4 + int.from_bytes(data[20:24], "big")
    first, second = data[20 : 20 + length], data[20 + length : 20 + 2 * length]
    file.write_bytes(data[:20] + second + first + data[20 + 2 * length :])

    with pytest.raises(SealBroken):
        read(task, "B-1")


def test_a_writer_that_is_given_up_leaves_nothing(store: StateStore) -> None:
    task = store.task("T-1")
    with task.writer("terms") as writer:
        writer.add(rows(5))

    assert list(task.folder.iterdir()) == []


def test_tasks_that_are_no_longer_run_are_forgotten(store: StateStore) -> None:
    for name in ("T-1", "T-2", "导入/一"):
        written(store.task(name), "B-1")
    assert store.size_bytes() > 0

    store.keep_only({"T-2", "导入/一"})

    assert [read(store.task(name), "B-1") is None for name in ("T-1", "T-2", "导入/一")] == [True, False, False]


def test_a_name_that_is_no_name_is_refused(store: StateStore) -> None:
    with pytest.raises(SpoolNameRefused):
        store.task("")
    with store.task("T-1").writer("terms") as writer, pytest.raises(SpoolNameRefused):
        writer.save("../B-1")


def test_the_key_of_a_node_is_drawn_once(tmp_path: Path) -> None:
    keystore = KeyStore(tmp_path)

    assert state_key(keystore, "guomi") == state_key(keystore, "guomi")
    assert len(state_key(keystore, "guomi")) == 16
