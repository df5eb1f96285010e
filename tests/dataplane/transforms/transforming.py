"""One transform over one small batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from jinqiao.dataplane.transforms import Applied, Transformer
from jinqiao.dataplane.transforms.tokens import TokenKeys
from jinqiao.kernel.contracts.exchange import Transform, TransformKind
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType


def item(type_: LogicalType = LogicalType.TEXT, **given: Any) -> GrantedItem:
    return GrantedItem(item="结果", code="made", column="unused", type=type_, **given)


def transform(name: str, **parameters: Any) -> Transform:
    """`name` as in the catalogue."""
    if name in ("codes", "token"):
        return Transform(kind=TransformKind(name), item="made", parameters=parameters)
    return Transform(kind=TransformKind.DERIVE, item="made", parameters={"operation": name, **parameters})


def applied(
    asked: Transform,
    columns: Mapping[str, Sequence[Any] | pa.Array],
    made: GrantedItem | None = None,
    keys: TokenKeys | None = None,
) -> Applied:
    arrays = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    # a slice of a longer batch: offsets must be respected
    batch = pa.RecordBatch.from_pydict({name: pa.concat_arrays([array, array]) for name, array in arrays.items()})
    transformer = Transformer([asked], [made or item()], keys)
    return transformer.apply(batch.slice(batch.num_rows // 2))


REFUSED = "refused"
MISFIT = "misfit"


def result(
    asked: Transform,
    columns: Mapping[str, Sequence[Any] | pa.Array],
    made: GrantedItem | None = None,
    keys: TokenKeys | None = None,
) -> list[Any]:
    """The values; REFUSED where none could be made, MISFIT where it did not fit the item's type."""
    found = applied(asked, columns, made, keys)
    values: list[Any] = found.fitted[0].values.to_pylist()
    for marked, word in ((found.misfits[0], MISFIT), (found.refusals[0], REFUSED)):
        if marked is not None:
            for row, bad in enumerate(marked.tolist()):
                if bad:
                    assert values[row] in (None, MISFIT)
                    values[row] = word
    return values
