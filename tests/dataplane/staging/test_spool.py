"""The spool keeps whole files or none, and forgets a run when told."""

import resource
from pathlib import Path

import pytest

from jinqiao.dataplane.errors import ChunkMissing, SpoolFull, SpoolNameRefused
from jinqiao.dataplane.staging.spool import Spool


def test_a_chunk_is_there_after_it_was_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")

    spool.outgoing("RUN-1").write_chunk(3, b"data")

    assert spool.outgoing("RUN-1").read_chunk(3) == b"data"
    assert not spool.incoming("RUN-1").has_chunk(3)
    assert spool.runs() == ("RUN-1",)
    assert spool.free_bytes() > 0


def test_a_missing_chunk_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChunkMissing) as caught:
        Spool(tmp_path).incoming("RUN-1").read_chunk(7)

    assert caught.value.details == {"chunk": 7, "run": "RUN-1"}


def test_a_purged_run_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.outgoing("RUN-1").write_chunk(1, b"a")
    spool.incoming("RUN-1").write_chunk(1, b"a")

    spool.purge("RUN-1")
    spool.purge("RUN-1")

    assert spool.runs() == ()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 200, "a\n"])
def test_a_run_id_cannot_lead_out_of_the_spool(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpoolNameRefused):
        Spool(tmp_path).outgoing(name)


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    run = Spool(tmp_path).outgoing("RUN-1")
    run.write_chunk(1, b"small")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, hard))
    try:
        with pytest.raises(SpoolFull):
            run.write_chunk(2, b"x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [path.name for path in run.folder.iterdir()] == ["chunk-00001.jqc"]


def test_how_extraction_began_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    out, begun = Spool(tmp_path).outgoing("R1"), {"order": "a", "snapshot": {"token": "a", "handle": {"backend": 7}}}
    out.write_begun(begun)
    assert out.begun() == begun


def test_whatever_bit_the_disk_changes_how_extraction_began_is_not_believed_but_its_snapshots_can_be_asked_about(
    tmp_path: Path,
) -> None:
    out = Spool(tmp_path).outgoing("R1")
    own, former = {"backend": 7, "since": "now"}, {"backend": 6, "since": "then"}
    out.write_begun({"order": "a", "snapshot": {"token": "a", "handle": {**own, "former": former}}})
    path = out.folder / "begun.json"
    written = path.read_bytes()

    for bit in range(len(written) * 8):
        path.write_bytes(written[: bit // 8] + bytes([written[bit // 8] ^ 1 << bit % 8]) + written[bit // 8 + 1 :])
        if out.begun() is None:  # else it was the line's end, or a blank before it, which say nothing
            assert own in out.damaged_handles(), bit
            assert former in out.damaged_handles(), bit

    path.write_bytes(b'\xff{"handle": {"backend" 7}}')
    assert out.damaged_handles() == []
