"""Terms of a request or grant: items, row conditions, masks; checked against the entry's version, digested when granted."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from jinqiao.catalogue.enums import ItemType, PersonalInformation
from jinqiao.catalogue.models import DataItem, EntryVersion
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.kernel.contracts.tables import Mask, Operator
from jinqiao.sharing.errors import (
    ItemsMissing,
    ItemsUnknown,
    MaskNotFitting,
    MaskUnknown,
    RowFilterItemUnknown,
    RowFilterMalformed,
    RowFilterOperatorNotFitting,
    RowFilterValueNotFitting,
)
from jinqiao.sharing.models import Grant, SharingRequest

Items = Mapping[str, DataItem]
Condition = dict[str, Any]
"""{"item": code, "operator": kernel Operator value, "values": [text, …]}"""

TEXT_TYPES = frozenset({ItemType.CHARACTER, ItemType.MEMO, ItemType.GENERAL, ItemType.TEXT})
_NUMBER_TYPES = frozenset({ItemType.NUMERIC, ItemType.CURRENCY, ItemType.DOUBLE, ItemType.INTEGER, ItemType.FLOAT})
_MAX_VALUES = 500
_MASK_BY_NAME = (
    (re.compile("身份证|身份号码|证件号|公民号码"), Mask.IDENTITY_NUMBER),
    (re.compile("电话|手机|联系方式"), Mask.PHONE),
    (re.compile("姓名|户主|法定代表人|负责人"), Mask.NAME),
)


def items_of(version: EntryVersion) -> dict[str, DataItem]:
    """Data items of a version by code, in their order."""
    return {item.code: item for item in version.items.order_by("position")}


def chosen_items(codes: Sequence[str], items: Items) -> list[str]:
    """The chosen codes, each once, in the version's order. Raises `ItemsMissing`, `ItemsUnknown`."""
    if isinstance(codes, str) or not all(isinstance(code, str) for code in codes):
        raise ItemsUnknown(items="")
    if unknown := sorted(set(codes) - set(items)):
        raise ItemsUnknown(items="、".join(unknown))
    chosen = [code for code in items if code in set(codes)]
    if not chosen:
        raise ItemsMissing
    return chosen


def checked_row_filter(conditions: Sequence[Mapping[str, Any]], items: Items) -> list[Condition]:
    """Row conditions in canonical form: known items, operators and values that fit the item's type.

    Conditions may name items that are not asked for: rows are narrowed by what the consumer does not see.
    """
    checked: list[Condition] = []
    for condition in conditions:
        if not isinstance(condition, Mapping) or set(condition) != {"item", "operator", "values"}:
            raise RowFilterMalformed
        item = items.get(condition["item"])
        if item is None:
            raise RowFilterItemUnknown(item=str(condition["item"]))
        operator = _operator(condition["operator"], item)
        values = condition["values"]
        if isinstance(values, str) or not isinstance(values, Sequence) or not all(isinstance(v, str) for v in values):
            raise RowFilterMalformed
        if not values or len(values) > _MAX_VALUES or (operator is not Operator.ONE_OF and len(values) != 1):
            raise RowFilterValueNotFitting(item=item.name)
        canonical = [_canonical(value, item) for value in values]
        new = {"item": item.code, "operator": operator.value, "values": list(dict.fromkeys(canonical))}
        if new not in checked:
            checked.append(new)
    return checked


def _operator(name: Any, item: DataItem) -> Operator:
    try:
        operator = Operator(name)
    except ValueError:
        raise RowFilterOperatorNotFitting(item=item.name, operator=str(name)) from None
    data_type = ItemType(item.data_type)
    fits = {
        Operator.EQUAL: data_type is not ItemType.BLOB,
        Operator.ONE_OF: data_type not in (ItemType.BLOB, ItemType.LOGICAL),
        Operator.AT_LEAST: data_type not in (ItemType.BLOB, ItemType.LOGICAL),
        Operator.AT_MOST: data_type not in (ItemType.BLOB, ItemType.LOGICAL),
        Operator.STARTS_WITH: data_type in TEXT_TYPES,
    }
    if not fits[operator]:
        raise RowFilterOperatorNotFitting(item=item.name, operator=operator.value)
    return operator


