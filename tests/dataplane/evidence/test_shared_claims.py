"""Tokens that replicas share in a real PostgreSQL: one of them has each, whatever happens to their connections."""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jinqiao.dataplane.evidence import shared_claims
from jinqiao.dataplane.evidence.errors import ClaimsUnavailable, TokenTaken
from jinqiao.dataplane.evidence.log import EvidenceLog, Token
from jinqiao.dataplane.evidence.shared_claims import TABLE, SharedClaims
from jinqiao.dataplane.evidence.verify import verify
from jinqiao.kernel.ports import free_port
from tests import servers
from tests.dataplane.evidence.test_log import a_record

pytestmark = pytest.mark.servers
LATER = 4_000_000_000


@pytest.fixture
def database(postgresql_server: servers.Server) -> Iterator[servers.Server]:
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}")
    yield postgresql_server
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}")


class Replica:
    """What a log does with its claims, without a log."""

    def __init__(self, url: str) -> None:
        self.claims = SharedClaims(url)
        self.db = sqlite3.connect(":memory:")
        self.inserted: list[bytes] = []

    def write(self, *tokens: bytes) -> frozenset[bytes]:
        return self.claims.write(self.db, [(token, LATER) for token in tokens], 0, lambda: self.inserted.extend(tokens))

    def close(self) -> None:
        self.claims.close()
        self.db.close()


@pytest.fixture
def replicas(database: servers.Server) -> Iterator[tuple[Replica, Replica]]:
    both = Replica(database.url), Replica(database.url)
    yield both
    for one in both:
        one.close()


def reach(replica: Replica) -> None:
    """Wait until it reaches the table again."""
    until = time.monotonic() + 20
    while not replica.claims.check():
        assert time.monotonic() < until
        time.sleep(0.05)


