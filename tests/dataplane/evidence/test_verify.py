"""Each way to break a log is found, and named by lane, batch and record."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jinqiao.dataplane.evidence.errors import EvidenceBroken
from jinqiao.dataplane.evidence.log import EvidenceLog, connect_read_only, read_batches
from jinqiao.dataplane.evidence.verify import demand, verify, verify_batches
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.contracts.evidence import EvidenceBatch
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.evidence import merkle
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


def swap_lines_only(db: sqlite3.Connection) -> None:
    (bodies,) = db.execute("SELECT bodies FROM batch WHERE batch = 3").fetchone()
    first, second, third = bodies.split("\n")
    db.execute("UPDATE batch SET bodies = ? WHERE batch = 3", ("\n".join([second, first, third]),))


@pytest.mark.parametrize(
    ("damage", "place", "code"),
    [
        (edit_record, "lane 1, batch 3, record 8", "record.altered"),
        (edit_record_and_its_leaf, "lane 1, batch 3", "batch.root"),
        (edit_whole_batch, "lane 1, batch 4", "batch.previous"),
        (drop_line, "lane 1, batch 3, record 9", "record.removed"),
        (add_line, "lane 1, batch 3, record 10", "record.inserted"),
        (swap_lines, "lane 1, batch 3, record 7", "record.number_gap"),
        (swap_lines_only, "lane 1, batch 3", "record.reordered"),
        (sql("DELETE FROM batch WHERE batch = 3"), "lane 1, batch 3", "batch.missing"),
        (sql("DELETE FROM batch WHERE batch = 1"), "lane 1, batch 1", "batch.missing"),
        (sql("UPDATE batch SET chain = zeroblob(32) WHERE batch = 2"), "lane 1, batch 2", "batch.chain"),
        (sql("UPDATE batch SET merkle_root = zeroblob(32) WHERE batch = 2"), "lane 1, batch 2", "batch.root"),
        (sql("UPDATE batch SET previous = zeroblob(32) WHERE batch = 2"), "lane 1, batch 2", "batch.previous"),
        (sql("UPDATE batch SET leaves = zeroblob(64) WHERE batch = 2"), "lane 1, batch 2", "batch.form"),
        (sql("UPDATE batch SET leaves = 'x' WHERE batch = 2"), "lane 1, batch 2", "batch.form"),
        (sql("UPDATE batch SET first_number = 9 WHERE batch = 2"), "lane 1, batch 2, record 9", "record.number_gap"),
        (sql("UPDATE batch SET records = 2 WHERE batch = 2"), "lane 1, batch 2", "batch.form"),
        (sql("UPDATE batch SET batch = 9 WHERE batch = 5"), "lane 1, batch 5", "batch.missing"),
        (sql("UPDATE batch SET lane = '2' WHERE batch = 5"), "lane 2, batch 1", "batch.missing"),
        (sql("UPDATE batch SET bodies = NULL WHERE batch = 2"), "lane 1, batch 2", "deletion.not_covered"),
        (sql("DELETE FROM about"), "", "suite.unknown"),
        (sql("UPDATE about SET value = 'none'"), "", "suite.unknown"),
        (sql("DROP TABLE batch"), "", "pack.unreadable"),
    ],
)
def test_a_broken_log_names_what_is_broken(
    path: Path, damage: Callable[[sqlite3.Connection], object], place: str, code: str
) -> None:
    with sqlite3.connect(path) as db:
        damage(db)
    db.close()

    verdict = verify(path)

    assert (verdict.ok, verdict.place, verdict.reason) == (False, place, code)
    with pytest.raises(EvidenceBroken):
        demand(verdict)


def test_a_log_that_was_cut_off_or_written_anew_shows_by_what_others_saw(path: Path) -> None:
    heads = dict(verify(path).heads)
    assert verify(path, heads=heads).ok
    (number, chain) = heads["1"]
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM batch WHERE batch = 5")
    db.close()

    assert verify(path).ok  # the rest is a chain by itself
    cut = verify(path, heads=heads)
    assert (cut.ok, cut.place, cut.reason) == (False, "lane 1", "lane.cut_off")
    other = verify(path, heads={"1": (4, chain)})
    assert (other.ok, other.reason) == (False, "lane.head_differs")
    assert verify(path, heads={"7": (number, chain)}).reason == "lane.missing"


def test_a_file_that_is_no_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "nothing.db")
    (tmp_path / "text.db").write_text("x" * 5000)
    assert verify(tmp_path / "text.db").reason == "pack.unreadable"


def test_shipped_batches_verify_alike_and_a_change_shows(path: Path) -> None:
    db = connect_read_only(path)
    (name,) = db.execute("SELECT value FROM about WHERE name = 'suite'").fetchone()
    batches = read_batches(db, lane="1", after=0)
    db.close()
    again = [type(batch).from_json(json.loads(json.dumps(batch.to_json()))) for batch in batches]
    verdict = verify_batches(again, suite_name=name)
    assert (verdict.ok, verdict.batches, verdict.records) == (True, 5, 15)
    assert verdict.heads == verify(path).heads

    changed = batches[2].lines[0].replace('"rows":0', '"rows":99')
    damaged = [
        ([*batches[:2], replace(batches[2], lines=(changed, *batches[2].lines[1:]))], "batch.root"),
        (batches[1:], "batch.missing"),
        ([batches[0], batches[2]], "batch.missing"),
        ([replace(batches[0], lines=batches[0].lines[1:])], "record.number_gap"),
        ([replace(batches[0], chain="00" * 32)], "batch.chain"),
        ([batches[0], replace(batches[1], previous="00" * 32)], "batch.previous"),
    ]
    for broken, code in damaged:
        assert verify_batches(broken, suite_name=name).reason == code


def test_a_batch_of_the_release_before_keeps_its_bytes(path: Path) -> None:
    """Records of version 1, shipped as objects: the canonical form leads back to the bytes that were recorded."""
    db = connect_read_only(path)
    (batch, *_) = read_batches(db, lane="1", after=0)
    db.close()
    old = []
    for line in batch.lines:
        fields = json.loads(line)
        for name in ("environment", "operation", "address", "role", "keys", "subjects", "confirms"):
            del fields[name]
        old.append({**fields, "_": "CallRecord/1"})
    shipped = {**batch.to_json(), "_": "EvidenceBatch/1", "records": old}
    del shipped["lines"]

    taken = EvidenceBatch.from_json(shipped)

    assert [json.loads(line) for line in taken.lines] == old
    assert taken.lines[0] == canonical_json(old[0]).decode()
    assert [(record.number, record.operation) for record in taken.records] == [(1, "query"), (2, "query"), (3, "query")]
