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


def test_how_extraction_began_is_not_believed_where_the_disk_changed_it_but_its_snapshot_can_be_asked_about(
    tmp_path: Path,
) -> None:
    out = Spool(tmp_path).outgoing("R1")
    out.write_begun({"order": "a", "snapshot": {"token": "a", "handle": {"backend": 7, "since": "now"}}})
    path = out.folder / "begun.json"

    path.write_bytes(path.read_bytes().replace(b'"order": "a"', b'\xff"order": "a'))

    assert out.begun() is None
    assert out.damaged_handle() == {"backend": 7, "since": "now"}
    path.write_bytes(b'\xff{"handle": {"backend" 7}}')
    assert out.damaged_handle() is None
