"""`jinqiao copy`: what it says, with which code it ends, and that it goes on where it was."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from jinqiao.dataplane.copy import command
from jinqiao.dataplane.copy.arguments import parser, request_of, spool_of
from jinqiao.dataplane.copy.copying import Copying, SideFailed
from jinqiao.dataplane.copy.places import place_of
from jinqiao.dataplane.errors import RunStopped
from jinqiao.dataplane.staging.spool import Spool
from tests.dataplane.exchanges import change, people, rows_of, some_people
from tests.servers import Server
from tests.web_servers import Answer, Asked, serving

ROWS = 3_000
JSON_TYPE = {"Content-Type": "application/json"}


class Copies:
    """Copies of one table, with a spool of their own."""

    def __init__(self, folder: Path, source: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.source, self.target, self._capsys = folder, source, target, capsys

    def arguments(self, *more: str) -> list[str]:
        return [self.source, self.target, "--table", "people", "--spool", str(self.folder / "spool"), "--json", *more]

    def __call__(self, *more: str) -> tuple[int, dict[str, Any]]:
        code = command.main(self.arguments(*more))
        return code, json.loads(self._capsys.readouterr().out)

    def same(self) -> bool:
        """Ids, names and dates are on both sides; engines write times in more than one way."""
        sent, shown = (rows_of(self.folder / name, "people") for name in ("a.db", "b.db"))
        return [row[:3] for row in sent] == [row[:3] for row in shown]

    @property
    def spool(self) -> Spool:
        (home,) = (path for path in (self.folder / "spool").iterdir() if path.is_dir())
        return Spool(home)


@pytest.fixture
def sqlite_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Copies:
    people(tmp_path / "a.db", some_people(50))
    return Copies(tmp_path, f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db", capsys)


@pytest.fixture
def server_copy(
    tmp_path: Path, postgresql_server: Server, capsys: pytest.CaptureFixture[str]
) -> Iterator[tuple[Copies, Server]]:
    server = postgresql_server
    server.execute(
        "DROP SCHEMA IF EXISTS taken CASCADE",
        "CREATE SCHEMA taken",
        "DROP TABLE IF EXISTS people",
        "CREATE TABLE people (id int PRIMARY KEY, name varchar(20) NOT NULL, born date, paid numeric(12, 2), seen timestamp)",
        f"INSERT INTO people SELECT i, '王' || i, date '1890-01-01' + i, i / 7.0, timestamp '2026-01-01' + i * interval '1 s'"
        f" FROM generate_series(1, {ROWS}) AS i",
        "ANALYZE people",
    )
    os.environ["PGPASSWORD"] = server.password
    address = f"postgresql://{server.user}@{server.host}:{server.port}/{server.database}"
    yield Copies(tmp_path, address, f"{address}?schema=taken", capsys), server
    del os.environ["PGPASSWORD"]
    server.execute("DROP SCHEMA taken CASCADE", "DROP TABLE people")


def taken(server: Server) -> list[tuple[Any, ...]]:
    with server.connect() as connection:
        return list(connection.execute("SELECT * FROM taken.people ORDER BY id").fetchall())


def differing(server: Server) -> int:
    """Rows that stand on one side only, as the server itself counts them."""
    sides = "SELECT id, name, born, paid, seen FROM people", "SELECT id, name, born, paid, seen FROM taken.people"
    with server.connect() as connection:
        (count,) = connection.execute(
            f"SELECT count(*) FROM (({sides[0]} EXCEPT ALL {sides[1]}) UNION ALL ({sides[1]} EXCEPT ALL {sides[0]})) AS d"
        ).fetchone()
    return int(count)


def test_a_copy_tells_what_it_did(sqlite_copy: Copies) -> None:
    code, told = sqlite_copy("--chunk-rows", "20")

    assert code == 0
    assert told["rows"] == {
        "read": 50, "sent": 50, "inserted": 50, "updated": 0, "deleted": 0, "unchanged": 0, "quarantined": 0, "target": 50,
    }  # fmt: skip
    assert told["reconciled"] is True
    assert [chunk["rows"] for chunk in told["chunks"]] == [20, 20, 10]
    assert {"extract", "load", "merge", "total"} <= set(told["seconds"])
    assert len(rows_of(sqlite_copy.folder / "b.db", "people")) == 50


def test_a_mirror_takes_over_changes_and_deletions(sqlite_copy: Copies) -> None:
    sqlite_copy()
    change(sqlite_copy.folder / "a.db", "DELETE FROM people WHERE id < 6", "UPDATE people SET name = 'x' WHERE id = 9")

    code, told = sqlite_copy()

    assert (code, told["rows"]["deleted"], told["rows"]["updated"], told["rows"]["unchanged"]) == (0, 5, 1, 44)
    assert sqlite_copy.same()


def test_a_watermark_copy_goes_on_from_its_cursor(sqlite_copy: Copies) -> None:
    watermark = ("--mode", "watermark", "--watermark", "updated")
    sqlite_copy(*watermark)
    _, nothing = sqlite_copy(*watermark)
    change(sqlite_copy.folder / "a.db", "UPDATE people SET name = 'x', updated = '2026-03-01 08:01:00' WHERE id = 9")

    _, told = sqlite_copy(*watermark)

    assert nothing["rows"]["sent"] == 0
    assert (told["rows"]["sent"], told["rows"]["updated"]) == (1, 1)
    assert sqlite_copy.same()


def test_a_diff_copy_needs_no_watermark_and_finds_deletions(sqlite_copy: Copies) -> None:
    sqlite_copy("--mode", "diff")
    change(sqlite_copy.folder / "a.db", "DELETE FROM people WHERE id = 7", "UPDATE people SET name = 'x' WHERE id = 9")

    _, told = sqlite_copy("--mode", "diff")

    assert (told["rows"]["sent"], told["rows"]["updated"], told["rows"]["deleted"]) == (1, 1, 1)
    assert sqlite_copy.same()


def test_masks_and_checks_keep_their_word(sqlite_copy: Copies) -> None:
    change(sqlite_copy.folder / "a.db", "UPDATE people SET name = '' WHERE id = 1")

    stopped, problem = sqlite_copy("--mask", "name=name", "--check", "name=required")
    code, told = sqlite_copy("--mask", "name=name", "--check", "name=required", "--quarantine-limit", "0.1")

    assert (stopped, problem["problem"]["code"]) == (6, "checks.quarantine.exceeded")
    assert (code, told["rows"]["quarantined"], told["rows"]["target"]) == (0, 1, 49)
    assert {row[1] for row in rows_of(sqlite_copy.folder / "b.db", "people")} == {"王***", "王****"}


@pytest.mark.parametrize(
    ("more", "code", "problem"),
    [
        (("--mode", "watermark"), 3, "copy.argument"),
        (("--mask", "name=what"), 3, "copy.argument"),
        (("--key", "nobody"), 3, "source.column.missing"),
        (("--parallel", "0"), 3, "copy.argument"),
        (("--table", "nobody"), 4, "source.table.missing"),
        (("--delivery", "upsert", "--mask", "id=hidden"), 3, "pipeline.order.key"),
        (("--delivery", "reload"), 3, "copy.sign_off"),
        (("--delivery", "reload", "--sign-off", "  "), 3, "copy.sign_off"),
        (("--delivery", "reload", "--sign-off", "x" * 201), 3, "copy.argument"),
        (("--delivery", "reload", "--sign-off", "张局长", "--mode", "diff"), 3, "pipeline.order.delivery"),
        (("--sign-off", "张局长"), 3, "copy.argument"),
        (("--overlap", "soon"), 3, "copy.argument"),
        (("--overlap", "-1"), 3, "copy.argument"),
        (("--mode", "often"), 3, "copy.argument"),
        (("--mode",), 3, "copy.argument"),
        (("--rows-per-s", "0"), 3, "copy.argument"),
        (("--quarantine-limit", "2"), 3, "copy.argument"),
        (("--check", "name=required:[1]"), 3, "copy.argument"),
        (("--check", "name=nonsense"), 3, "checks.rule.unknown"),
        (("--check", "name=length:{}"), 3, "checks.rule.parameters"),
        (("--source-options", "/nowhere/at/all.json"), 3, "copy.argument"),
        (("one-too-many",), 3, "copy.argument"),
        (("--pass=geheim",), 3, "copy.argument"),
        (("--tabl", "people"), 3, "copy.argument"),
    ],
)
def test_what_is_wrong_is_told_by_code(sqlite_copy: Copies, more: tuple[str, ...], code: int, problem: str) -> None:
    ended, told = sqlite_copy(*more)

    assert (ended, told["problem"]["code"], told["reconciled"]) == (code, problem, False)
    assert told["problem"]["exit"] == code
    assert "geheim" not in json.dumps(told)


def test_a_reload_keeps_who_allowed_it_in_the_ledger_and_in_the_json(sqlite_copy: Copies) -> None:
    """Also where the ledger was made before it kept sign-offs."""
    sqlite_copy()
    target = sqlite_copy.folder / "b.db"
    change(target, "ALTER TABLE jinqiao_ledger DROP COLUMN approval")

    code, told = sqlite_copy("--delivery", "reload", "--sign-off", "张局长：\n结构已换")
    _, later = sqlite_copy()

    assert (code, told["sign_off"], told["reconciled"]) == (0, "张局长： 结构已换", True)
    assert "sign_off" not in later
    with closing(sqlite3.connect(target)) as ledger:
        kept = dict(ledger.execute("SELECT batch_id, approval FROM jinqiao_ledger WHERE chunk = 0"))
    assert kept[told["batch"]] == "张局长： 结构已换"
    assert kept[later["batch"]] is None


def test_the_ledger_of_a_file_keeps_who_allowed_a_reload(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people(tmp_path / "a.db", some_people(5))
    copies = Copies(tmp_path, f"sqlite:///{tmp_path}/a.db", f"{tmp_path}/b.csv", capsys)

    code, told = copies("--to", "b", "--delivery", "reload", "--sign-off", "张局长")

    assert (code, told["sign_off"]) == (0, "张局长")
    ledger = json.loads((tmp_path / ".jinqiao" / "ledger.json").read_text())
    assert ledger["merged"][told["batch"]]["approval"] == "张局长"


def test_an_argument_that_is_missing_is_told_as_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--json"], ["--json", "a.csv"], ["gopher://x/y", "b.csv", "--json"]):
        assert command.main(words) == 3
        assert json.loads(capsys.readouterr().out)["problem"]["exit"] == 3


def test_help_says_the_exit_codes_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0

    said = capsys.readouterr().out
    assert "PGPASSWORD" in said
    assert all(f"{code} " in said for code in (0, 1, 3, 4, 5, 6, 70, 130))


def test_a_spool_that_cannot_be_made_is_told(sqlite_copy: Copies) -> None:
    (sqlite_copy.folder / "file").write_text("")

    code, told = sqlite_copy("--spool", str(sqlite_copy.folder / "file" / "spool"))

    assert (code, told["problem"]["code"]) == (3, "copy.spool")


def test_an_error_of_a_foreign_kind_is_told_without_its_words(
    sqlite_copy: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a driver's error nor a fault of the program ends without its object, or repeats what may be a row."""
    for problem, code, name in (
        (SideFailed("source", RuntimeError("geheim")), 4, "copy.source"),
        (SideFailed("target", RuntimeError("geheim")), 5, "copy.target"),
        (RuntimeError("geheim"), 70, "copy.fault"),
    ):

        def fail(self: Copying, *, told: Exception = problem, **_: Any) -> None:
            raise told

        with monkeypatch.context() as patched:
            patched.setattr(Copying, "run", fail)
            ended, told = sqlite_copy()
        assert (ended, told["problem"]["code"], told["problem"]["exit"]) == (code, name, code)
        assert "RuntimeError" in told["problem"]["message"]
        assert "geheim" not in json.dumps(told)


