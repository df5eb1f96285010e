"""The one policy function. Pure: what is asked, what is granted, what was used and what time it is come in; a permission or an
error comes out.

The order of its checks is the order in which a caller finds out: nothing about a service is said to an application that may
not call it, and nothing about what a grant holds before the grant is known to be live.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from jinqiao.dataplane.gateway.asked import Condition, Ordering, Question
from jinqiao.dataplane.gateway.errors import (
    BatchTooLarge,
    CallsOfTodayUsed,
    CaseNumberMissing,
    ClaimsNotGranted,
    EndUserMissing,
    FilterNotAllowed,
    FilterNotValid,
    GrantNotLive,
    ItemsNotGranted,
    KeyNotValid,
    KeysNotExact,
    OperationNotOffered,
    OutsideHours,
    PageTooLarge,
    PurposeMissing,
    PurposeNotGranted,
    RateExceeded,
    RowsOfTodayUsed,
    ServiceEnded,
    ServiceSuspended,
    ServiceUnknown,
)
from jinqiao.dataplane.gateway.hours import in_words, is_open
from jinqiao.dataplane.gateway.masking import Granted, items_for
from jinqiao.dataplane.gateway.quota import Use, day_ends_in_s
from jinqiao.dataplane.gateway.shapes import NOTHING, Shape
from jinqiao.dataplane.gateway.values import filter_text, key_text, key_value
from jinqiao.kernel.contracts.grants import GrantedItem, SharingMode
from jinqiao.kernel.contracts.policy import Operation, ServicePolicy
from jinqiao.kernel.contracts.tables import Engine, LogicalType, Mask, Operator, RowCondition

ONE_BY_ONE = (Operation.QUERY, Operation.BATCH, Operation.VERIFY)
"""What an HTTP service of a department can be asked: it answers look-ups, it cannot be filtered."""

_LOOK_UPS = (Operation.QUERY, Operation.BATCH)
# to read a member off its class costs a call as much as its masks do (Python 3.11)
_INTERFACE, _HTTP, _BATCH = SharingMode.INTERFACE, Engine.HTTP, Operation.BATCH
MOST_SHAPES = 500  # kept of one service and role
Key = tuple[str, ...]


class Permission(Struct, gc=False):  # not frozen: that would cost every call as much as its masks do
    """What may be read, and what of it may be said: the items of `shape`, with the masks of the caller's role.

    `keys` are canonical texts in the order of the shape's key items, one of a query or verification, many of a batch. `row_cap`
    rows are answered for one key or on one page at most.
    """

    service: ServicePolicy
    operation: Operation
    shape: Shape
    keys: tuple[Key, ...]
    row_cap: int
    case_number: str = ""
    claims: tuple[str, ...] = ()
    conditions: tuple[RowCondition, ...] = ()
    filtered: tuple[GrantedItem, ...] = ()
    order: tuple[tuple[GrantedItem, bool], ...] = ()
    whole_order: tuple[str, ...] = ()
    after: str = ""


def callable_service(services: Mapping[str, ServicePolicy], name: str, application_id: str) -> ServicePolicy:
    """The service of that name, if this application may call it. Raises ServiceUnknown in both other cases alike."""
    service = services.get(name)
    if service is None or application_id not in service.applications:
        raise ServiceUnknown
    return service


def permit(service: ServicePolicy, operation: Operation, question: Question, *, at: datetime, use: Use) -> Permission:
    """Decide on one call to a service that the application may call.

    `at` is the gateway's own local time; `use` what the application and the service have used of their quotas.

    Raises: ServiceSuspended, GrantNotLive, ServiceEnded, OutsideHours, OperationNotOffered, RateExceeded, CallsOfTodayUsed,
    RowsOfTodayUsed, PurposeMissing, PurposeNotGranted, CaseNumberMissing, EndUserMissing, ItemsNotGranted, KeysNotExact,
    KeyNotValid, BatchTooLarge, ClaimsNotGranted, FilterNotAllowed, FilterNotValid, PageTooLarge.
    """
    _check_open(service, at)
    _check_offered(service, operation)
    rows_left = _check_quotas(service, operation, question, use, at)
    _check_reason(service, question)
    granted = items_for(service, question.role)
    cap = min(service.row_cap, rows_left)
    if operation in _LOOK_UPS:
        return _look_up(service, operation, question, granted, cap)
    match operation:
        case Operation.VERIFY:
            return _verification(service, question, granted)
        case Operation.LIST:
            return _listing(service, question, granted, cap)
    conditions, filtered = _conditions(service, question.filter, granted)
    return Permission(
        service, operation, NOTHING, (), 0, question.case_number, conditions=conditions, filtered=filtered
    )


def _check_open(service: ServicePolicy, at: datetime) -> None:
    grant, on = service.grant, at.date()
    if service.suspended:
        raise ServiceSuspended
    if grant.mode is not _INTERFACE or not grant.is_live(on):
        raise GrantNotLive(
            grant=grant.grant_id, valid_from=grant.valid_from.isoformat(), valid_until=grant.valid_until.isoformat()
        )
    if service.ends_on is not None and on > service.ends_on:
        raise ServiceEnded(ends_on=service.ends_on.isoformat(), successor=service.successor or "—")
    if service.hours and not is_open(service.hours, at):
        raise OutsideHours(allowed=in_words(service.hours))


def offered(service: ServicePolicy) -> tuple[Operation, ...]:
    """The operations that the service answers, with what its source is."""
    if service.connection.engine is not _HTTP:
        return service.operations
    return tuple(operation for operation in service.operations if operation in ONE_BY_ONE)


def _check_offered(service: ServicePolicy, operation: Operation) -> None:
    if operation not in service.operations or (service.connection.engine is _HTTP and operation not in ONE_BY_ONE):
        raise OperationNotOffered(allowed="、".join(offered(service)))


def _check_quotas(service: ServicePolicy, operation: Operation, question: Question, use: Use, at: datetime) -> int:
    """How many rows may still be answered today."""
    if use.wait_s > 0:
        raise RateExceeded(limit=service.calls_per_minute, retry_after=max(1, int(use.wait_s + 0.999)))
    daily = service.calls_per_day
    if daily is not None and use.calls + question.keys > daily:
        raise CallsOfTodayUsed(limit=daily, left=max(0, daily - use.calls), retry_after=day_ends_in_s(at))
    if service.rows_per_day is None:
        return service.row_cap
    left = service.rows_per_day - use.rows
    if left <= 0 and operation not in (Operation.VERIFY, Operation.COUNT):
        raise RowsOfTodayUsed(limit=service.rows_per_day, retry_after=day_ends_in_s(at))
    return max(0, left)


def _check_reason(service: ServicePolicy, question: Question) -> None:
    grant = service.grant
    if not question.purpose:
        raise PurposeMissing(allowed="、".join(grant.purposes))
    if question.purpose not in grant.purposes:
        raise PurposeNotGranted(allowed="、".join(grant.purposes))
    if (grant.case_number_required or service.case_column) and not question.case_number.strip():
        raise CaseNumberMissing
    if service.end_user_required and not question.end_user.strip():
        raise EndUserMissing


def _look_up(
    service: ServicePolicy, operation: Operation, question: Question, granted: Granted, cap: int
) -> Permission:
    shape = granted.looked_up.get(question.items) or _look_up_shape(service, question.items, granted)
    given: Sequence[Mapping[str, Any]] = (question.by,)
    if operation is _BATCH:
        given = question.batch
        most = min(service.batch_cap, service.calls_per_minute)
        if len(given) > most:
            raise BatchTooLarge(allowed=most)
    keys = _keys(service, given, shape, is_file=question.is_file)
    return Permission(service, operation, shape, keys, cap, question.case_number)


def _look_up_shape(service: ServicePolicy, codes: tuple[str, ...], granted: Granted) -> Shape:
    items, key_items = _granted_items(codes, granted), _key_items(service, granted)
    read = _with_persons(service, items, key_items, granted)
    return _kept(granted.looked_up, codes, Shape(items, read, key_items, service.subject_items))


def _kept(shapes: dict[tuple[str, ...], Shape], codes: tuple[str, ...], shape: Shape) -> Shape:
    if len(shapes) >= MOST_SHAPES:  # callers may ask for their items in any order
        shapes.clear()
    shapes[codes] = shape
    return shape


def _verification(service: ServicePolicy, question: Question, granted: Granted) -> Permission:
    """Granted items may be verified as far as their masks show them; what is hidden whole, not at all."""
    claims = question.claims or {}
    shape = granted.verified.get(tuple(claims)) or _verified_shape(service, tuple(claims), granted)
    keys = _keys(service, (question.by,), shape)
    texts = tuple(_claim(claims[item.code], item) for item in shape.items)
    return Permission(service, Operation.VERIFY, shape, keys, service.row_cap, question.case_number, texts)


def _verified_shape(service: ServicePolicy, claimed: tuple[str, ...], granted: Granted) -> Shape:
    open_ = {code: item for code, item in granted.items() if not _is_hidden(item)}
    if not claimed or any(code not in open_ for code in claimed):
        raise ClaimsNotGranted(allowed="、".join(open_))
    items = tuple(open_[code] for code in claimed)
    shape = Shape(items, items, _key_items(service, granted), service.subject_items)
    return _kept(granted.verified, claimed, shape)


def _claim(value: Any, item: GrantedItem) -> str:
    if item.type is LogicalType.DOUBLE:
        text = filter_text(value, Operator.AT_LEAST, item.type)
        if text is None:
            raise KeyNotValid(item=item.code, type=item.type.value)
        return text
    return key_value(value, item)


def _is_hidden(item: GrantedItem) -> bool:
    return item.mask is Mask.HIDDEN or (item.mask is not Mask.NONE and item.type is not LogicalType.TEXT)


def _listing(service: ServicePolicy, question: Question, granted: Granted, cap: int) -> Permission:
    shape = granted.listed.get(question.items) or _listed_shape(service, question.items, granted)
    conditions, filtered = _conditions(service, question.filter, granted)
    order = _order(service, question.order, granted)
    if question.size > service.row_cap:
        raise PageTooLarge(allowed=service.row_cap)
    return Permission(
        service,
        Operation.LIST,
        shape,
        (),
        min(question.size or service.row_cap, cap),
        question.case_number,
        conditions=conditions,
        filtered=filtered,
        order=order,
        whole_order=tuple(item.column for item in granted.values() if item.mask is Mask.NONE),
        after=question.after,
    )


def _listed_shape(service: ServicePolicy, codes: tuple[str, ...], granted: Granted) -> Shape:
    items = _granted_items(codes, granted)
    read = _with_persons(service, items, (), granted)
    return _kept(granted.listed, codes, Shape(items, read, (), service.subject_items))


def _granted_items(codes: Sequence[str], granted: Mapping[str, GrantedItem]) -> tuple[GrantedItem, ...]:
    if not codes or any(code not in granted for code in codes):
        raise ItemsNotGranted(allowed="、".join(granted))
    return tuple(granted[code] for code in codes)


def _key_items(service: ServicePolicy, granted: Mapping[str, GrantedItem]) -> tuple[GrantedItem, ...]:
    """None where not all of them are granted: then no key is exact."""
    codes = service.key_items
    return tuple(granted[code] for code in codes) if all(code in granted for code in codes) else ()


def _keys(
    service: ServicePolicy, given: Sequence[Mapping[str, Any]], shape: Shape, *, is_file: bool = False
) -> tuple[Key, ...]:
    items = shape.key_items
    for key in given:
        if not items or key.keys() != shape.key_codes:
            raise KeysNotExact(wanted="、".join(service.key_items))
    read = _file_value if is_file else key_value
    if len(items) == 1:  # as nearly always
        (item,) = items
        return tuple([(read(key[item.code], item),) for key in given])
    return tuple([tuple([read(key[item.code], item) for item in items]) for key in given])


def _file_value(value: Any, item: GrantedItem) -> str:
    text = key_text(value, item.type)
    if text is None:
        raise KeyNotValid(item=item.code, type=item.type.value)
    return text


def _with_persons(
    service: ServicePolicy,
    items: tuple[GrantedItem, ...],
    key_items: tuple[GrantedItem, ...],
    granted: Mapping[str, GrantedItem],
) -> tuple[GrantedItem, ...]:
    """Items to read: where nobody is named by key or answer, the persons of the rows are read for the record alone."""
    persons = set(service.subject_items)
    if not persons or any(item.code in persons for item in (*items, *key_items)):
        return items
    return (*items, *(granted[code] for code in service.subject_items if code in granted))


def _filterable(service: ServicePolicy, granted: Mapping[str, GrantedItem]) -> list[str]:
    """What the service opens and this caller sees unmasked: a filter on anything else would tell what the mask hides."""
    return [code for code in service.filter_items if code in granted and granted[code].mask is Mask.NONE]


def _conditions(
    service: ServicePolicy, asked: Sequence[Condition], granted: Mapping[str, GrantedItem]
) -> tuple[tuple[RowCondition, ...], tuple[GrantedItem, ...]]:
    allowed = _filterable(service, granted)
    if any(condition.item not in allowed for condition in asked):
        raise FilterNotAllowed(allowed="、".join(allowed))
    found, filtered = [], []
    for condition in asked:
        item = granted[condition.item]
        texts = [filter_text(value, condition.operator, item.type) for value in condition.values]
        if None in texts:
            raise FilterNotValid(item=item.code, type=item.type.value)
        found.append(
            RowCondition(
                column=item.column, operator=condition.operator, values=tuple(t for t in texts if t is not None)
            )
        )
        filtered.append(item)
    return tuple(found), tuple(filtered)


def _order(
    service: ServicePolicy, asked: Sequence[Ordering], granted: Mapping[str, GrantedItem]
) -> tuple[tuple[GrantedItem, bool], ...]:
    allowed = [code for code in _filterable(service, granted) if granted[code].type is not LogicalType.BINARY]
    if any(ordering.item not in allowed for ordering in asked):
        raise FilterNotAllowed(allowed="、".join(allowed))
    return tuple((granted[ordering.item], ordering.descending) for ordering in asked)
