"""What the gateway remembers for a while: nonces of ten minutes, calls of one."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jinqiao.dataplane.evidence.log import EvidenceLog
from jinqiao.dataplane.evidence.records import blank_record
from jinqiao.dataplane.gateway.nonces import MARGIN_S, WINDOW_S, NonceStore
from jinqiao.dataplane.gateway.rate import RateMeter
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import CallRecord
from jinqiao.kernel.httpsig import NonceReplayed, OutsideWindow, SignedBy

T0 = 1_770_000_000


def signed(nonce: str, *, created: int = T0, key_id: str = "k") -> SignedBy:
    return SignedBy(key_id, "hmac-sha256", nonce, created)


def test_a_nonce_is_new_once_for_each_key() -> None:
    store = NonceStore()
    store.take(signed("a"), T0)
    store.take(signed("b"), T0)
    store.take(signed("a", key_id="other"), T0)
    with pytest.raises(NonceReplayed):
        store.take(signed("a"), T0)
    with pytest.raises(NonceReplayed):
        store.take(signed("a", created=T0 + 300), T0)


@pytest.mark.parametrize("age_s", [0, 1, 599, 600])
@pytest.mark.parametrize("skew_s", [-600, 0, 600])
def test_a_nonce_is_remembered_as_long_as_its_signature_could_be_taken(age_s: int, skew_s: int) -> None:
    """A caller's clock may be off by the window on either side: its signature lives until `created` plus the window."""
    store = NonceStore()
    created = T0 + skew_s
    store.take(signed("a", created=created), T0)
    last_chance = created + WINDOW_S
    with pytest.raises(NonceReplayed):
        store.take(signed("a", created=created), min(T0 + age_s, last_chance))


def test_memory_is_given_back() -> None:
    store = NonceStore()
    for second in range(3000):
        store.take(signed(f"n{second}", created=T0 + second), T0 + second)
    assert len(store) < WINDOW_S + MARGIN_S + 120


def test_nonces_are_read_back_from_the_evidence(tmp_path: Path) -> None:
    async def live() -> None:
        log = EvidenceLog(tmp_path / "e.db", lane="1", suite_name="international")
        log.start()
        store = NonceStore()
        tokens = [store.take(signed("a"), T0), store.take(signed("late", created=T0 - 590), T0)]
        for token in tokens:
            record = CallRecord(**blank_record(call_id="c", at=moments.now(), gateway="g"))
            await log.append(record, token)
        again = NonceStore()
        again.load(log, T0 + 100)
        assert len(again) == 1
        with pytest.raises(NonceReplayed):
            again.take(signed("a"), T0 + 100)
        await log.stop()

    asyncio.run(live())


@given(st.lists(st.floats(0, 30), min_size=1, max_size=80), st.integers(1, 6))
@example([4.3667683903144425, 0.0], 1)
def test_no_minute_ever_holds_more_calls_than_the_limit(gaps: list[float], limit: int) -> None:
    meter, now, admitted = RateMeter(), 0.0, list[float]()
    for gap in gaps:
        now += gap
        wait = meter.wait_s("s", limit, now)
        if wait == 0:
            meter.count("s", now)
            admitted.append(now)
        else:
            assert 0 < wait <= 60
    for at in admitted:
        assert sum(at <= other < at + 60 for other in admitted) <= limit


def test_after_the_wait_that_was_told_the_next_call_is_admitted() -> None:
    meter = RateMeter()
    for second in (0, 10, 20):
        assert meter.wait_s("s", 3, second) == 0
        meter.count("s", second)
    wait = meter.wait_s("s", 3, 25)
    assert wait == 35
    assert meter.wait_s("s", 3, 25 + wait) == 0
    assert meter.wait_s("other", 3, 25) == 0


def test_a_limit_of_nothing_admits_nothing() -> None:
    meter = RateMeter()
    assert meter.wait_s("s", 0, 0) == 60
    meter.count("s", 0)
    assert meter.wait_s("s", 0, 100) == 60
    meter.keep_only({"other"})
    assert meter.wait_s("s", 1, 0) == 0


def test_of_what_others_admit_a_minute_is_kept_where_nobody_asks_for_it_here() -> None:
    meter = RateMeter()
    for second in range(1000):
        meter.hear("marriage", float(second), 5)
    assert len(meter._calls["marriage"]) == 300
    assert meter.wait_s("marriage", 301, 999.0) == 0
    assert meter.wait_s("marriage", 300, 999.0) > 0


def test_a_clock_that_is_set_back_revives_no_nonce() -> None:
    store = NonceStore()
    store.take(signed("a", created=T0), T0)
    store.take(signed("b", created=T0 + 3600), T0 + 3600)
    with pytest.raises(OutsideWindow):
        store.take(signed("a", created=T0), T0)
    store.take(signed("c", created=T0 + 3000), T0 + 3000)
