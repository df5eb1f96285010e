"""Batches that move no cursor: a window once more, a reload, corrected rows. The run after them does not name them.

A target that is put back to before such a batch lacks its rows, though it has the one that the cursor names. So the consumer's node
notes the last one of each task and target, and the next run that goes on from a cursor holds it against the target's ledger as well.
It is forgotten when everything was brought anew. Another node, or another target, knows none, and asks for none.
"""

import hashlib

from jinqiao.dataplane.connectors import Target
from jinqiao.dataplane.connectors.node_ledger import NodeLedger
from jinqiao.dataplane.pipeline.orders import goes_on, is_whole
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.contracts.exchange import ExchangeOrder
from jinqiao.kernel.contracts.tables import Connection


class Parts:
    """What is noted of the task of an order and its target."""

    def __init__(self, ledger: NodeLedger, order: ExchangeOrder, connection: Connection) -> None:
        where = [
            connection.engine.value,
            connection.host,
            connection.port,
            connection.database,
            connection.options,
            order.target_table,
        ]
        self._ledger, self._order = ledger, order
        self._key = order.task_id, hashlib.sha256(canonical_json(where)).hexdigest()
        self.last = ledger.part(*self._key)

    def delivered(self, batch_id: str, target: Target) -> None:
        """The order's batch is in. A part takes the place of the one before only where that one is still there: else nobody would miss it."""
        if is_whole(self._order) or self._order.until:
            if self.last != batch_id and (not self.last or target.has_merged(self.last)):
                self._ledger.note_part(*self._key, batch_id)
        elif self.last and not goes_on(self._order):
            self._ledger.forget_part(*self._key)
