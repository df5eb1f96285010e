"""The draw: fixed by its seed, the same in whatever order, within its bounds."""

from hypothesis import given
from hypothesis import strategies as st

from jinqiao.exchange.drawing import drawn, new_seed, sample_size, seed_digest

calls = st.lists(st.text("abcdef0123456789", min_size=4, max_size=12), unique=True, max_size=60)
suites = st.sampled_from(["international", "guomi"])


@given(calls, st.randoms(use_true_random=False), st.integers(0, 20), suites)
def test_order_and_repetition_change_nothing(ids: list[str], random: object, count: int, suite_name: str) -> None:
    seed, other = bytes(32), list(ids)
    random.shuffle(other)  # type: ignore[attr-defined]

    first = drawn(seed, "2026-03", ids, count, suite_name=suite_name)
    assert first == drawn(seed, "2026-03", other, count, suite_name=suite_name)
    assert len(first) == min(count, len(ids))
    assert {call_id for _score, call_id in first} <= set(ids)


@given(st.integers(1, 10**6), st.floats(0.001, 1), st.integers(0, 5), st.integers(5, 100))
def test_a_sample_keeps_its_bounds(candidates: int, share: float, least: int, most: int) -> None:
    size = sample_size(candidates, share=share, least=least, most=most)

    assert min(least, candidates) <= size <= min(most, candidates)


def test_a_draw_can_be_done_with_other_tools() -> None:
    """HMAC-SHA-256 of `2026-03\\nc1` under 32 zero bytes, as any tool computes it."""
    import hashlib
    import hmac

    ((score, call_id),) = drawn(bytes(32), "2026-03", ["c1"], 5, suite_name="international")

    assert (score, call_id) == (hmac.digest(bytes(32), b"2026-03\nc1", "sha256").hex(), "c1")
    assert seed_digest(bytes(32), "international") == hashlib.sha256(bytes(32)).hexdigest()


def test_seeds_differ() -> None:
    assert len({new_seed() for _ in range(8)}) == 8
