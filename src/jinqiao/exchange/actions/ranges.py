"""Ranges of what tasks may be set to."""

from typing import Any

from jinqiao.exchange.errors import LimitBroken, SettingWrong

SLOWEST_ROWS_PER_S, FASTEST_ROWS_PER_S = 10, 10_000_000
SLOWEST_MB_PER_S, FASTEST_MB_PER_S = 0.01, 10_000
LONGEST_OVERLAP_S = 31 * 86_400
FEWEST_CHUNK_ROWS, MOST_CHUNK_ROWS = 1_000, 1_000_000
MOST_ATTEMPTS = 20
SHORTEST_BACK_OFF_S, LONGEST_BACK_OFF_S = 5, 86_400


def within(field: str, value: float, least: float, most: float) -> Any:
    if not least <= value <= most:
        raise SettingWrong(field=field, lowest=least, highest=most)
    return value


def check_rate(mb_per_s: float | None) -> None:
    if mb_per_s is not None:
        within("mb_per_s", mb_per_s, SLOWEST_MB_PER_S, FASTEST_MB_PER_S)


def check_speed(rows_per_s: int | None) -> None:
    if rows_per_s is not None and not SLOWEST_ROWS_PER_S <= rows_per_s <= FASTEST_ROWS_PER_S:
        raise LimitBroken(lowest=SLOWEST_ROWS_PER_S, highest=FASTEST_ROWS_PER_S)
