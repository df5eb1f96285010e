"""What every operation is built into: the columns that it needs, and a function from these to values and refusals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.errors import TransformParametersWrong
from jinqiao.kernel.contracts.grants import GrantedItem

Rows = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Made:
    """Values in whatever type, to be fitted to the item's. `refused` marks those that could not be made (they are NULL)."""

    values: pa.Array
    refused: Rows | None = None


Make = Callable[[Sequence[pa.Array], int], Made]


@dataclass(frozen=True, slots=True)
class Operation:
    """`make` takes the columns of `inputs` in their order, and the number of rows."""

    inputs: tuple[str, ...]
    make: Make


@dataclass(frozen=True, slots=True)
class Asked:
    """One transform of an order: its name in the catalogue, the item it makes, the Arrow type wanted, its parameters."""

    name: str
    item: GrantedItem
    type: pa.DataType
    parameters: Mapping[str, Any]

    def wrong(self, parameter: str) -> TransformParametersWrong:
        return TransformParametersWrong(item=self.item.item, operation=self.name, parameter=parameter)

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self.parameters.get(name, default))

    def fitted(self, name: str) -> pa.Scalar:
        """A parameter as a value of the item's type. Raises TransformParametersWrong."""
        given = self.parameters[name]
        text = {True: "1", False: "0"}[given] if isinstance(given, bool) else str(given)
        fitted = fit(pa.array([text]), self.type)
        if fitted.bad is not None:
            raise self.wrong(name)
        return fitted.values[0]


Build = Callable[[Asked], Operation]


def marks(truths: Any) -> Rows:
    """An Arrow truth column as numpy; NULL is False."""
    found: Rows = truths.fill_null(False).to_numpy(zero_copy_only=False)
    return found


def texts(values: pa.Array) -> tuple[pa.Array, Rows | None]:
    """Values as text, and those that are none: octets that are not UTF-8."""
    fitted = fit(values, pa.string())
    return fitted.values, fitted.bad


def either(*refused: Rows | None) -> Rows | None:
    """Rows that one of them marks."""
    given = [rows for rows in refused if rows is not None]
    if not given:
        return None
    return given[0] if len(given) == 1 else np.logical_or.reduce(given)


def without(values: pa.Array, refused: Rows | None) -> pa.Array:
    """NULL where it was refused."""
    if refused is None or not refused.any():
        return values
    return pc.if_else(pa.array(refused), pa.scalar(None, values.type), values)


def on_text(column: str, work: Callable[[pa.Array], Made]) -> Operation:
    """An operation on the text of one column."""

    def make(columns: Sequence[pa.Array], rows: int) -> Made:
        given, bad = texts(columns[0])
        made = work(given)
        return Made(made.values, either(bad, made.refused))

    return Operation((column,), make)
