"""How a department wants its sources spared, and how many runs a node takes at once."""

import re
from collections.abc import Sequence

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.ranges import FASTEST_MB_PER_S, FASTEST_ROWS_PER_S, SLOWEST_MB_PER_S, SLOWEST_ROWS_PER_S
from jinqiao.exchange.enums import SourceState
from jinqiao.exchange.errors import ProtectionWrong, SourceRetired
from jinqiao.exchange.models import DataSource, Node, SourceLimits
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import Window

MOST_READERS = 16
SHORTEST_TIMEOUT_S, LONGEST_TIMEOUT_S = 10, 7 * 86_400
MOST_WINDOWS = 10
MOST_RUNS = 64
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


@transaction.atomic
def protect_source(
    source: DataSource,
    *,
    by: Post,
    rows_per_s: int | None = None,
    mb_per_s: float | None = None,
    windows: Sequence[Window] = (),
    parallel: int = 1,
    statement_timeout_s: int = 3600,
) -> SourceLimits:
    """Set how the source is spared by every run that begins from now on: rates, hours of the day, readers side by side, how long a
    statement may take. A task may be slower, never faster.

    Raises NotYourSource, SourceRetired, ProtectionWrong naming the field.
    """
    source = DataSource.objects.select_for_update(of=("self",)).get(pk=source.pk)
    rules.check_may_manage_source(by, source)
    if source.state == SourceState.RETIRED:
        raise SourceRetired(source=source.number)
    for field, value, least, most in (
        ("rows_per_s", rows_per_s, SLOWEST_ROWS_PER_S, FASTEST_ROWS_PER_S),
        ("mb_per_s", mb_per_s, SLOWEST_MB_PER_S, FASTEST_MB_PER_S),
        ("parallel", parallel, 1, MOST_READERS),
        ("statement_timeout_s", statement_timeout_s, SHORTEST_TIMEOUT_S, LONGEST_TIMEOUT_S),
        ("windows", len(windows), 0, MOST_WINDOWS),
    ):
        if value is not None and not least <= value <= most:
            raise ProtectionWrong(field=field, lowest=least, highest=most)
    for window in windows:
        if not _TIME.fullmatch(window.since) or not _TIME.fullmatch(window.until) or window.since == window.until:
            raise ProtectionWrong(field="windows", lowest="00:00", highest="23:59")
    limits, _made = SourceLimits.objects.update_or_create(
        source=source,
        defaults={
            "rows_per_s": rows_per_s,
            "mb_per_s": mb_per_s,
            "windows": [window.to_json() for window in windows],
            "parallel": parallel,
            "statement_timeout_s": statement_timeout_s,
            "set_by": by,
            "set_at": moments.now(),
        },
    )
    trail.record(
        "exchange.source.protect",
        by=by.actor,
        about=trail.subject(source),
        rows_per_s=rows_per_s,
        mb_per_s=mb_per_s,
        windows=[f"{window.since}-{window.until}" for window in windows],
        parallel=parallel,
        statement_timeout_s=statement_timeout_s,
    )
    return limits


@transaction.atomic
def cap_node(node: Node, *, by: Post, run_cap: int) -> Node:
    """How many runs a node works at, at once; what is over waits, by priority. Raises NotYourNode, ProtectionWrong."""
    node = Node.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=node.pk)
    rules.check_may_manage_node(by, node)
    if not 1 <= run_cap <= MOST_RUNS:
        raise ProtectionWrong(field="run_cap", lowest=1, highest=MOST_RUNS)
    node.run_cap = run_cap
    node.save(update_fields=["run_cap"])
    trail.record("exchange.node.cap", by=by.actor, about=trail.subject(node), run_cap=run_cap)
    return node