def token(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_a_token_is_of_who_claims_it_first_and_the_rest_of_its_batch_is_written(
    replicas: tuple[Replica, Replica],
) -> None:
    first, second = replicas
    assert first.write(token(1), token(2)) == frozenset()
    assert second.write(token(2), token(3)) == {token(2)}
    assert second.inserted == []
    assert second.write(token(3)) == frozenset()
    assert (first.inserted, second.inserted) == ([token(1), token(2)], [token(3)])
    assert first.write(token(3)) == {token(3)}
    assert first.write() == frozenset()


def test_a_token_that_stands_twice_in_one_batch_is_of_nobody(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    assert first.write(token(5), token(6), token(5)) == {token(5)}
    assert first.write(token(6)) == frozenset()
    assert second.write(token(6)) == {token(6)}  # what was in the batch beside it is claimed all the same


def test_of_two_who_claim_the_same_at_the_same_moment_one_gets_it_and_neither_waits_for_ever(
    replicas: tuple[Replica, Replica],
) -> None:
    rounds = 200
    ready = threading.Barrier(2, timeout=30)
    got: dict[int, list[frozenset[bytes]]] = {0: [], 1: []}

    def claim(who: int) -> None:
        for number in range(rounds):
            wanted = [token(1000 + number * 8 + part) for part in range(8)]
            ready.wait()
            got[who].append(replicas[who].write(*(wanted if who else reversed(wanted))))

    threads = [threading.Thread(target=claim, args=(who,)) for who in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number, (one, other) in enumerate(zip(got[0], got[1], strict=True)):
        everything = {token(1000 + number * 8 + part) for part in range(8)}
        assert one | other == everything  # what the one has is taken for the other
        assert not one & other


def test_a_connection_that_was_cut_is_made_again_and_the_claim_is_one(
    replicas: tuple[Replica, Replica], database: servers.Server
) -> None:
    first, second = replicas
    first.write(token(1))
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jinqiao gateway'"
    )
    assert first.write(token(1), token(2)) == {token(1)}
    assert first.write(token(2)) == frozenset()
    assert second.write(token(2)) == {token(2)}


def test_a_table_that_was_dropped_is_made_anew_with_what_the_log_remembers(
    replicas: tuple[Replica, Replica], database: servers.Server
) -> None:
    first, second = replicas
    first.claims.prepare(first.db, lambda: iter([(token(1), LATER)]))
    assert first.write(token(2)) == frozenset()
    assert second.write(token(1)) == {token(1)}
    database.execute(f"DROP TABLE {TABLE}")
    with pytest.raises(ClaimsUnavailable):
        second.write(token(9))
    with pytest.raises(ClaimsUnavailable):
        first.write(token(8))
    reach(first)
    reach(second)
    assert second.write(token(1)) == {token(1)}


def test_a_table_that_another_made_anew_while_nobody_called_here_gets_what_the_log_remembers(
    replicas: tuple[Replica, Replica], database: servers.Server
) -> None:
    idle, busy = replicas
    idle.claims.prepare(idle.db, lambda: iter([(token(1), LATER)]))
    assert idle.write(token(2)) == frozenset()
    assert busy.write(token(3)) == frozenset()
    database.execute(f"DROP TABLE {TABLE}")
    with pytest.raises(ClaimsUnavailable):
        busy.write(token(4))
    reach(busy)
    assert idle.claims.check()
    assert busy.write(token(1)) == {token(1)}


def test_old_tokens_are_forgotten_by_the_clock_of_the_database(
    replicas: tuple[Replica, Replica], database: servers.Server
) -> None:
    first, second = replicas
    now = int(time.time())
    for number, age in ((1, 10), (2, 500), (3, 700), (4, 5000)):
        first.claims.write(first.db, [(token(number), now - age)], now, list)
    second.write(token(5))  # its first claim sweeps
    kept = {bytes(value) for (value,) in database.fetch(f"SELECT token FROM {TABLE}")}
    assert kept == {token(1), token(2), token(5)}


def test_a_database_that_is_not_reached_refuses_at_once_and_its_password_is_said_nowhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    replica = Replica(f"postgresql://gateway:geheim-9@127.0.0.1:{port}/claims")
    with pytest.raises(ClaimsUnavailable) as refused:
        replica.write(token(1))
    with pytest.raises(ClaimsUnavailable):
        replica.write(token(2))
    assert not replica.claims.check()
    assert replica.inserted == []
    assert replica.write() == frozenset()
    told = caplog.text + str(refused.value) + repr(refused.value) + str(refused.value.__cause__)
    assert "OperationalError" in caplog.text
    assert "geheim" not in told
    assert str(port) not in told
    replica.close()


def test_a_log_whose_claims_are_away_refuses_what_has_a_token_and_writes_what_has_none(tmp_path: Path) -> None:
    claims = SharedClaims(f"postgresql://x@127.0.0.1:{free_port()}/x")

    async def live() -> None:
        log = EvidenceLog(tmp_path / "evidence.db", lane="a-1", suite_name="international", claims=claims)
        log.start()
        try:
            results = await asyncio.gather(
                log.append(a_record("call"), Token(token(1), LATER)),
                log.append(a_record("refused")),
                log.append(a_record("other"), Token(token(2), LATER)),
                return_exceptions=True,
            )
            assert [type(result) for result in results] == [ClaimsUnavailable, type(None), ClaimsUnavailable]
            assert log.healthy
        finally:
            await log.stop()

    asyncio.run(live())
    verdict = verify(tmp_path / "evidence.db")
    assert (verdict.ok, verdict.records) == (True, 1)


def test_logs_of_two_homes_record_a_token_once(tmp_path: Path, database: servers.Server) -> None:
    async def live() -> list[object]:
        logs = [
            EvidenceLog(
                tmp_path / name / "evidence.db",
                lane=f"{name}-1",
                suite_name="international",
                claims=SharedClaims(database.url),
            )
            for name in "ab"
        ]
        for log in logs:
            log.start()
        try:
            return await asyncio.gather(
                *(
                    log.append(a_record(f"{log.lane} {number}"), Token(token(number), LATER))
                    for number in range(300)
                    for log in logs
                ),
                return_exceptions=True,
            )
        finally:
            for log in logs:
                await log.stop()

    results = asyncio.run(live())
    for number in range(300):
        kinds = {type(result) for result in results[number * 2 : number * 2 + 2]}
        assert kinds == {type(None), TokenTaken}
    written = [verify(tmp_path / name / "evidence.db") for name in "ab"]
    assert all(verdict.ok for verdict in written)
    assert sum(verdict.records for verdict in written) == 300


def test_what_a_busy_log_remembers_is_claimed_in_parts(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    mine = [os.urandom(16) for _ in range(25_000)]
    first.claims.prepare(first.db, lambda: ((value, LATER) for value in mine))
    assert first.claims.check()
    assert second.write(mine[0], mine[-1]) == {mine[0], mine[-1]}


def test_what_is_over_goes_as_fast_as_it_comes_and_costs_no_claim_where_it_cannot_go(
    database: servers.Server, replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = replicas
    monkeypatch.setattr(shared_claims, "SWEEP_AT_ONCE", 2)
    monkeypatch.setattr(shared_claims, "SWEEP", shared_claims.SWEEP.replace("LIMIT 5000", "LIMIT 2"))
    assert first.write(token(1)) == frozenset()
    database.execute(
        f"INSERT INTO {TABLE} SELECT decode(lpad(n::text, 32, 'e'), 'hex'), 1, '' FROM generate_series(1, 6) AS n"
    )
    first.claims._sweep_at = 0.0
    for number in range(2, 6):
        assert first.write(token(number)) == frozenset()
    assert database.fetch(f"SELECT count(*) FROM {TABLE} WHERE forget_at = 1") == [(0,)]

    monkeypatch.setattr(shared_claims, "SWEEP", "DELETE FROM nowhere")
    first.claims._sweep_at = 0.0
    assert first.write(token(7)) == frozenset()
    assert token(7) in first.inserted
