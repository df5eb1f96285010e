"""The transforms of one order: which columns they need, and one value for each granted item, batch by batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.values import Fitted, arrow_type, fit
from jinqiao.dataplane.errors import TransformColumnMissing, TransformParametersWrong
from jinqiao.kernel.contracts.exchange import Transform
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Column

if TYPE_CHECKING:
    from jinqiao.dataplane.transforms.making import Made, Operation, Rows
    from jinqiao.dataplane.transforms.tokens import TokenKeys


@dataclass(frozen=True, slots=True)
class Applied:
    """One of each for every granted item, in their order.

    `fitted`     the values, NULL and marked where they do not fit the item's type
    `refusals`   rows whose value a transform could not make
    `raw`        what quarantine keeps: the item's value as text can be had of it, or the source's where none could be made
    """

    fitted: list[Fitted]
    refusals: "list[Rows | None]"
    raw: list[pa.Array]

    @property
    def columns(self) -> list[pa.Array]:
        return [column.values for column in self.fitted]

    @property
    def misfits(self) -> "list[Rows | None]":
        return [column.bad for column in self.fitted]


class Transformer:
    """May be called from several threads. `keys` are needed where there are tokens (`tokens.token_keys`).

    Raises TransformUnknown, TransformParametersWrong and TokenKeyMissing before any row is read.
    """

    def __init__(
        self, transforms: Sequence[Transform], items: Sequence[GrantedItem], keys: "TokenKeys | None" = None
    ) -> None:
        self._items = tuple(items)
        self._types = [
            arrow_type(Column(name=item.code, type=item.type, precision=item.precision, scale=item.scale))
            for item in items
        ]
        self._operations: dict[int, Operation] = {}
        for transform in transforms:
            places = [at for at, item in enumerate(items) if transform.item in (item.code, item.item)]
            if not places or places[0] in self._operations:
                raise TransformParametersWrong(
                    item=transform.item, operation=transform.kind.value, parameter=transform.item
                )
            self._operations[places[0]] = self._built(transform, places[0], keys)

    def _built(self, transform: Transform, place: int, keys: "TokenKeys | None") -> "Operation":
        # most orders transform nothing, and a command pays for what it imports
        from jinqiao.dataplane.transforms.operations import built

        return built(transform, self._items[place], self._types[place], keys)

    def columns(self) -> tuple[str, ...]:
        """Columns of the source that the items are made from, each once."""
        wanted: list[str] = []
        for place, item in enumerate(self._items):
            operation = self._operations.get(place)
            wanted.extend((item.column,) if operation is None else operation.inputs)
        return tuple(dict.fromkeys(wanted))

    def apply(self, batch: pa.RecordBatch) -> Applied:
        """`batch` has the `columns` by name, and may have others."""
        applied = Applied([], [], [])
        for place, (item, type_) in enumerate(zip(self._items, self._types, strict=True)):
            operation = self._operations.get(place)
            if operation is None:
                given = self._column(batch, item.column, item)
                applied.fitted.append(fit(given, type_))
                applied.refusals.append(None)
                applied.raw.append(given)
                continue
            inputs = [self._column(batch, name, item) for name in operation.inputs]
            made = operation.make(inputs, batch.num_rows)
            refused = made.refused if made.refused is not None and made.refused.any() else None
            given = made.values if refused is None else _without(made.values, refused)
            applied.fitted.append(fit(given, type_))
            applied.refusals.append(refused)
            applied.raw.append(made.values if refused is None else _kept(made, refused, inputs))
        return applied

    @staticmethod
    def _column(batch: pa.RecordBatch, name: str, item: GrantedItem) -> pa.Array:
        if name not in batch.schema.names:
            raise TransformColumnMissing(item=item.item, column=name)
        return batch.column(name)


def _without(values: pa.Array, refused: "Rows") -> pa.Array:
    """NULL where it was refused."""
    return pc.if_else(pa.array(refused), pa.scalar(None, values.type), values)


def _kept(made: "Made", refused: "Rows", inputs: Sequence[pa.Array]) -> pa.Array:
    """What was made, and where it was refused the text of the first source column."""
    return pc.if_else(pa.array(refused), fit(inputs[0], pa.string()).values, fit(made.values, pa.string()).values)
