"""A staged chunk opens for its batch, number and key only, and every change to it is noticed."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from jinqiao.dataplane.errors import ChunkDamaged
from jinqiao.dataplane.staging.chunks import open_chunk, seal_chunk
from jinqiao.kernel.crypto.suites import suite

ROWS = pa.table({"编号": pa.array([1, 2, None]), "姓名": pa.array(["王五", "", None])})
KEY = {name: suite(name).new_key() for name in ("international", "guomi")}


def opened(data: bytes, **changes: Any) -> pa.Table:
    given = {"batch_id": "R.1", "key": KEY["international"], "suite_name": "international", "schema": ROWS.schema}
    return open_chunk(data, **(given | changes))


@pytest.mark.parametrize("name", ["international", "guomi"])
def test_rows_come_back_from_their_chunk(name: str) -> None:
    sealed = seal_chunk(ROWS, batch_id="R.1", number=1, key=KEY[name], suite_name=name)

    assert opened(sealed.data, chunk=sealed.manifest, key=KEY[name], suite_name=name).equals(ROWS)
    assert "王五".encode() not in sealed.data


@pytest.mark.parametrize("position", [0, 3, 4, 20, -1])
def test_a_changed_byte_is_noticed(position: int) -> None:
    sealed = seal_chunk(ROWS, batch_id="R.1", number=1, key=KEY["international"], suite_name="international")
    data = bytearray(sealed.data)
    data[position] ^= 1

    with pytest.raises(ChunkDamaged) as caught:
        opened(bytes(data), chunk=sealed.manifest)
    assert caught.value.details["reason"] == "digest"

    # even with a manifest that was forged along with it
    forged = replace(sealed.manifest, digest=suite("international").digest(bytes(data)).hex())
    with pytest.raises(ChunkDamaged) as caught:
        opened(bytes(data), chunk=forged)
    assert caught.value.details["reason"] in ("form", "key")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"batch_id": "R.2"}, "key"),
        ({"key": suite("international").new_key()}, "key"),
        ({"schema": pa.schema([pa.field("编号", pa.int64())])}, "schema"),
    ],
)
def test_a_chunk_of_another_place_is_refused(changes: dict[str, Any], reason: str) -> None:
    sealed = seal_chunk(ROWS, batch_id="R.1", number=1, key=KEY["international"], suite_name="international")

    with pytest.raises(ChunkDamaged) as caught:
        opened(sealed.data, chunk=sealed.manifest, **changes)

    assert caught.value.details["reason"] == reason


@pytest.mark.parametrize(
    ("field", "value", "reason"), [("rows", 2, "rows"), ("content_digest", "00", "content"), ("number", 2, "key")]
)
def test_a_manifest_that_says_otherwise_is_refused(field: str, value: Any, reason: str) -> None:
    sealed = seal_chunk(ROWS, batch_id="R.1", number=1, key=KEY["international"], suite_name="international")

    with pytest.raises(ChunkDamaged) as caught:
        opened(sealed.data, chunk=replace(sealed.manifest, **{field: value}))

    assert caught.value.details["reason"] == reason
