"""What a caller asks, as read from its call: nothing of it is permitted yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from jinqiao.kernel.contracts.tables import Operator


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter on an item: `values` as they were sent, one of them unless the operator is ONE_OF."""

    item: str
    operator: Operator
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Ordering:
    item: str
    descending: bool = False


class Question(Struct, gc=False):
    """Look up by these items, give me those, for this purpose, in this case, on behalf of that person.

    `by`: key values of a query or verification; `batch`: those of a batch, `is_file` where they are texts of a file.
    `claims`: values to verify. `filter`, `order`, `size` (0: as many as a page holds), `after`: of a list, the first also of a count.
    """

    by: Mapping[str, Any]
    items: tuple[str, ...]
    purpose: str = ""
    case_number: str = ""
    end_user: str = ""
    role: str = ""
    batch: tuple[Mapping[str, Any], ...] = ()
    is_file: bool = False
    claims: Mapping[str, Any] | None = None
    filter: tuple[Condition, ...] = ()
    order: tuple[Ordering, ...] = ()
    size: int = 0
    after: str = ""

    @property
    def keys(self) -> int:
        """How many look-ups it is, in quotas and records."""
        return len(self.batch) or 1

    def wanted(self) -> str:
        """Whom or what it asks for, as text: what the record commits to."""
        if self.batch:
            return "\n\n".join(_lines(key) for key in self.batch)
        if self.by:
            return _lines(self.by)
        return "\n".join(f"{one.item} {one.operator.value} {'|'.join(map(str, one.values))}" for one in self.filter)


def _lines(key: Mapping[str, Any]) -> str:
    if len(key) == 1:
        ((code, value),) = key.items()
        return f"{code}={value}"
    return "\n".join(sorted([f"{code}={value}" for code, value in key.items()]))
