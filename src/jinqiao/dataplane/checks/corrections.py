"""Corrected rows of a quarantine, for a run of their own.

    corrections = corrected_rows(workbook, order, sealed=..., identity=...)     # what the provider's people handed in
    asked, source = resubmission(order, corrections, source)
    manifest = pipeline.extract(asked, source, spool=...)                       # staged for `order`, as any run

The rows are values of items, so no transform is applied again; masks and checks are, the checks here first so that each wrong
cell can be named. All or none: a workbook in which a row still breaks a check is refused whole, and the quarantine stays as it
is. `order` is that of the new run; rows left out of the workbook stay in quarantine.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from jinqiao.dataplane.checks.checker import Checker
from jinqiao.dataplane.checks.references import learn_references
from jinqiao.dataplane.checks.rows import value_type
from jinqiao.dataplane.checks.workbooks import read_corrections, reasons_of, refused
from jinqiao.dataplane.connectors.base import ReadPlan, Source
from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.errors import TableMissing
from jinqiao.dataplane.pipeline.orders import keys_of
from jinqiao.kernel.catalogues import check_catalogue
from jinqiao.kernel.contracts.exchange import CheckRule, CopyMode, Delivery, ExchangeOrder, Finding
from jinqiao.kernel.contracts.tables import Column, Engine, TableSchema
from jinqiao.kernel.crypto.identity import Identity

TABLE = "_corrections"
_OF_THE_WHOLE = ("freshness",)  # a few rows say nothing about how fresh a table is


@dataclass(frozen=True, slots=True)
class Corrections:
    """`rows`: a column for each item, named by its code, in the item's own type, not masked. `findings` are warnings."""

    rows: pa.Table
    findings: tuple[Finding, ...]


def corrected_rows(
    workbook: bytes, order: ExchangeOrder, *, sealed: bytes, identity: Identity, source: Source | None = None
) -> Corrections:
    """The rows of a corrected workbook. `sealed` is the quarantine that it corrects; `source` is read for `reference` rules.

    Raises CorrectionsRefused naming cells and checks, ChunkDamaged.
    """
    items = order.grant.items
    texts = read_corrections(workbook, sealed, identity, items)
    checker = Checker(_rules(order), items, keys_of(order))
    if source is not None:
        learn_references(checker, source, ReadPlan(table="", columns=(), statement_timeout_s=order.statement_timeout_s))
    given = [texts.rows.column(item.item).combine_chunks() for item in items]
    fitted = [fit(column, value_type(item)) for column, item in zip(given, items, strict=True)]
    columns = [column.values for column in fitted]
    bad, reasons = checker.check(columns, [column.bad for column in fitted])
    problems = [
        f"{texts.cell(row, item)} {item}：{check_catalogue()[name]['title']}/{check_catalogue()[name]['title_en']}"
        for row, broken in zip(bad.nonzero()[0].tolist(), reasons, strict=True)
        for name, item in reasons_of(broken)
    ]
    if problems:
        raise refused(problems)
    return Corrections(pa.table(dict(zip((item.code for item in items), columns, strict=True))), checker.findings())


def _rules(order: ExchangeOrder) -> tuple[CheckRule, ...]:
    return tuple(rule for rule in order.checks if rule.check not in _OF_THE_WHOLE)


def resubmission(
    order: ExchangeOrder, corrections: Corrections, source: Source | None = None
) -> tuple[ExchangeOrder, Source]:
    """What to extract in the place of `order`: the same run, grant, masks, checks and target, read from the corrected rows.

    The manifest belongs to `order`. `source` is that of the grant; only `reference` rules read it.
    """
    items = tuple(replace(item, column=item.code) for item in order.grant.items)
    delivery = order.delivery if order.delivery in (Delivery.APPEND, Delivery.HISTORY) else Delivery.UPSERT
    asked = replace(
        order,
        grant=replace(order.grant, items=items, row_filter=()),
        mode=CopyMode.FULL,
        delivery=delivery,
        source_table=TABLE,
        key_columns=keys_of(order),
        watermark_column="",
        after="",
        until="",
        slot="",
        transforms=(),
        checks=_rules(order),
        expected_columns=(),
        target_engine=None,
        parallel=1,
    )
    return asked, CorrectedSource(asked, corrections, source)


class CorrectedSource(Source):
    """The corrected rows as a table; every other table is that of the source they come from."""

    engine = Engine.EXCEL
    snapshot = "file"

    def __init__(self, order: ExchangeOrder, corrections: Corrections, source: Source | None) -> None:
        self._rows, self._inner = corrections.rows, source
        columns = tuple(
            Column(name=item.code, type=item.type, length=item.length, precision=item.precision, scale=item.scale)
            for item in order.grant.items
        )
        self._schema = TableSchema(name=TABLE, columns=columns, row_estimate=self._rows.num_rows)

    def test(self) -> str:
        return self.snapshot

    def tables(self) -> tuple[TableSchema, ...]:
        return (self._schema,)

    def schema(self, table: str) -> TableSchema:
        if table == TABLE:
            return self._schema
        if self._inner is None:
            raise TableMissing(table=table)
        return self._inner.schema(table)

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        if plan.table != TABLE:
            if self._inner is None:
                raise TableMissing(table=plan.table)
            yield from self._inner.read(plan)
            return
        yield from self._rows.select(list(plan.columns)).to_batches(max_chunksize=plan.batch_rows)
