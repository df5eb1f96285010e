"""Each way to break a log is found, and named by lane, batch and record."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jinqiao.dataplane.evidence import merkle
from jinqiao.dataplane.evidence.errors import EvidenceBroken
from jinqiao.dataplane.evidence.log import EvidenceLog, connect_read_only, read_batches
from jinqiao.dataplane.evidence.verify import verify, verify_batches
from jinqiao.kernel.crypto.suites import suite
from tests.dataplane.evidence.test_log import a_record

SUITES = ["international", "guomi"]


@pytest.fixture(params=SUITES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A log of five batches of three records each."""
    file = tmp_path / "evidence.db"

    async def write() -> None:
        log = EvidenceLog(file, lane="1", suite_name=request.param)
        log.start()
        for batch in range(5):
            await asyncio.gather(*(log.append(a_record(f"c{batch}{n}", rows=n)) for n in range(3)))
        await log.stop()

    asyncio.run(write())
    assert verify(file).ok
    return file


def sql(statement: str, *parameters: object) -> Callable[[sqlite3.Connection], object]:
    return lambda db: db.execute(statement, parameters)


def edit_record(db: sqlite3.Connection) -> None:
    (bodies,) = db.execute("SELECT bodies FROM batch WHERE batch = 3").fetchone()
    lines = bodies.split("\n")
    lines[1] = lines[1].replace('"rows":1', '"rows":9')
    db.execute("UPDATE batch SET bodies = ? WHERE batch = 3", ("\n".join(lines),))


def edit_record_and_its_leaf(db: sqlite3.Connection) -> None:
    (name,) = db.execute("SELECT value FROM about WHERE name = 'suite'").fetchone()
    edit_record(db)
    bodies, leaves = db.execute("SELECT bodies, leaves FROM batch WHERE batch = 3").fetchone()
    leaf = merkle.leaf(suite(name).digest, bodies.split("\n")[1].encode())
    db.execute("UPDATE batch SET leaves = ? WHERE batch = 3", (leaves[:32] + leaf + leaves[64:],))


def edit_whole_batch(db: sqlite3.Connection) -> None:
    (name,) = db.execute("SELECT value FROM about WHERE name = 'suite'").fetchone()
    digest = suite(name).digest
    edit_record_and_its_leaf(db)
    leaves, previous = db.execute("SELECT leaves, previous FROM batch WHERE batch = 3").fetchone()
    root = merkle.root(digest, [leaves[at : at + 32] for at in range(0, 96, 32)])
    chain = merkle.link(digest, previous, root)
    db.execute("UPDATE batch SET merkle_root = ?, chain = ? WHERE batch = 3", (root, chain))


def drop_line(db: sqlite3.Connection) -> None:
    (bodies,) = db.execute("SELECT bodies FROM batch WHERE batch = 3").fetchone()
    db.execute("UPDATE batch SET bodies = ? WHERE batch = 3", ("\n".join(bodies.split("\n")[:2]),))


def add_line(db: sqlite3.Connection) -> None:
    (bodies,) = db.execute("SELECT bodies FROM batch WHERE batch = 3").fetchone()
    db.execute("UPDATE batch SET bodies = ? WHERE batch = 3", (bodies + "\n" + bodies.split("\n")[0],))


def swap_lines(db: sqlite3.Connection) -> None:
    bodies, leaves = db.execute("SELECT bodies, leaves FROM batch WHERE batch = 3").fetchone()
    first, second, third = bodies.split("\n")
    swapped = leaves[32:64] + leaves[:32] + leaves[64:]
    db.execute("UPDATE batch SET bodies = ?, leaves = ? WHERE batch = 3", ("\n".join([second, first, third]), swapped))