def test_the_side_that_failed_is_told_by_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people(tmp_path / "a.db", some_people(5))
    here, nowhere = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/none/x.db"

    assert Copies(tmp_path, nowhere, here, capsys)()[0] == 4
    assert Copies(tmp_path, here, nowhere, capsys)()[0] == 5
    assert command.main(["gopher://x/y", here]) == 3
    assert command.main(["--nonsense"]) == 3


def test_an_http_interface_is_copied_by_its_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pages(asked: Asked) -> Answer:
        number = int(parse_qs(urlsplit(asked.path).query)["page"][0])
        rows = [{"id": at, "name": f"王{at}"} for at in range(number * 3 - 2, min(number * 3, 8) + 1)]
        is_known = asked.headers.get("x-key") == "geheim"
        return Answer(200 if is_known else 401, json.dumps({"items": rows, "total": 8}).encode(), JSON_TYPE)

    table = {
        "path": "/v1/people", "rows": "/items", "key": ["id"], "fields": {"id": "integer", "name": "text"},
        "paging": {"kind": "page", "parameter": "page", "total": "/total"},
    }  # fmt: skip
    options = {"tables": {"people": table}, "auth": {"kind": "header", "name": "X-Key"}}
    (tmp_path / "people.json").write_text(json.dumps(options))
    (tmp_path / "wrong.toml").write_text('[tables.people]\npath = "people"\nfields = {id = "integer"}\n')
    monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "127.0.0.0/8")
    monkeypatch.setenv("JINQIAO_HTTP_TOKEN", "geheim")
    with serving(pages) as server:
        copies = Copies(tmp_path, server.url("/"), f"sqlite:///{tmp_path}/b.db", capsys)
        code, told = copies("--source-options", str(tmp_path / "people.json"))
        undeclared, of_undeclared = copies()
        wrong, of_wrong = copies("--source-options", str(tmp_path / "wrong.toml"))
        turned, of_turned = Copies(tmp_path, f"sqlite:///{tmp_path}/b.db", server.url("/"), capsys)()
        monkeypatch.setenv("JINQIAO_HTTP_TOKEN", "other")
        refused, of_refused = copies("--source-options", str(tmp_path / "people.json"))

    assert (code, told["rows"]["inserted"], told["snapshot"], told["reconciled"]) == (0, 8, "pages", True)
    assert rows_of(tmp_path / "b.db", "people")[7][:2] == (8, "王8")
    assert (undeclared, of_undeclared["problem"]["code"]) == (3, "copy.http_source")
    assert (wrong, of_wrong["problem"]["code"]) == (3, "source.option.wrong")
    assert (turned, of_turned["problem"]["code"]) == (3, "copy.http_target")
    assert (refused, of_refused["problem"]["code"]) == (4, "source.connection.authentication")


