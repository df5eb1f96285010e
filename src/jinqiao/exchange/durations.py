"""How long calls took, as counts by steps: eight steps an octave, so that a percentile read from them is off by less than 5 %.

Counts of steps add up, whatever hours and services they come from; single durations need not be read again.
"""

import math
from collections import Counter
from collections.abc import Mapping

STEPS_PER_OCTAVE = 8


def step_of(duration_us: int) -> int:
    """The step that a duration in microseconds falls into; 0 for 1 µs and less."""
    return int(math.log2(duration_us) * STEPS_PER_OCTAVE) if duration_us > 1 else 0


def middle_us(step: int) -> float:
    """The duration that stands for a step, in microseconds: its geometric middle."""
    return float(2 ** ((step + 0.5) / STEPS_PER_OCTAVE))


def percentile_us(steps: Mapping[int, int], share: float) -> float | None:
    """The duration in microseconds that `share` (0 to 1) of the calls did not exceed; None where there are none."""
    total = sum(steps.values())
    if not total:
        return None
    wanted, seen = max(1, math.ceil(share * total)), 0
    for step in sorted(steps):
        seen += steps[step]
        if seen >= wanted:
            return middle_us(step)
    return None


def add(into: "Counter[int]", kept: Mapping[str, int]) -> None:
    """Add counts as they are kept (JSON: steps are text)."""
    for step, count in kept.items():
        into[int(step)] += count
