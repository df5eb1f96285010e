"""The one policy function. Pure: what is asked, what is granted and what time it is come in; a permission or an error comes out.

The order of its checks is the order in which a caller finds out: nothing about a service is said to an application that may
not call it, and nothing about what a grant holds before the grant is known to be live.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from jinqiao.dataplane.gateway.errors import (
    CaseNumberMissing,
    GrantNotLive,
    ItemsNotGranted,
    KeysNotExact,
    OperationNotOffered,
    PurposeMissing,
    PurposeNotGranted,
    RateExceeded,
    ServiceSuspended,
    ServiceUnknown,
)
from jinqiao.dataplane.gateway.values import key_value
from jinqiao.kernel.contracts.grants import GrantedItem, SharingMode
from jinqiao.kernel.contracts.policy import Operation, ServicePolicy


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller asks: look up by these items, give me those, for this purpose, in this case, on behalf of that person."""

    by: Mapping[str, Any]
    items: tuple[str, ...]
    purpose: str = ""
    case_number: str = ""
    end_user: str = ""


@dataclass(frozen=True, slots=True)
class Permission:
    """What may be read: these items of the rows that have these keys (canonical texts), at most `row_cap` of them."""

    service: ServicePolicy
    items: tuple[GrantedItem, ...]
    keys: tuple[tuple[GrantedItem, str], ...]
    row_cap: int


def callable_service(services: Mapping[str, ServicePolicy], name: str, application_id: str) -> ServicePolicy:
    """The service of that name, if this application may call it. Raises ServiceUnknown in both other cases alike."""
    service = services.get(name)
    if service is None or application_id not in service.applications:
        raise ServiceUnknown
    return service


def permit(service: ServicePolicy, operation: Operation, question: Question, *, on: date, wait_s: float) -> Permission:
    """Decide on one call to a service that the application may call.

    `on` is the gateway's own local date; `wait_s` how long the caller must wait for its next call under the service's rate
    (0: not at all).

    Raises: ServiceSuspended, GrantNotLive, OperationNotOffered, RateExceeded, PurposeMissing, PurposeNotGranted, CaseNumberMissing,
    ItemsNotGranted, KeysNotExact, KeyNotValid.
    """
    grant = service.grant
    if service.suspended:
        raise ServiceSuspended
    if grant.mode is not SharingMode.INTERFACE or not grant.is_live(on):
        raise GrantNotLive(
            grant=grant.grant_id, valid_from=grant.valid_from.isoformat(), valid_until=grant.valid_until.isoformat()
        )
    if operation not in service.operations:
        raise OperationNotOffered(allowed="、".join(service.operations))
    if wait_s > 0:
        raise RateExceeded(limit=service.calls_per_minute, retry_after=max(1, int(wait_s + 0.999)))
    if not question.purpose:
        raise PurposeMissing(allowed="、".join(grant.purposes))
    if question.purpose not in grant.purposes:
        raise PurposeNotGranted(allowed="、".join(grant.purposes))
    if grant.case_number_required and not question.case_number.strip():
        raise CaseNumberMissing
    granted = {item.code: item for item in grant.items}
    if not question.items or any(code not in granted for code in question.items):
        raise ItemsNotGranted(allowed="、".join(granted))
    if (
        not service.key_items
        or set(question.by) != set(service.key_items)
        or any(c not in granted for c in service.key_items)
    ):
        raise KeysNotExact(wanted="、".join(service.key_items))
    keys = tuple((granted[code], key_value(question.by[code], granted[code])) for code in service.key_items)
    return Permission(service, tuple(granted[code] for code in question.items), keys, service.row_cap)
