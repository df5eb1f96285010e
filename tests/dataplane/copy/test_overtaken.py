"""A table that is copied whole between copies of what is new: no row comes twice, none is taken for unchanged that is not."""

from pathlib import Path

import pytest

from jinqiao.dataplane.errors import CopyWouldDouble
from tests.dataplane.copy.databases import Residents, SQLite
from tests.dataplane.copy.test_restored import DIFF, WATERMARK, copied

WHOLE = ("--mode", "full")
RELOAD = (*WHOLE, "--delivery", "reload", "--sign-off", "张三：目标表被改乱")
APPEND = (*WATERMARK, "--delivery", "append")


@pytest.mark.parametrize("whole", [WHOLE, RELOAD], ids=["mirror", "reload"])
def test_an_append_does_not_add_what_a_whole_copy_has_brought(whole: tuple[str, ...], tmp_path: Path) -> None:
    residents, target = Residents(SQLite(tmp_path / "source.db"), "people", 60), SQLite(tmp_path / "target.db")
    spool = tmp_path / "spool"
    residents.fill()
    copied(residents, target, spool, *APPEND)
    residents.change(1, deletes=False)
    copied(residents, target, spool, *whole)

    for _ in range(2):
        with pytest.raises(CopyWouldDouble):
            copied(residents, target, spool, *APPEND)
    assert target.rows("people") == residents.rows()

    copied(residents, target, spool, *WATERMARK, "--delivery", "upsert")
    assert copied(residents, target, spool, *APPEND).manifest.rows == 0
    assert target.rows("people") == residents.rows()


def test_a_merge_goes_on_from_its_cursor_after_a_whole_copy(tmp_path: Path) -> None:
    residents, target = Residents(SQLite(tmp_path / "source.db"), "people", 60), SQLite(tmp_path / "target.db")
    residents.fill()
    for number, way in enumerate((WATERMARK, WHOLE, WATERMARK), 1):
        result = copied(residents, target, tmp_path / "spool", *way)
        assert result.manifest.restarted == ()
        assert target.rows("people") == residents.rows()
        residents.change(number, deletes=False)


def test_a_diff_after_a_whole_copy_sees_what_went_back_to_where_it_was(tmp_path: Path) -> None:
    residents, target = Residents(SQLite(tmp_path / "source.db"), "people", 60), SQLite(tmp_path / "target.db")
    spool = tmp_path / "spool"
    residents.fill()
    copied(residents, target, spool, *DIFF)
    before = residents.database.path.read_bytes()
    residents.change(1, deletes=True)
    copied(residents, target, spool, *WHOLE)
    residents.database.path.write_bytes(before)

    assert copied(residents, target, spool, *DIFF).manifest.restarted == ("overtaken",)
    assert target.rows("people") == residents.rows()
    assert copied(residents, target, spool, *DIFF).manifest.restarted == ()
