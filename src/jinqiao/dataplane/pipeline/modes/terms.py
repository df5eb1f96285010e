"""Under which terms a state was made: what it says holds only for the same columns, keys and target."""

import hashlib
import json

from jinqiao.dataplane.pipeline.orders import target_columns, target_keys
from jinqiao.kernel.contracts.exchange import ExchangeOrder

_FORM = 2  # of fingerprints and frames; a later form makes older states count as lost


def terms_of(order: ExchangeOrder, *, is_raw: bool = False) -> str:
    """Digest of what a state depends on, hex. Rows whose mask or transform changed differ by themselves.

    `is_raw`: its fingerprints are of rows in the source's own binary form.
    """
    said = {
        "form": _FORM,
        "mode": order.mode.value,
        "columns": [
            [column.name, column.type.value, column.precision, column.scale] for column in target_columns(order)
        ],
        "keys": target_keys(order),
        "target": [order.consumer_node, order.target_table],
    }
    if is_raw:
        said["rows"] = "raw"
    return hashlib.sha256(json.dumps(said, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
