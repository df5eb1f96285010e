"""Values of other tables that `reference` rules want to know before the rows are checked.

They are read by the same source object right before the rows, a reading of its own: a key that is added to the other table in
between is not known, and its rows are found in the next run.
"""

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from jinqiao.dataplane.checks.checker import Checker
from jinqiao.dataplane.connectors.base import ReadPlan, Source, select_columns

if TYPE_CHECKING:
    from jinqiao.dataplane.checks.runwide import Reference, ReferenceColumn


def learn_references(checker: Checker, source: Source, plan: ReadPlan) -> None:
    """Each column is read once, however many rules refer to it. Raises TableMissing, ColumnMissing and errors of sources.

    `plan` is that of the rows: its limits, time-outs, `stop` and `hold` hold for the other tables too.
    """
    wanted: dict[ReferenceColumn, list[Reference]] = {}
    for reference in checker.references:
        wanted.setdefault(reference.wants, []).append(reference)
    for place, references in wanted.items():
        select_columns(source.schema(place.table), (place.column,))
        reading = replace(plan, table=place.table, columns=(place.column,), row_filter=(), order_by=())
        with closing(source.read(reading)) as batches:  # type: ignore[type-var]
            for batch in batches:
                for reference in references:
                    reference.learn(batch.column(0))
        for reference in references:
            reference.learn(None)
