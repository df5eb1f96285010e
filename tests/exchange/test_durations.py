"""Percentiles from counts by steps."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from jinqiao.exchange.durations import add, middle_us, percentile_us, step_of

durations = st.lists(st.integers(1, 60_000_000), min_size=1, max_size=200)


@given(durations, st.floats(0.01, 1.0))
def test_a_percentile_is_off_by_less_than_five_per_cent(values: list[int], share: float) -> None:
    found = percentile_us(Counter(step_of(value) for value in values), share)

    exact = sorted(values)[max(1, -(-share * len(values) // 1).__int__()) - 1]
    assert found is not None
    assert abs(found - exact) <= 0.05 * exact + 0.1


@given(durations, durations)
def test_counts_of_two_hours_add_up(first: list[int], second: list[int]) -> None:
    joint: Counter[int] = Counter(step_of(value) for value in first)
    add(joint, {str(step): count for step, count in Counter(step_of(value) for value in second).items()})

    assert joint == Counter(step_of(value) for value in first + second)


def test_no_calls_have_no_percentile() -> None:
    assert percentile_us({}, 0.5) is None


def test_steps_grow_with_the_duration() -> None:
    assert [step_of(value) for value in (0, 1, 2, 1000)] == [0, 0, 8, 79]
    assert middle_us(79) > 900
