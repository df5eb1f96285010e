"""Calls that are kept already are counted into the sums of their hours. Backwards the sums go with their table."""

import math
from collections import Counter
from typing import Any

from django.db import migrations

NAMES = (
    "gateway_id", "service", "application", "consumer", "provider", "purpose", "environment", "operation", "error_owner",
)  # fmt: skip
STEPS_PER_OCTAVE = 8


def count_calls(apps: Any, schema_editor: Any) -> None:
    del schema_editor
    call, tally = apps.get_model("exchange", "Call"), apps.get_model("exchange", "CallTally")
    sums: dict[tuple[Any, ...], list[Any]] = {}
    for row in call.objects.order_by("pk").values(*NAMES, "at", "rows", "duration_us").iterator(chunk_size=5000):
        hour = row["at"].replace(minute=0, second=0, microsecond=0)
        one = sums.setdefault((hour, *(row[name] for name in NAMES)), [0, 0, Counter()])
        one[0] += 1
        one[1] += row["rows"]
        duration = row["duration_us"]
        one[2][int(math.log2(duration) * STEPS_PER_OCTAVE) if duration > 1 else 0] += 1
    tally.objects.bulk_create(
        [
            tally(
                calls=calls,
                rows=rows,
                durations={str(step): count for step, count in sorted(steps.items())},
                **dict(zip(("hour", *NAMES), key, strict=True)),
            )
            for key, (calls, rows, steps) in sums.items()
        ],
        batch_size=500,
    )


class Migration(migrations.Migration):
    dependencies = [("exchange", "0010_tallies_anomalies_samples")]

    operations = [migrations.RunPython(count_calls, migrations.RunPython.noop)]