def test_nothing_is_staged_for_a_target_that_refuses(sqlite_copy: Copies) -> None:
    people(sqlite_copy.folder / "b.db", [])
    change(sqlite_copy.folder / "b.db", "ALTER TABLE people DROP COLUMN name")
    for _ in range(2):
        code, told = sqlite_copy("--delivery", "upsert")
        assert (code, told["problem"]["code"]) == (command.TARGET, "pipeline.target.drift")
        (run,) = sqlite_copy.spool.runs()
        out = sqlite_copy.spool.outgoing(run)
        assert (out.chunk_numbers(), out.manifest()) == (set(), None)

    # mended, it takes the rows that the source has now
    change(sqlite_copy.folder / "b.db", "DROP TABLE people")
    change(sqlite_copy.folder / "a.db", "DELETE FROM people WHERE id > 10")
    code, told = sqlite_copy("--delivery", "upsert")
    assert (code, told["rows"]["read"]) == (command.COPIED, 10)
    assert sqlite_copy.same()


def test_a_password_in_an_address_is_never_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = command.main(
        [
            "postgresql://clerk:geheim@127.0.0.1:1/x",
            f"sqlite:///{tmp_path}/b.db",
            "--table",
            "t",
            "--spool",
            str(tmp_path),
        ]
    )

    said = capsys.readouterr()
    assert code == 4
    assert "geheim" not in said.out + said.err
    assert not any(b"geheim" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_between_postgresql_servers_rows_travel_as_they_are(server_copy: tuple[Copies, Server]) -> None:
    copies, server = server_copy

    code, told = copies("--chunk-rows", "500", "--reconcile", "content")

    assert (code, told["form"], told["snapshot"]) == (0, "pgcopy", "exported snapshot")
    assert told["readers"] == 2
    assert len(told["chunks"]) > 3
    assert told["content"]["source"] == told["content"]["target"]
    assert differing(server) == 0


def test_contents_that_differ_are_told(server_copy: tuple[Copies, Server]) -> None:
    copies, server = server_copy
    server.execute(
        "CREATE TABLE taken.people (id bigint PRIMARY KEY, name text, born date, paid numeric(12, 2), seen timestamp)",
        "CREATE FUNCTION taken.meddle() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.id = 7 THEN NEW.name := 'meddled'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER meddle BEFORE INSERT ON taken.people FOR EACH ROW EXECUTE FUNCTION taken.meddle()",
    )

    code, told = copies("--reconcile", "content")

    assert (code, told["reconciled"]) == (1, False)
    assert differing(server) == 2


def test_masked_rows_are_compared_as_they_were_sent(server_copy: tuple[Copies, Server]) -> None:
    copies, _ = server_copy

    code, told = copies("--mask", "name=name", "--reconcile", "content", "--suite", "guomi")

    assert (code, told["form"], told["content"]["source"]["method"]) == (0, "arrow", "canonical")


def test_a_killed_copy_goes_on_in_its_snapshot(server_copy: tuple[Copies, Server]) -> None:
    """Rows that are changed after the kill belong to the next copy, not to this one."""
    copies, server = server_copy
    server.execute(
        "INSERT INTO people SELECT i, '王' || i, date '1890-01-01', 1, timestamp '2026-01-01'"
        " FROM generate_series(10000, 260000) AS i",
        "ANALYZE people",
        "CREATE TABLE as_it_was AS SELECT * FROM people",
    )
    slow = copies.arguments("--chunk-rows", "5000", "--rows-per-s", "60000")
    process = subprocess.Popen([sys.executable, "-m", "jinqiao.cli", "copy", *slow])
    try:
        wait_for_splits(copies, 6)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (run_id,) = copies.spool.runs()
        before = {
            chunk["number"]: chunk["digest"]
            for record in copies.spool.outgoing(run_id).staged_splits()
            for chunk in record["chunks"]
        }
        server.execute("UPDATE people SET name = 'later'", "DELETE FROM people WHERE id > 200000")

        code, told = copies("--chunk-rows", "5000", "--rows-per-s", "60000")

        assert (code, told["resumed"]) == (0, 1)
        digests = {chunk["number"]: chunk["digest"] for chunk in told["chunks"]}
        assert {number: digests[number] for number in before} == before
        with server.connect() as connection:
            (lost,) = connection.execute(
                "SELECT count(*) FROM (SELECT id, name FROM as_it_was EXCEPT ALL SELECT id, name FROM taken.people) AS d"
            ).fetchone()
        assert lost == 0
        assert told["rows"]["target"] == ROWS + 250_001
    finally:
        process.kill()
        process.wait()
        server.execute("DROP TABLE as_it_was")


def wait_for_splits(copies: Copies, count: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        lines = [path.read_bytes().count(b"\n") for path in (copies.folder / "spool").rglob("splits.jsonl")]
        if lines and lines[0] >= count:
            return
        time.sleep(0.02)
    raise AssertionError("the copy staged nothing")


@pytest.mark.parametrize("damaged", ["chunk", "manifest.json", "splits.jsonl", "begun.json"])
def test_what_the_disk_has_damaged_is_read_again(sqlite_copy: Copies, damaged: str) -> None:
    """A copy is stopped when everything is staged; meanwhile one byte flips, and the target is a new one."""
    stop_when_staged(sqlite_copy, "--chunk-rows", "10")
    for path in sqlite_copy.folder.glob("b.db*"):
        path.unlink()
    (run_id,) = sqlite_copy.spool.runs()
    out = sqlite_copy.spool.outgoing(run_id)
    flip(out.chunk_path(2) if damaged == "chunk" else out.folder / damaged)
    if damaged != "manifest.json":
        flip(out.folder / "manifest.json")

    code, told = sqlite_copy("--chunk-rows", "10")

    assert (code, told["rows"]["target"]) == (0, 50)
    assert sqlite_copy.same()


def test_a_chunk_damaged_after_the_manifest_is_read_again(sqlite_copy: Copies) -> None:
    stop_when_staged(sqlite_copy, "--chunk-rows", "10")
    for path in sqlite_copy.folder.glob("b.db*"):
        path.unlink()
    (run_id,) = sqlite_copy.spool.runs()
    flip(sqlite_copy.spool.outgoing(run_id).chunk_path(2))

    code, told = sqlite_copy("--chunk-rows", "10")

    assert (code, told["rows"]["target"], told["resumed"]) == (0, 50, 1)
    assert sqlite_copy.same()


def stop_when_staged(copies: Copies, *more: str) -> None:
    """Stop a copy as SIGTERM does, between its manifest and its merge."""
    options = parser().parse(copies.arguments(*more))
    spool = copies.folder / "spool"
    with closing(Copying(request_of(options), spool)) as copying, pytest.raises(RunStopped):
        copying.run(stop=lambda: any(spool.rglob("manifest.json")))


REFUSING = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT CHECK (id <> 50), born DATE, updated DATETIME)"


@pytest.mark.parametrize("delivery", ["mirror", "append"])
def test_a_batch_that_the_target_refused_is_read_anew(sqlite_copy: Copies, delivery: str) -> None:
    """The row is mended at the source, then the same command is given again."""
    target, more = sqlite_copy.folder / "b.db", ("--chunk-rows", "10", "--delivery", delivery)
    people(target, [])
    change(target, "DROP TABLE people", REFUSING)

    refused, told = sqlite_copy(*more)
    left = rows_of(target, "sqlite_master")
    change(sqlite_copy.folder / "a.db", "UPDATE people SET id = 51 WHERE id = 50")
    code, again = sqlite_copy(*more)

    assert (refused, told["problem"]["code"]) == (5, "pipeline.target.refused")
    assert not [row for row in left if str(row[1]).startswith("jinqiao_run_")]
    assert (code, again["rows"]["target"], again["restarted"]) == (0, 50, ["target"])
    assert sqlite_copy.same()


def test_a_batch_whose_merge_may_pass_later_is_kept(sqlite_copy: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_when_staged(sqlite_copy)
    (run_id,) = sqlite_copy.spool.runs()
    monkeypatch.setattr("jinqiao.dataplane.connectors.sqlite_target.BUSY_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(sqlite_copy.folder / "b.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        code, told = sqlite_copy()
    assert (code, told["problem"]["code"]) == (5, "source.connection.busy")
    assert sqlite_copy.spool.outgoing(run_id).manifest() is not None

    (sqlite_copy.folder / "a.db").unlink()
    people(sqlite_copy.folder / "a.db", some_people(50))
    code, told = sqlite_copy()
    assert (code, told["restarted"]) == (0, [])


def test_a_copy_of_another_schema_begins_from_the_beginning(server_copy: tuple[Copies, Server]) -> None:
    copies, server = server_copy
    server.execute(
        "CREATE SCHEMA other",
        "CREATE TABLE other.people (LIKE people INCLUDING ALL)",
        "INSERT INTO other.people SELECT id + 100000, name, born, paid, timestamp '2025-06-01' FROM people",
    )
    other = Copies(copies.folder, f"{copies.source}?schema=other", copies.target, copies._capsys)
    watermark = ("--mode", "watermark", "--watermark", "seen")
    try:
        copies(*watermark)
        code, told = other(*watermark)
    finally:
        server.execute("DROP SCHEMA other CASCADE")

    assert (code, told["rows"]["sent"], told["rows"]["target"]) == (0, ROWS, 2 * ROWS)


def test_a_place_has_one_name_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = place_of(f"sqlite:///{tmp_path}/x.db").name
    assert place_of("sqlite:///x.db").name == place_of("x.db").name == name
    assert place_of("data").name == place_of(f"{tmp_path}/data").name
    here = "postgresql://clerk@db/city"
    assert place_of(f"{here}?schema=public&sslmode=require").name == place_of(here).name
    assert place_of(f"{here}?schema=b").name != place_of(f"{here}?schema=a").name
    assert place_of(f"{here}?dialect=b").name != place_of(here).name


def test_files_of_one_name_in_two_folders_are_two_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--table", "people", "--mode", "watermark", "--watermark", "updated", "--spool", str(tmp_path / "spool")]
    for folder, first in (("a", 1), ("b", 101)):
        (tmp_path / folder).mkdir()
        people(tmp_path / folder / "x.db", some_people(10, first))
        monkeypatch.chdir(tmp_path / folder)
        assert command.main(["sqlite:///x.db", f"sqlite:///{tmp_path}/t.db", *words]) == 0

    assert len(rows_of(tmp_path / "t.db", "people")) == 20
    capsys.readouterr()


@pytest.mark.parametrize(("name", "between"), [("people.txt", ","), ("people.tsv", "\t"), ("People.CSV", ",")])
def test_a_text_file_is_itself_and_not_the_csv_beside_it(tmp_path: Path, name: str, between: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / name).write_text(f"id{between}name\n1{between}王\n", encoding="utf-8")
    (tmp_path / f"{name[:6]}.csv").write_text("id,name\n1,of the csv\n2,of the csv\n", encoding="utf-8")
    words = ["--key", "id", "--spool", str(tmp_path / "spool")]

    assert command.main([str(tmp_path / name), f"sqlite:///{tmp_path}/t.db", "--to", "people", *words]) == 0
    assert command.main([f"sqlite:///{tmp_path}/t.db", str(tmp_path / "out" / name), "--table", "people", *words]) == 0

    assert rows_of(tmp_path / "t.db", "people") == [("1", "王")]
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_file()] == [name]
    written = (tmp_path / "out" / name).read_text(encoding="utf-8")
    assert written.splitlines()[1].replace('"', "") == f"1{between}王"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_two_copies_of_one_table_do_not_share_a_spool(sqlite_copy: Copies) -> None:
    options = parser().parse(sqlite_copy.arguments())
    holding = Copying(request_of(options), spool_of(options))
    try:
        code, told = sqlite_copy()
    finally:
        holding.close()

    assert (code, told["problem"]["code"]) == (3, "copy.under_way")


def test_a_whole_process_tells_its_result_and_its_code(tmp_path: Path) -> None:
    people(tmp_path / "a.db", some_people(5))
    words = [f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db", "--spool", str(tmp_path / "spool"), "--json"]
    run = [sys.executable, "-m", "jinqiao.cli", "copy", *words]

    done = subprocess.run([*run, "--table", "people"], capture_output=True, text=True, check=False)
    wrong = subprocess.run([*run, "--table", "nobody"], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert json.loads(done.stdout)["rows"]["inserted"] == 5
    assert wrong.returncode == 4
    assert json.loads(wrong.stdout)["reconciled"] is False


def test_a_copy_imports_neither_checks_nor_transforms_nor_modes_that_it_was_not_asked_for() -> None:
    said = "import sys; from jinqiao.dataplane.copy import command; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout.split()

    package = "jinqiao.dataplane"
    unwanted = (
        f"{package}.checks.rows", f"{package}.transforms.operations", f"{package}.pipeline.modes.diff",
        f"{package}.pipeline.modes.watermark", f"{package}.connectors.sqlite", "duckdb", "httpx", "gmssl",
    )  # fmt: skip
    assert not set(unwanted) & set(loaded)
