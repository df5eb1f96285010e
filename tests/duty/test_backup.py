"""One command takes everything of a home, one brings it back."""

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from jinqiao import duty
from jinqiao.kernel.keystore import KeyStore

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "keys").mkdir(parents=True)
    (home / "media" / "attachments").mkdir(parents=True)
    (home / "media" / "attachments" / "a.pdf").write_bytes(b"%PDF-1.7 " + bytes(range(256)) * 9000)
    (home / "log").mkdir()
    (home / "log" / "web.log").write_text("noise")
    KeyStore(home / "keys").put("secret", b"sealed")
    with closing(sqlite3.connect(home / "control.db")) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(5000)])
    return home


def test_what_was_backed_up_comes_back_whole(home: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home / "control.db")) as live:
        live.execute("INSERT INTO t VALUES (5000)")
        live.commit()  # stands in the write-ahead log while the backup runs
        duty.back_up(home, tmp_path / "a.backup", PASSPHRASE)

    duty.restore(tmp_path / "a.backup", tmp_path / "again", PASSPHRASE)

    with closing(sqlite3.connect(tmp_path / "again" / "control.db")) as restored:
        assert restored.execute("SELECT count(*), max(a) FROM t").fetchone() == (5001, 5000)
    again = tmp_path / "again" / "media" / "attachments" / "a.pdf"
    assert again.read_bytes() == (home / "media" / "attachments" / "a.pdf").read_bytes()
    assert KeyStore(tmp_path / "again" / "keys").get("secret") == b"sealed"
    assert not (tmp_path / "again" / "log" / "web.log").exists()


def test_a_backup_shows_nothing_without_its_passphrase(home: Path, tmp_path: Path) -> None:
    (home / "media" / "name.txt").write_text("620302196001010015" * 100)
    file = tmp_path / "a.backup"
    duty.back_up(home, file, PASSPHRASE)

    assert b"620302196001010015" not in file.read_bytes()
    assert b"SQLite format" not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(duty.BackupUnreadable):
        duty.restore(file, tmp_path / "again", b"another passphrase")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("damage", ["flipped", "cut", "frames swapped"])
def test_a_damaged_backup_is_found_and_leaves_nothing_behind(home: Path, tmp_path: Path, damage: str) -> None:
    (home / "media" / "big").write_bytes(secrets.token_bytes(3_000_000))
    file = tmp_path / "a.backup"
    duty.back_up(home, file, PASSPHRASE)
    data = bytearray(file.read_bytes())
    head = len(duty.MAGIC) + 16
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    elif damage == "cut":
        del data[-100:]
    else:
        length = 5 + int.from_bytes(data[head + 1 : head + 5], "big")
        first, second = data[head : head + length], data[head + length : head + 2 * length]
        data[head : head + 2 * length] = second + first
    file.write_bytes(data)

    with pytest.raises(duty.BackupUnreadable):
        duty.restore(file, tmp_path / "again", PASSPHRASE)

    assert not (tmp_path / "again").exists()
    assert not list(tmp_path.glob(".again-restore-*"))


def test_a_restore_never_writes_over_a_home_in_use(home: Path, tmp_path: Path) -> None:
    duty.back_up(home, tmp_path / "a.backup", PASSPHRASE)

    with pytest.raises(duty.HomeNotEmpty):
        duty.restore(tmp_path / "a.backup", home, PASSPHRASE)

    assert (home / "log" / "web.log").exists()


def test_a_backup_that_fails_leaves_the_former_one(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.backup"
    duty.back_up(home, target, PASSPHRASE)
    before = target.read_bytes()
    (home / "broken.db").write_bytes(b"SQLite format 3\0" + b"no database at all" * 100)

    with pytest.raises(sqlite3.DatabaseError):
        duty.back_up(home, target, PASSPHRASE)

    assert target.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_the_command_asks_for_a_passphrase_and_says_so_in_both_languages(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = duty.backup_main([str(tmp_path / "a.backup"), "--home", str(home)])

    assert code == 1
    said = capsys.readouterr().err
    assert "口令文件" in said
    assert "passphrase" in said


def test_rotating_keys_changes_every_master_key_and_keeps_what_they_guard(home: Path) -> None:
    node = home / "nodes" / "minzheng"
    node.mkdir(parents=True)
    KeyStore(node).put("password", b"of a source")
    before = [(folder / "master.key").read_bytes() for folder in duty.key_stores(home)]

    assert duty.rotate_keys(home) == 0

    after = [(folder / "master.key").read_bytes() for folder in duty.key_stores(home)]
    assert len(before) == 2
    assert not set(before) & set(after)
    assert KeyStore(node).get("password") == b"of a source"
    assert KeyStore(home / "keys").get("secret") == b"sealed"
