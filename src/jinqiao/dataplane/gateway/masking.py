"""Which mask an item has for the caller's role: never less than the grant lays on it, and the strictest where the role is unknown.

A role mask only tightens. An item with role masks is masked for a role that none of them names (or for no role) as strictly as
for any of the roles.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from jinqiao.dataplane.gateway.shapes import Shape
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.policy import ServicePolicy
from jinqiao.kernel.contracts.tables import Mask


def stricter(one: Mask, other: Mask) -> Mask:
    """Of two masks the one that shows less; where each shows what the other hides, everything is hidden."""
    if one is other or other is Mask.NONE:
        return one
    return other if one is Mask.NONE else Mask.HIDDEN


class Granted(dict[str, GrantedItem]):
    """The granted items by code, with the masks of one role; and, for `policy`, the shapes of what was asked of them so far."""

    __slots__ = ("listed", "looked_up", "verified")

    def __init__(self, items: Mapping[str, GrantedItem]) -> None:
        super().__init__(items)
        self.looked_up: dict[tuple[str, ...], Shape] = {}
        self.verified: dict[tuple[str, ...], Shape] = {}
        self.listed: dict[tuple[str, ...], Shape] = {}


_MOST_KEPT = 2_000
_kept: dict[tuple[str, str], tuple[ServicePolicy, Granted]] = {}


def items_for(service: ServicePolicy, role: str) -> Granted:
    """The granted items with the masks of this role. Made once for each service of a policy, not with each call."""
    kept = _kept.get((service.service, role))
    if kept is not None and kept[0] is service:
        return kept[1]
    if len(_kept) >= _MOST_KEPT:  # roles are the callers' own words: what they name may not fill the memory
        _kept.clear()
    items = Granted(_masked_items(service, role))
    _kept[service.service, role] = (service, items)
    return items


def _masked_items(service: ServicePolicy, role: str) -> dict[str, GrantedItem]:
    items = {item.code: item for item in service.grant.items}
    if not service.role_masks:
        return items
    by_code: dict[str, dict[str, list[Mask]]] = {}
    for mask in service.role_masks:
        by_code.setdefault(mask.code, {}).setdefault(mask.role, []).append(mask.mask)
    for code, roles in by_code.items():
        if code in items:
            wanted = roles.get(role) if role else None
            masks = wanted if wanted is not None else [mask for each in roles.values() for mask in each]
            items[code] = replace(items[code], mask=reduce(stricter, masks, items[code].mask))
    return items