def _canonical(value: str, item: DataItem) -> str:
    """The value as `kernel.contracts.tables.RowCondition` wants it: ISO dates, plain decimals, 0 or 1."""
    data_type = ItemType(item.data_type)
    try:
        if data_type is ItemType.DATE:
            return date.fromisoformat(value.strip()).isoformat()
        if data_type is ItemType.DATETIME:
            instant = datetime.fromisoformat(value.strip())
            if instant.tzinfo is not None:
                raise ValueError
            return instant.isoformat(timespec="microseconds")
        if data_type is ItemType.INTEGER:
            return str(int(value.strip()))
        if data_type in _NUMBER_TYPES:
            number = Decimal(value.strip())
            if not number.is_finite() or abs(number.adjusted()) > 60:
                raise ValueError
            plain = format(number, "f")
            return plain.rstrip("0").rstrip(".") if "." in plain else plain
        if data_type is ItemType.LOGICAL:
            return {"1": "1", "0": "0", "true": "1", "false": "0", "是": "1", "否": "0"}[value.strip().lower()]
    except (ValueError, InvalidOperation, KeyError):
        raise RowFilterValueNotFitting(item=item.name) from None
    if not value or "\x00" in value or len(value) > 500:
        raise RowFilterValueNotFitting(item=item.name)
    return value


def joined_row_filters(asked: Sequence[Condition], added: Sequence[Condition]) -> list[Condition]:
    """Conditions of both sides, joined by AND: the provider can narrow the rows asked for, never widen them."""
    joined = list(asked)
    joined.extend(condition for condition in added if condition not in joined)
    return joined


def checked_masks(masks: Mapping[str, str], codes: Sequence[str], items: Items) -> dict[str, str]:
    """Masks of the granted items, `none` left out. Raises `ItemsUnknown`, `MaskUnknown`, `MaskNotFitting`."""
    if unknown := sorted(set(masks) - set(codes)):
        raise ItemsUnknown(items="、".join(unknown))
    checked: dict[str, str] = {}
    for code in codes:
        try:
            mask = Mask(masks.get(code, Mask.NONE.value))
        except ValueError:
            raise MaskUnknown(item=items[code].name, mask=str(masks[code])) from None
        if mask is not Mask.NONE and items[code].data_type not in TEXT_TYPES:
            raise MaskNotFitting(item=items[code].name)
        checked[code] = mask.value
    return checked


def suggested_mask(item: DataItem) -> Mask:
    """How a personal item is masked unless the provider says otherwise: shown masked by default."""
    if item.personal_information == PersonalInformation.NONE or item.data_type not in TEXT_TYPES:
        return Mask.NONE
    for pattern, mask in _MASK_BY_NAME:
        if pattern.search(item.name):
            return mask
    return Mask.HIDDEN if item.personal_information == PersonalInformation.SENSITIVE else Mask.NONE


def default_masks(mode: str, codes: Sequence[str], items: Items) -> dict[str, str]:
    """Masks that hold where the decision names none: sensitive items of a query answer. A batch feeds registers and keys."""
    if mode != SharingMode.INTERFACE:
        return {}
    return {
        code: suggested_mask(items[code]).value
        for code in codes
        if items[code].personal_information == PersonalInformation.SENSITIVE
    }


def granted_items(codes: Sequence[str], masks: Mapping[str, str], items: Items) -> list[dict[str, Any]]:
    """The items as the grant keeps them: readable without the catalogue version they came from."""
    return [
        {
            "code": code,
            "name": items[code].name,
            "data_type": items[code].data_type,
            "length": items[code].length,
            "scale": items[code].scale,
            "mask": masks.get(code, Mask.NONE.value),
        }
        for code in codes
    ]


def request_content(request: SharingRequest) -> bytes:
    """What the consumer's head signs."""
    return canonical_json(
        {
            "number": request.number,
            "entry": request.entry.code,
            "version": request.version.number,
            "consumer": request.consumer.credit_code,
            "provider": request.provider.credit_code,
            "basis": request.basis,
            "scenario": request.scenario,
            "scope": request.scope,
            "mode": request.mode,
            "items": request.items,
            "row_filter": request.row_filter,
            "row_scope": request.row_scope,
            "purposes": request.purposes,
            "case_number_required": request.case_number_required,
            "use_from": request.use_from.isoformat(),
            "use_until": request.use_until.isoformat(),
        }
    )


def grant_content(grant: Grant) -> bytes:
    """The terms of a grant in canonical form: what its digest covers."""
    return canonical_json(
        {
            "number": grant.number,
            "request": grant.request.number,
            "replaces": grant.replaces.number if grant.replaces else None,
            "entry": grant.entry.code,
            "version": grant.version.number,
            "provider": grant.provider.credit_code,
            "consumer": grant.consumer.credit_code,
            "mode": grant.mode,
            "items": grant.items,
            "row_filter": grant.row_filter,
            "purposes": grant.purposes,
            "case_number_required": grant.case_number_required,
            "valid_from": grant.valid_from.isoformat(),
            "valid_until": grant.valid_until.isoformat(),
        }
    )


def grant_digest(grant: Grant) -> str:
    """SHA-256 of the terms, hexadecimal."""
    return hashlib.sha256(grant_content(grant)).hexdigest()
