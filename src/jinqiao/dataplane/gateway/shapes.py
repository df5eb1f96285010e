"""What of a policy is the same for every call that asks a service for the same items: worked out once, not with each call."""

from collections.abc import Callable, Sequence
from typing import Any

from jinqiao.dataplane.gateway.values import Told, teller
from jinqiao.kernel.contracts.grants import GrantedItem


class Shape:
    """Items that are answered (of a verification: compared), and all that follows from them.

    `items` with the masks of the caller's role. `read` are the items to read, `items` first; the rest are persons' numbers for
    the record. `key_items`: by which rows are looked up. `codes`: of `items`. `tellers` make of a value of the source what is
    told, one for each of `items`; `named_tellers` stand beside their codes. `key_codes`: of `key_items`. `row_persons`, `key_persons`: places of persons' numbers in `read`
    and `key_items`.
    """

    __slots__ = (
        "codes",
        "items",
        "key_codes",
        "key_items",
        "key_persons",
        "named_tellers",
        "read",
        "row_persons",
        "tellers",
    )

    def __init__(
        self,
        items: Sequence[GrantedItem],
        read: Sequence[GrantedItem],
        key_items: Sequence[GrantedItem],
        persons: Sequence[str],
    ) -> None:
        """`persons`: codes of the items that hold the number of a person."""
        self.items, self.read, self.key_items = tuple(items), tuple(read), tuple(key_items)
        self.codes = [item.code for item in self.items]
        self.tellers: tuple[Callable[[Any], Told], ...] = tuple(teller(item) for item in self.items)
        self.named_tellers = tuple(zip(self.codes, self.tellers, strict=True))
        self.key_codes = frozenset(item.code for item in self.key_items)
        self.row_persons = tuple(at for at, item in enumerate(self.read) if item.code in persons)
        self.key_persons = tuple(at for at, item in enumerate(self.key_items) if item.code in persons)


NOTHING = Shape((), (), (), ())
"""Of a count: no item is told."""
