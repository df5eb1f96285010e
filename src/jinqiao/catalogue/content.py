"""What of a version is signed: the same description gives the same bytes."""

from collections.abc import Iterable
from typing import Any

from jinqiao.catalogue.fields import ENTRY_FIELDS, ITEM_FIELDS
from jinqiao.catalogue.models import DataItem, EntryVersion
from jinqiao.kernel.contracts.base import canonical_json


def values_of(version: EntryVersion) -> dict[str, Any]:
    return {name: getattr(version, name) for name in ENTRY_FIELDS}


def item_values(items: Iterable[DataItem]) -> list[dict[str, Any]]:
    return [{name: getattr(item, name) for name in ITEM_FIELDS} for item in items]


def signed_bytes(version: EntryVersion) -> bytes:
    """Canonical JSON of class, provider, fields and items. The release date stays out: publication may set it."""
    values = values_of(version)
    del values["released_on"]
    content = {
        "entry": version.entry_id,
        "version": version.number,
        "provider": version.entry.provider.credit_code,
        "class": version.entry.node.code,
        "fields": {name: _plain(value) for name, value in values.items()},
        "items": [
            {name: _plain(value) for name, value in item.items()}
            for item in item_values(version.items.order_by("position"))
        ],
    }
    return canonical_json(content)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | str) else format(value, "f")
