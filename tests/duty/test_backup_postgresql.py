"""The same two commands where the control database is a PostgreSQL server."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jinqiao import duty
from tests.servers import Server, _postgresql_tools, postgresql

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql() as server:
        server.execute(
            "CREATE TABLE t (a int, b text)", "INSERT INTO t SELECT n, '金昌' || n FROM generate_series(1, 500) n"
        )
        server.execute("CREATE DATABASE again", database="postgres")
        yield server


@pytest.fixture
def home(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    # client tools of the server's own version come first
    monkeypatch.setenv("PATH", f"{_postgresql_tools()}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DATABASE_URL", server.url)
    (tmp_path / "home" / "media").mkdir(parents=True)
    (tmp_path / "home" / "media" / "a.pdf").write_bytes(b"%PDF-1.7")
    return tmp_path / "home"


def test_the_control_database_goes_into_the_backup_and_comes_back(
    home: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    duty.back_up(home, tmp_path / "a.backup", PASSPHRASE)

    monkeypatch.setenv("DATABASE_URL", server.url.removesuffix("city") + "again")
    duty.restore(tmp_path / "a.backup", tmp_path / "restored", PASSPHRASE)

    assert server.fetch("SELECT count(*), max(b) FROM t", database="again") == [(500, "金昌99")]
    assert (tmp_path / "restored" / "media" / "a.pdf").read_bytes() == b"%PDF-1.7"
    assert not (tmp_path / "restored" / duty.DUMP).exists()


def test_a_database_that_is_not_empty_is_not_written_over(home: Path, tmp_path: Path, server: Server) -> None:
    duty.back_up(home, tmp_path / "a.backup", PASSPHRASE)

    with pytest.raises(duty.DatabaseToolFailed) as raised:
        duty.restore(tmp_path / "a.backup", tmp_path / "restored", PASSPHRASE)

    assert server.password not in str(raised.value.details)
    assert server.fetch("SELECT count(*) FROM t") == [(500,)]
    assert not (tmp_path / "restored").exists()


def test_the_password_stands_on_no_command_line(
    home: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[list[str]] = []
    run = subprocess.run

    def watched(command: list[str], **options: Any) -> Any:
        lines.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    duty.back_up(home, tmp_path / "a.backup", PASSPHRASE)

    assert [command[0] for command in lines] == ["pg_dump"]
    assert server.password not in " ".join(lines[0])
