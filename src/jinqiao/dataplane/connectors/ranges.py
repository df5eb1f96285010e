"""Splits by ranges of a whole-number key: `10:20` is from 10, before 20; `:20` and `20:` are open."""

import math

from jinqiao.dataplane.connectors.snapshots import WHOLE

MOST_SPLITS = 4_096
LEAST_SHARE = 50  # one in so many of the rows passed must be of the window


def key_ranges(first: int | None, last: int | None, rows: int | None, chunk_rows: int) -> tuple[str, ...]:
    """Ranges with about `chunk_rows` rows each, if the keys lie evenly from `first` to `last`; together they hold every key.

    `rows` is the estimate; a table that is no larger than two chunks, or empty, is read in one piece; so is one where
    `chunk_rows` is 0.
    """
    if first is None or last is None or chunk_rows < 1:
        return (WHOLE,)
    width = last - first + 1
    step = max(1, width * chunk_rows // max(1, rows if rows is not None else width), math.ceil(width / MOST_SPLITS))
    if width <= 2 * step:
        return (WHOLE,)
    bounds = list(range(first + step, last + 1, step))
    return tuple(
        f"{since if since is not None else ''}:{until if until is not None else ''}"
        for since, until in zip([None, *bounds], [*bounds, None], strict=True)
    )


def window_is_split(rows: int, among: int, chunk_rows: int) -> bool:
    """Is a window of `rows`, that lie among `among`, worth to be read by ranges of all these? A range costs a pass over its rows,
    where an index would find those of the window."""
    return chunk_rows > 0 and rows > 2 * chunk_rows and rows * LEAST_SHARE >= among


def bounds_of(split: str) -> tuple[int | None, int | None]:
    """Least key, and the first that is no longer in it; None where the range is open."""
    since, _, until = split.partition(":")
    return (int(since) if since else None, int(until) if until else None)
