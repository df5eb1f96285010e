"""What is remembered of a split comes back as it was kept, or not at all."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.staging.memory import Memory
from jinqiao.dataplane.staging.spool import RunSpool
from jinqiao.kernel.crypto.suites import suite


def memory(folder: Path, name: str = "international", batch: str = "B") -> Memory:
    return Memory(RunSpool(folder), batch_id=batch, key=b"k" * suite(name).key_bytes, suite_name=name)


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=300), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_makes_it_as_if_it_had_never_been_kept(
    data: bytes, at: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    kept = memory(folder)
    kept.keep("00001", data)
    assert kept.recall("00001") == data
    (path,) = folder.glob("memory-*")
    sealed = bytearray(path.read_bytes())
    sealed[at % len(sealed)] ^= 1 << bit
    path.write_bytes(sealed)

    assert kept.recall("00001") is None


@pytest.mark.parametrize("name", ["international", "guomi"])
def test_rows_come_back_under_their_own_name_and_batch_alone(name: str, tmp_path: Path) -> None:
    rows = pa.RecordBatch.from_pydict({"place": pa.array([3, 1, 2], pa.uint32())})
    kept = memory(tmp_path, name)
    kept.keep_rows("00007", [rows, rows])

    found = kept.recall_rows("00007")

    assert found is not None
    assert pa.Table.from_batches(found).to_pydict() == {"place": [3, 1, 2, 3, 1, 2]}
    (tmp_path / "memory-00007.jqc").rename(tmp_path / "memory-00008.jqc")
    assert kept.recall_rows("00007") is None
    assert kept.recall_rows("00008") is None
    assert memory(tmp_path, name, "another").recall("00008") is None
