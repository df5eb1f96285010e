"""docs/copy.md does what it says: its commands are run in their order, and it names every option, field and code."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.copy.arguments import parser
from tests.servers import Server

PAGE = (Path(__file__).parent.parent.parent.parent / "docs" / "copy.md").read_text(encoding="utf-8")


@pytest.fixture
def there(postgresql_server: Server, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody with a table of residents, and a password file."""
    server = postgresql_server
    server.execute(
        "DROP SCHEMA IF EXISTS hr CASCADE",
        "CREATE SCHEMA hr",
        "CREATE TABLE residents (id int PRIMARY KEY, name text NOT NULL, updated timestamptz NOT NULL)",
        "INSERT INTO residents SELECT i, '王小明', timestamptz '2026-01-01' + i * interval '1 s' FROM generate_series(1, 20000) i",
        "ANALYZE residents",
    )
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"{server.host}:{server.port}:*:{server.user}:{server.password}\n")
    passwords.chmod(0o600)
    address = f"postgresql://{server.user}@{server.host}:{server.port}/{server.database}"
    yield {
        **{name: value for name, value in os.environ.items() if name != "PGPASSWORD"},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PGPASSFILE": str(passwords),
        "FROM": address,
        "TO": address,
        "LANG": "C.UTF-8",
    }
    server.execute("DROP SCHEMA hr CASCADE", "DROP TABLE residents")


def test_the_examples_work_in_their_order(there: dict[str, str], tmp_path: Path) -> None:
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=there, check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
    told = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("first", "second", "copied")}
    assert "新增 20,000" in done.stdout
    assert "in 4 chunks" in done.stdout
    assert "reconciled (content)" in done.stdout
    assert done.stdout.endswith("\n0 True\n")
    assert told["first"]["rows"]["inserted"] == 20_000
    assert (told["copied"]["rows"]["quarantined"], told["copied"]["rows"]["inserted"]) == (1, 2)
    assert told["copied"]["findings"][0]["sample_rows"] == [3]
    assert (tmp_path / "state" / "jinqiao" / "copy").is_dir()
    for name in names_in(told["copied"]) | names_in(told["first"]):
        assert f"`{name}`" in PAGE, name


def names_in(told: dict[str, Any]) -> set[str]:
    """Names of fields as the page writes them; those of one stage, chunk or finding stand in its row."""
    names = {f"rows.{name}" for name in told["rows"]} | set(told["seconds"]) | set(told) - {"rows"}
    return names.union(*told["chunks"], *told["findings"])


def test_the_page_names_every_option_and_every_way() -> None:
    for action in parser()._actions:
        for name in action.option_strings:
            assert name in ("-h", "--help") or f"`{name}" in PAGE or f", `{name}" in PAGE, name
        for choice in action.choices or ():
            assert str(choice) in PAGE
