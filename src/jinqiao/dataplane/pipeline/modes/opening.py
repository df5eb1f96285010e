"""The mode of an order, opened: the source to read from, and the session that `extract` asks what goes on."""

from collections.abc import Iterator
from contextlib import contextmanager

from jinqiao.dataplane.connectors.base import ReadPlan, Source
from jinqiao.dataplane.pipeline.modes.diff import DiffSession
from jinqiao.dataplane.pipeline.modes.orders import check_delivery
from jinqiao.dataplane.pipeline.modes.watermark import WatermarkSession
from jinqiao.dataplane.pipeline.orders import watermark_of
from jinqiao.dataplane.pipeline.session import Session
from jinqiao.dataplane.staging.state import StateStore
from jinqiao.kernel.contracts.exchange import CopyMode, ExchangeOrder


@contextmanager
def open_mode(order: ExchangeOrder, source: Source, store: StateStore) -> Iterator[tuple[Source, Session]]:
    """For one extraction, which must not have a manifest yet.

    Raises what `check_delivery` raises, WatermarkNotUsable, CursorNotUsable, StateLost, LogNotPossible, and errors of the source.
    """
    check_delivery(order)
    match order.mode:
        case CopyMode.WATERMARK:
            yield source, _watermark(order, source, store)
        case CopyMode.DIFF:
            with DiffSession(store.task(order.task_id), order) as session:
                yield source, session
        case CopyMode.LOG:
            from jinqiao.dataplane.pipeline.modes.log import LogSession, LogSource

            log = LogSession(order)
            yield LogSource(source, order, log), log
        case _:
            yield source, Session()


def _watermark(order: ExchangeOrder, source: Source, store: StateStore) -> WatermarkSession:
    schema = source.schema(order.source_table)
    column = watermark_of(order, schema)
    assert column is not None
    plan = ReadPlan(
        table=order.source_table,
        columns=(column.name,),
        row_filter=order.grant.row_filter,
        rows_per_s=order.rows_per_s,
        statement_timeout_s=order.statement_timeout_s,
    )
    return WatermarkSession(store.task(order.task_id), order, schema, source.watermark_facts(plan, column))