@pytest.mark.parametrize(
    ("damage", "place", "reason"),
    [
        (edit_record, "lane 1, record 8 (batch 3)", "its text was changed"),
        (edit_record_and_its_leaf, "lane 1, batch 3", "its Merkle root does not fit its records"),
        (edit_whole_batch, "lane 1, batch 4", "it does not follow the batch before it"),
        (drop_line, "lane 1, record 9 (batch 3)", "it is missing"),
        (add_line, "lane 1, record 10 (batch 3)", "it belongs to no batch"),
        (swap_lines, "lane 1, record 7 (batch 3)", "its text belongs to another place"),
        (sql("DELETE FROM batch WHERE batch = 3"), "lane 1, batch 3", "it is missing"),
        (sql("DELETE FROM batch WHERE batch = 1"), "lane 1, batch 1", "it is missing"),
        (
            sql("UPDATE batch SET chain = zeroblob(32) WHERE batch = 2"),
            "lane 1, batch 2",
            "its chain value does not fit",
        ),
        (
            sql("UPDATE batch SET merkle_root = zeroblob(32) WHERE batch = 2"),
            "lane 1, batch 2",
            "its Merkle root does not fit its records",
        ),
        (
            sql("UPDATE batch SET previous = zeroblob(32) WHERE batch = 2"),
            "lane 1, batch 2",
            "it does not follow the batch before it",
        ),
        (
            sql("UPDATE batch SET leaves = zeroblob(64) WHERE batch = 2"),
            "lane 1, batch 2",
            "its leaves are not as many as its records",
        ),
        (
            sql("UPDATE batch SET leaves = 'x' WHERE batch = 2"),
            "lane 1, batch 2",
            "its leaves are not as many as its records",
        ),
        (
            sql("UPDATE batch SET first_number = 9 WHERE batch = 2"),
            "lane 1, batch 2",
            "it begins with record 9 instead of 4",
        ),
        (
            sql("UPDATE batch SET records = 2 WHERE batch = 2"),
            "lane 1, batch 2",
            "its leaves are not as many as its records",
        ),
        (sql("UPDATE batch SET batch = 9 WHERE batch = 5"), "lane 1, batch 5", "it is missing"),
        (sql("UPDATE batch SET lane = '2' WHERE batch = 5"), "lane 2, batch 1", "it is missing"),
        (sql("DELETE FROM about"), "file", "it does not say its suite"),
        (sql("UPDATE about SET value = 'none'"), "file", "it cannot be read (SuiteUnknown)"),
        (sql("DROP TABLE batch"), "file", "it cannot be read (OperationalError)"),
    ],
)
def test_a_broken_log_names_what_is_broken(
    path: Path, damage: Callable[[sqlite3.Connection], object], place: str, reason: str
) -> None:
    with sqlite3.connect(path) as db:
        damage(db)
    db.close()

    verdict = verify(path)

    assert (verdict.ok, verdict.place, verdict.reason) == (False, place, reason)
    with pytest.raises(EvidenceBroken):
        verdict.demand()


def test_a_log_that_was_cut_off_or_written_anew_shows_by_what_others_saw(path: Path) -> None:
    heads = dict(verify(path).heads)
    assert verify(path, heads=heads).ok
    (number, chain) = heads["1"]
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM batch WHERE batch = 5")
    db.close()

    assert verify(path).ok  # the rest is a chain by itself
    cut = verify(path, heads=heads)
    assert (cut.ok, cut.place, cut.reason) == (False, "lane 1, batch 5", "it is missing: the log was cut off")
    other = verify(path, heads={"1": (4, chain)})
    assert (other.ok, other.reason) == (False, "its chain value is not the one seen before")
    assert verify(path, heads={"7": (number, chain)}).place == "lane 7"


def test_a_file_that_is_no_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "nothing.db")
    (tmp_path / "text.db").write_text("x" * 5000)
    assert verify(tmp_path / "text.db").place == "file"


def test_shipped_batches_verify_alike_and_a_change_shows(path: Path) -> None:
    db = connect_read_only(path)
    (name,) = db.execute("SELECT value FROM about WHERE name = 'suite'").fetchone()
    batches = read_batches(db, lane="1", after=0)
    db.close()
    again = [type(batch).from_json(json.loads(json.dumps(batch.to_json()))) for batch in batches]
    verdict = verify_batches(again, suite_name=name)
    assert (verdict.ok, verdict.batches, verdict.records) == (True, 5, 15)
    assert verdict.heads == verify(path).heads

    changed = replace(batches[2].records[0], rows=99)
    damaged = [
        (
            [*batches[:2], replace(batches[2], records=(changed, *batches[2].records[1:]))],
            "its Merkle root does not fit its records",
        ),
        (batches[1:], "it is missing"),
        ([batches[0], batches[2]], "it is missing"),
        ([replace(batches[0], records=())], "it has no records"),
        ([replace(batches[0], records=batches[0].records[1:])], "it is missing"),
        ([replace(batches[0], chain="00" * 32)], "its chain value does not fit"),
        ([batches[0], replace(batches[1], previous="00" * 32)], "it does not follow the batch before it"),
    ]
    for broken, reason in damaged:
        assert verify_batches(broken, suite_name=name).reason == reason
