"""What the provider sets on a query service: what may be asked, how much, when, and until when."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.errors import LimitBroken
from jinqiao.exchange.models import Binding, QueryService
from jinqiao.exchange.service_errors import (
    CaseItemNotBound,
    EndTooSoon,
    FilterItemNotOpen,
    HoursWrong,
    NationalIdTaken,
    NoOperationOffered,
    RoleMaskWrong,
    SuccessorWrong,
    VersionGoesBack,
)
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.policy import Hours, Operation, RoleMask
from jinqiao.kernel.contracts.tables import Mask

ROW_CAPS = (1, 1000)
BATCH_CAPS = (1, 1000)
CALLS_PER_MINUTE = (1, 60_000)
SMALLEST_COUNTS = (0, 100)
CALLS_PER_DAY = (1, 10_000_000)
ROWS_PER_DAY = (1, 100_000_000)
VERSIONS = (1, 999)
NOTICE = timedelta(days=30)
"""So long before its last day the end of a service is announced: whoever calls it needs a release to move."""
MOST_ROLE_MASKS = 50
MOST_HOURS = 14
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """As `kernel.contracts.policy.ServicePolicy` has them; item codes are those of the entry. `case_item` is an item that must
    equal the case number of a call."""

    operations: tuple[Operation, ...]
    filter_items: tuple[str, ...] = ()
    case_item: str = ""
    end_user_required: bool = False
    role_masks: tuple[RoleMask, ...] = ()
    row_cap: int = 100
    batch_cap: int = 100
    smallest_count: int = 0
    calls_per_minute: int = 600
    calls_per_day: int | None = None
    rows_per_day: int | None = None
    hours: tuple[Hours, ...] = ()
    version: int = 1
    national_id: str = ""


def settings_of(service: QueryService) -> ServiceSettings:
    """What is set now."""
    return ServiceSettings(
        operations=tuple(Operation(name) for name in service.operations),
        filter_items=tuple(service.filter_items),
        case_item=service.case_item,
        end_user_required=service.end_user_required,
        role_masks=tuple(RoleMask.from_json(mask) for mask in service.role_masks),
        row_cap=service.row_cap,
        batch_cap=service.batch_cap,
        smallest_count=service.smallest_count,
        calls_per_minute=service.calls_per_minute,
        calls_per_day=service.calls_per_day,
        rows_per_day=service.rows_per_day,
        hours=tuple(Hours.from_json(hours) for hours in service.hours),
        version=service.version,
        national_id=service.national_id,
    )


def open_items(service: QueryService) -> dict[str, str]:
    """Code → name of the items by which lists and counts may be filtered: granted and not masked for anybody."""
    return {
        item["code"]: item["name"]
        for item in service.grant.items
        if (item.get("mask") or Mask.NONE.value) == Mask.NONE.value
    }


def bound_items(service: QueryService) -> dict[str, str]:
    """Code → name of the entry's items that have a column: what may limit answers to the case at hand."""
    binding = Binding.objects.filter(entry_id=service.grant.entry_id).first()
    names = {item.code: item.name for item in service.grant.version.items.all()}
    return {code: names.get(code, code) for code, column in (binding.columns if binding else {}).items() if column}


@transaction.atomic
def set_service(service: QueryService, wanted: ServiceSettings, *, by: Post) -> QueryService:
    """Put settings in force; the gateway has them with its next policy.

    Raises NotYourService, LimitBroken (details name the field), NoOperationOffered, FilterItemNotOpen, CaseItemNotBound,
    RoleMaskWrong, HoursWrong, VersionGoesBack, NationalIdTaken.
    """
    service = _locked(service)
    rules.check_may_limit_service(by, service)
    _check(service, wanted)
    before, after = _plain(settings_of(service)), _plain(wanted)
    changed = sorted(name for name in after if after[name] != before[name])
    if changed:
        for name in changed:
            setattr(service, name, after[name])
        service.save(update_fields=changed)
        trail.record(
            "exchange.service.set",
            by=by.actor,
            about=trail.subject(service),
            before={name: before[name] for name in changed},
            after={name: after[name] for name in changed},
        )
    return service


