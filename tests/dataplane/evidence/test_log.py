"""Group commit: durable before it is said, chained, numbered without a gap."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jinqiao.dataplane.evidence import log as log_module
from jinqiao.dataplane.evidence.claims import FileClaims
from jinqiao.dataplane.evidence.errors import EvidenceUnavailable, TokenTaken
from jinqiao.dataplane.evidence.log import (
    BATCH_RECORDS,
    EvidenceLog,
    Token,
    connect_read_only,
    count_after,
    delete_bodies,
    lanes,
    read_batches,
)
from jinqiao.dataplane.evidence.records import blank_record, canonical_record, record_from
from jinqiao.dataplane.evidence.verify import verify, verify_batches
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import CallRecord
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.evidence import merkle


def a_record(name: str = "c", **changes: object) -> CallRecord:
    return CallRecord(**{**blank_record(call_id=name, at=moments.now(), gateway="gw-1"), "outcome": "ok", **changes})


def living(path: Path, work: Callable[[EvidenceLog], Awaitable[None]], suite_name: str = "international") -> None:
    async def live() -> None:
        log = EvidenceLog(path, lane="1", suite_name=suite_name)
        log.start()
        try:
            await work(log)
        finally:
            await log.stop()

    asyncio.run(live())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evidence.db"


@given(
    st.builds(
        a_record,
        st.text(max_size=8),
        purpose=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
        items=st.lists(st.text(max_size=5), max_size=3).map(tuple),
        rows=st.integers(0, 2**40),
        at=st.datetimes(timezones=st.just(UTC)),
    )
)
@example(a_record("测", purpose='公租房"核验\\', items=("a", "乙"), rows=3, end_user="\u2028é\x7f\b\f\x1f"))
@example(a_record(at=datetime(2026, 3, 1, tzinfo=UTC)))
def test_the_quick_canonical_form_is_the_contracts_own(record: CallRecord) -> None:
    placed = replace(record, lane="车道", number=7)
    assert canonical_record(record, lane="车道", number=7) == placed.canonical()
    assert record_from(canonical_record(record, lane="车道", number=7)) == placed


@pytest.mark.parametrize("suite_name", ["international", "guomi"])
def test_a_thousand_appends_share_commits_and_verify(path: Path, suite_name: str) -> None:
    async def work(log: EvidenceLog) -> None:
        await asyncio.gather(*(log.append(a_record(f"c{n}")) for n in range(1000)))

    living(path, work, suite_name)
    verdict = verify(path)
    assert (verdict.ok, verdict.records) == (True, 1000)
    assert verdict.batches < 100


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_calls_that_are_being_worked_share_the_commit_of_who_came_first(
    path: Path, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "GATHER_WITHIN_S", 60)
    monkeypatch.setattr(log_module, "QUIET_S", 60)

    async def call(log: EvidenceLog, name: int) -> None:
        for _ in range(name * turns):  # each comes some turns of the loop after the one before
            await asyncio.sleep(0)
        await log.append(a_record(f"c{name}"))

    async def work(log: EvidenceLog) -> None:
        await asyncio.gather(*(call(log, name) for name in range(20)))
        assert log.commits == 1

    living(path, work)


def test_a_record_waits_for_no_slow_turns_of_the_loop(path: Path) -> None:
    async def work(log: EvidenceLog) -> None:
        first, others, turns = log.append(a_record("first")), [], 0
        while not log._committing and not first.done():
            time.sleep(0.002)  # what else the loop works, and brings no record
            if turns % 4 == 0:
                others.append(log.append(a_record("another")))
            turns += 1
            await asyncio.sleep(0)
        assert turns < 10
        await asyncio.gather(first, *others)

    living(path, work)


def test_what_waits_is_written_also_where_the_commits_were_cancelled(path: Path) -> None:
    async def work(log: EvidenceLog) -> None:
        log.append(a_record("first"))
        assert log._work is not None
        log._work.cancel()
        await asyncio.wait([log._work])

    living(path, work)
    assert verify(path).records == 1


def test_a_record_waits_for_a_batch_of_others_at_most(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "GATHER_WITHIN_S", 60)
    monkeypatch.setattr(log_module, "QUIET_S", 60)

    async def work(log: EvidenceLog) -> None:
        first = log.append(a_record("first"))
        following = []
        while not first.done():
            following.append(log.append(a_record("another")))
            await asyncio.sleep(0)
        db = connect_read_only(path)
        (batch, *_) = read_batches(db, lane="1", after=0)
        db.close()
        assert len(batch.records) == BATCH_RECORDS
        await asyncio.gather(*following)

    living(path, work)


def test_what_was_awaited_can_be_read_by_another_at_once(path: Path) -> None:
    async def work(log: EvidenceLog) -> None:
        for n in range(5):
            await log.append(a_record(f"c{n}"))
            db = connect_read_only(path)
            batches = read_batches(db, lane="1", after=0)
            db.close()
            assert [record.call_id for batch in batches for record in batch.records] == [f"c{k}" for k in range(n + 1)]

    living(path, work)


def test_a_later_process_goes_on_where_the_last_one_stopped(path: Path) -> None:
    for n in range(3):

        async def work(log: EvidenceLog, n: int = n) -> None:
            await log.append(a_record(f"c{n}"))

        living(path, work)
    db = connect_read_only(path)
    batches = read_batches(db, lane="1", after=0)
    db.close()
    assert [(batch.batch, [record.number for record in batch.records]) for batch in batches] == [
        (1, [1]),
        (2, [2]),
        (3, [3]),
    ]
    assert batches[0].previous == merkle.GENESIS.hex()
    assert verify_batches(batches, suite_name="international").ok
    assert verify(path).ok


def test_the_file_syncs_fully_and_is_for_its_owner_alone(path: Path) -> None:
    async def work(log: EvidenceLog) -> None:
        assert log._db is not None
        assert log._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert log._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert path.stat().st_mode & 0o077 == 0

    living(path, work)


def test_a_log_of_another_suite_is_not_mixed(path: Path) -> None:
    async def nothing(log: EvidenceLog) -> None: ...

    living(path, nothing)
    with pytest.raises(EvidenceUnavailable):
        living(path, nothing, "guomi")


def test_a_log_that_is_not_open_takes_nothing(path: Path) -> None:
    log = EvidenceLog(path, lane="1", suite_name="international")
    with pytest.raises(EvidenceUnavailable):
        log.append(a_record())


def test_too_many_waiting_are_refused_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jinqiao.dataplane.evidence.log.WAITING_LIMIT", 3)

    async def work(log: EvidenceLog) -> None:
        waiting = [log.append(a_record(f"c{n}")) for n in range(3)]
        with pytest.raises(EvidenceUnavailable):
            log.append(a_record("one too many"))
        await asyncio.gather(*waiting)

    living(path, work)
    assert verify(path).records == 3


def test_after_a_failed_commit_the_chain_goes_on_unbroken(path: Path) -> None:
    async def work(log: EvidenceLog) -> None:
        await log.append(a_record("first"))
        assert log._db is not None
        log._db.close()  # as if the disk had gone away under it
        with pytest.raises(EvidenceUnavailable):
            await log.append(a_record("lost"))
        assert not log.healthy
        await log.append(a_record("second"))
        assert log.healthy

    living(path, work)
    db = connect_read_only(path)
    assert [record.call_id for batch in read_batches(db, lane="1", after=0) for record in batch.records] == [
        "first",
        "second",
    ]
    db.close()
    assert verify(path).ok


def test_a_commit_of_which_it_is_unknown_whether_it_happened_does_not_fork_the_chain(path: Path) -> None:
    async def work(log: EvidenceLog) -> None:
        await log.append(a_record("first"))
        insert = log._insert

        def insert_and_fail(row: object) -> None:
            insert(row)  # type: ignore[arg-type]
            raise sqlite3.OperationalError("disk I/O error")

        log._insert = insert_and_fail  # type: ignore[assignment, method-assign]
        with pytest.raises(EvidenceUnavailable):
            await log.append(a_record("written, not told"))
        log._insert = insert  # type: ignore[method-assign]
        await log.append(a_record("third"))

    living(path, work)
    verdict = verify(path)
    assert (verdict.ok, verdict.records) == (True, 3)


def test_tokens_become_durable_with_their_record(path: Path) -> None:
    async def work(log: EvidenceLog) -> None:
        await asyncio.gather(*(log.append(a_record(), Token(bytes([n]) * 16, 1000 + n)) for n in range(5)))
        assert sorted(token.forget_at for token in log.tokens(1002)) == [1002, 1003, 1004]
        assert {token.value for token in log.tokens(1004)} == {bytes([4]) * 16}

    living(path, work)


def test_deleted_bodies_leave_roots_and_chain_whole(path: Path) -> None:
    async def work(log: EvidenceLog) -> None:
        for n in range(6):
            await log.append(a_record(f"c{n}"))

    living(path, work)
    assert delete_bodies(path, lane="1", up_to=4) == 4
    assert delete_bodies(path, lane="1", up_to=4) == 0
    verdict = verify(path)
    assert (verdict.reason, verdict.records) == ("deletion.not_covered", 6)  # roots and chain hold; no record says why
    assert len(verdict.damage) == 1
    db = connect_read_only(path)
    assert [batch.batch for batch in read_batches(db, lane="1", after=0)] == [5, 6]
    assert count_after(db, lane="1", after=4) == 2
    db.close()


def test_an_odd_leaf_is_not_paired_with_itself() -> None:
    digest = suite("international").digest
    leaves = [merkle.leaf(digest, bytes([n])) for n in range(3)]
    assert merkle.root(digest, leaves) != merkle.root(digest, [*leaves, leaves[-1]])
    assert merkle.root(digest, leaves[:1]) == leaves[0]
    pair = digest(b"\x01" + leaves[0] + leaves[1])
    assert merkle.root(digest, leaves) == digest(b"\x01" + pair + leaves[2])
    with pytest.raises(ValueError, match="at least one"):
        merkle.root(digest, [])


def test_while_a_commit_hangs_nobody_waits_for_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "COMMIT_WITHIN_S", 0.3)

    async def work(log: EvidenceLog) -> None:
        disk, insert = threading.Event(), log._insert
        monkeypatch.setattr(log, "_insert", lambda row: disk.wait() and insert(row))
        first = asyncio.ensure_future(log.append(a_record("first")))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(log.append(a_record("second")))
        for hung in (first, second):
            with pytest.raises(EvidenceUnavailable):
                await asyncio.wait_for(hung, 20)
        with pytest.raises(EvidenceUnavailable):
            await asyncio.wait_for(asyncio.ensure_future(log.append(a_record("late"))), 20)
        disk.set()
        while True:
            try:
                await log.append(a_record("again"))
                return
            except EvidenceUnavailable:
                await asyncio.sleep(0.01)

    living(path, work)
    assert verify(path).ok


def test_lanes_are_found_without_going_through_their_batches(path: Path) -> None:
    for lane in ("b", "a", "c"):

        async def write(lane: str = lane) -> None:
            log = EvidenceLog(path, lane=lane, suite_name="international")
            log.start()
            for number in range(3):
                await log.append(a_record(f"{lane}{number}"))
            await log.stop()

        asyncio.run(write())
    with contextlib.closing(connect_read_only(path)) as db:
        assert lanes(db) == ["a", "b", "c"]
        plan = " ".join(str(row[-1]) for row in db.execute(f"EXPLAIN QUERY PLAN {log_module.LANES}"))
    assert "SCAN batch" not in plan.replace("SCAN batch USING COVERING INDEX sqlite_autoindex_batch_1 (first)", "")


def test_a_clock_that_jumps_ahead_does_not_forget_what_others_claimed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time())

    async def work() -> None:
        claims = FileClaims(path.with_suffix(".turn"))
        log = EvidenceLog(path, lane="1", suite_name="international", claims=claims)
        other = EvidenceLog(path, lane="2", suite_name="international", claims=FileClaims(path.with_suffix(".turn")))
        log.start()
        other.start()
        try:
            await log.append(a_record("a"), Token(b"t" * 16, now + 600))
            with monkeypatch.context() as wrong:
                wrong.setattr(log_module, "time", SimpleNamespace(time=lambda: now + 7200, monotonic=time.monotonic))
                await log.append(a_record("refused"), None)
            with pytest.raises(TokenTaken):
                await other.append(a_record("b"), Token(b"t" * 16, now + 600))
        finally:
            await log.stop()
            await other.stop()

    asyncio.run(work())
