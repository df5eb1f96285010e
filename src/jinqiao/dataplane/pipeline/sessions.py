"""The session of an order's mode."""

from jinqiao.dataplane.connectors.base import ReadPlan, Source
from jinqiao.dataplane.errors import OrderNotPossible
from jinqiao.dataplane.pipeline.orders import watermark_of
from jinqiao.dataplane.pipeline.session import Session
from jinqiao.dataplane.staging.state import StateStore
from jinqiao.kernel.contracts.exchange import CopyMode, ExchangeOrder
from jinqiao.kernel.contracts.tables import TableSchema


def session_of(
    order: ExchangeOrder, source: Source, schema: TableSchema, states: StateStore | None, *, is_raw: bool = False
) -> Session:
    """What the mode adds to the reading. Raises what the mode does; OrderNotPossible where it needs a memory and has none.

    What a source tells of its clock is asked here, before any snapshot is opened.
    """
    if order.mode is CopyMode.FULL:
        return Session()
    if states is None:
        raise OrderNotPossible(run=order.run_id)
    state = states.task(order.task_id)
    # each mode is imported for its own orders: a command pays for what it imports
    match order.mode:
        case CopyMode.WATERMARK:
            from jinqiao.dataplane.pipeline.modes.watermark import WatermarkSession

            column = watermark_of(order, schema)
            if column is None:
                raise OrderNotPossible(run=order.run_id)
            granted = ReadPlan(
                table=order.source_table,
                columns=(column.name,),
                row_filter=order.grant.row_filter,
                statement_timeout_s=order.statement_timeout_s,
            )
            return WatermarkSession(state, order, schema, source.watermark_facts(granted, column), is_raw=is_raw)
        case CopyMode.DIFF:
            from jinqiao.dataplane.pipeline.modes.diff import DiffSession

            return DiffSession(state, order)
        case _:
            from jinqiao.dataplane.pipeline.modes.log import LogSession

            return LogSession(order, source, schema)