@transaction.atomic
def announce_end(
    service: QueryService, *, by: Post, ends_on: date | None, successor: QueryService | None = None
) -> QueryService:
    """Tell callers with each answer that the service ends, when, and what takes its place; None takes the word back.

    Raises NotYourService, EndTooSoon, SuccessorWrong.
    """
    service = _locked(service)
    rules.check_may_limit_service(by, service)
    today = moments.today()
    if ends_on is not None and ends_on != service.ends_on and ends_on < today + NOTICE:
        raise EndTooSoon(earliest=(today + NOTICE).isoformat())
    if successor is not None and (
        successor.pk == service.pk or successor.grant.consumer_id != service.grant.consumer_id
    ):
        raise SuccessorWrong(service=successor.number)
    service.deprecated_on = None if ends_on is None else service.deprecated_on or today
    service.ends_on, service.successor = ends_on, successor if ends_on is not None else None
    service.save(update_fields=["deprecated_on", "ends_on", "successor"])
    trail.record(
        "exchange.service.announce_end",
        by=by.actor,
        about=trail.subject(service),
        ends_on=ends_on.isoformat() if ends_on else "",
        successor=service.successor.number if service.successor else "",
    )
    return service


def _locked(service: QueryService) -> QueryService:
    return (
        QueryService.objects.select_for_update(of=("self",))
        .select_related("grant__provider", "grant__consumer", "grant__version")
        .get(pk=service.pk)
    )


def _plain(settings: ServiceSettings) -> dict[str, Any]:
    """As the model's fields hold them."""
    values = asdict(settings)
    values["operations"] = [operation.value for operation in settings.operations]
    values["filter_items"] = list(settings.filter_items)
    values["role_masks"] = [mask.to_json() for mask in settings.role_masks]
    values["hours"] = [hours.to_json() for hours in settings.hours]
    return values


def _check(service: QueryService, wanted: ServiceSettings) -> None:
    if not wanted.operations:
        raise NoOperationOffered
    _check_numbers(wanted)
    others = QueryService.objects.exclude(pk=service.pk)
    if wanted.national_id and others.filter(national_id=wanted.national_id).exists():
        raise NationalIdTaken(national_id=wanted.national_id)
    if wanted.version < service.version:
        raise VersionGoesBack(version=service.version)
    granted = {item["code"] for item in service.grant.items}
    unmasked = open_items(service)
    for code in wanted.filter_items:
        if code not in unmasked:
            raise FilterItemNotOpen(item=code)
    if wanted.case_item and wanted.case_item not in bound_items(service):
        raise CaseItemNotBound(item=wanted.case_item)
    _check_role_masks(wanted.role_masks, granted)
    _check_hours(wanted.hours)


def _check_numbers(wanted: ServiceSettings) -> None:
    for field, value, (lowest, highest) in (
        ("row_cap", wanted.row_cap, ROW_CAPS),
        ("batch_cap", wanted.batch_cap, BATCH_CAPS),
        ("smallest_count", wanted.smallest_count, SMALLEST_COUNTS),
        ("calls_per_minute", wanted.calls_per_minute, CALLS_PER_MINUTE),
        ("calls_per_day", wanted.calls_per_day, CALLS_PER_DAY),
        ("rows_per_day", wanted.rows_per_day, ROWS_PER_DAY),
        ("version", wanted.version, VERSIONS),
    ):
        if value is not None and not lowest <= value <= highest:
            raise LimitBroken(field=field, lowest=lowest, highest=highest)


def _check_role_masks(masks: tuple[RoleMask, ...], granted: Iterable[str]) -> None:
    seen = set()
    for mask in masks:
        place = (mask.role, mask.code)
        if not mask.role.strip() or len(mask.role) > 60 or mask.code not in granted or place in seen:
            raise RoleMaskWrong(role=mask.role, item=mask.code)
        seen.add(place)
    if len(masks) > MOST_ROLE_MASKS:
        raise RoleMaskWrong(role=masks[-1].role, item=masks[-1].code)


def _check_hours(hours: tuple[Hours, ...]) -> None:
    for span in hours[: MOST_HOURS + 1]:
        in_form = _CLOCK.fullmatch(span.first) and _CLOCK.fullmatch(span.last) and span.first < span.last
        if not in_form or not span.weekdays or not set(span.weekdays) <= set(range(1, 8)) or len(hours) > MOST_HOURS:
            raise HoursWrong(first=span.first, last=span.last)
