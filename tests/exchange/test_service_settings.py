"""What the provider sets on a service, and what of it reaches the gateway."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import QuerySet

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.errors import LimitBroken, NotYourService
from jinqiao.exchange.models import QueryService
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
from tests.exchange.factories import Served

pytestmark = pytest.mark.django_db


def settings(**changes: Any) -> actions.ServiceSettings:
    return actions.ServiceSettings(**{"operations": (Operation.QUERY,), **changes})


FULL = settings(
    operations=(Operation.QUERY, Operation.LIST, Operation.COUNT),
    filter_items=("djrq",),
    case_item="xm",
    end_user_required=True,
    role_masks=(RoleMask(role="窗口人员", code="xm", mask=Mask.NAME),),
    row_cap=7,
    batch_cap=9,
    smallest_count=10,
    calls_per_minute=60,
    calls_per_day=1000,
    rows_per_day=5000,
    hours=(Hours(first="08:30", last="12:00", weekdays=(1, 2, 3, 4, 5)),),
    version=2,
    national_id="sid-hunyin",
)


def test_what_is_set_is_what_the_gateway_enforces(served: Served) -> None:
    actions.set_service(served.service, FULL, by=served.world.parties.clerk)
    policy = served.policy()
    assert policy is not None

    (service,) = policy.services

    assert service.operations == FULL.operations
    assert (service.filter_items, service.case_column, service.end_user_required) == (("djrq",), "name", True)
    assert (service.role_masks, service.hours, service.version) == (FULL.role_masks, FULL.hours, 2)
    assert (service.row_cap, service.batch_cap, service.smallest_count) == (7, 9, 10)
    assert (service.calls_per_minute, service.calls_per_day, service.rows_per_day) == (60, 1000, 5000)
    assert actions.settings_of(QueryService.objects.get(pk=served.service.pk)) == FULL


def test_the_trail_says_what_changed_and_nothing_where_nothing_did(served: Served) -> None:
    actions.set_service(served.service, FULL, by=served.world.parties.clerk)
    actions.set_service(served.service, FULL, by=served.world.parties.clerk)

    (event,) = AuditEvent.objects.filter(action="exchange.service.set")
    assert event.details["before"]["row_cap"] == 100
    assert event.details["after"]["row_cap"] == 7


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"operations": ()}, NoOperationOffered),
        ({"row_cap": 0}, LimitBroken),
        ({"row_cap": 1001}, LimitBroken),
        ({"batch_cap": 0}, LimitBroken),
        ({"smallest_count": -1}, LimitBroken),
        ({"calls_per_minute": 0}, LimitBroken),
        ({"calls_per_day": 0}, LimitBroken),
        ({"rows_per_day": 0}, LimitBroken),
        ({"version": 0}, LimitBroken),
        ({"filter_items": ("nobody",)}, FilterItemNotOpen),
        ({"case_item": "nobody"}, CaseItemNotBound),
        ({"role_masks": (RoleMask(role=" ", code="xm", mask=Mask.NAME),)}, RoleMaskWrong),
        ({"role_masks": (RoleMask(role="甲", code="nobody", mask=Mask.NAME),)}, RoleMaskWrong),
        ({"role_masks": (RoleMask(role="甲", code="xm", mask=Mask.NAME),) * 2}, RoleMaskWrong),
        ({"hours": (Hours(first="17:30", last="08:30"),)}, HoursWrong),
        ({"hours": (Hours(first="8:30", last="17:30"),)}, HoursWrong),
        ({"hours": (Hours(first="08:30", last="17:30", weekdays=()),)}, HoursWrong),
        ({"hours": (Hours(first="08:30", last="17:30", weekdays=(8,)),)}, HoursWrong),
    ],
)
def test_what_cannot_stand_is_refused(served: Served, changes: dict[str, Any], error: type[Exception]) -> None:
    before = actions.settings_of(served.service)
    with pytest.raises(error):
        actions.set_service(served.service, settings(**changes), by=served.world.parties.clerk)

    assert actions.settings_of(QueryService.objects.get(pk=served.service.pk)) == before


def test_a_masked_item_is_no_filter(served: Served) -> None:
    masked = [{**item, "mask": "hidden"} if item["code"] == "djrq" else item for item in served.grant.items]
    QuerySet.update(type(served.grant).objects.all(), items=masked)  # around the manager that keeps terms as they are
    with pytest.raises(FilterItemNotOpen):
        actions.set_service(served.service, FULL, by=served.world.parties.clerk)


def test_settings_are_the_providers(served: Served) -> None:
    for stranger in (served.world.parties.asker, served.developer, served.world.admin):
        with pytest.raises(NotYourService):
            actions.set_service(served.service, FULL, by=stranger)
        with pytest.raises(NotYourService):
            actions.announce_end(served.service, by=stranger, ends_on=None)


def test_a_version_does_not_go_back(served: Served) -> None:
    actions.set_service(served.service, FULL, by=served.world.parties.clerk)
    with pytest.raises(VersionGoesBack):
        actions.set_service(served.service, settings(version=1), by=served.world.parties.clerk)


def test_an_end_is_announced_with_notice_and_can_be_taken_back(served: Served) -> None:
    clerk, today = served.world.parties.clerk, moments.today()
    with pytest.raises(EndTooSoon):
        actions.announce_end(served.service, by=clerk, ends_on=today + timedelta(days=29))
    with pytest.raises(SuccessorWrong):
        actions.announce_end(served.service, by=clerk, ends_on=today + timedelta(days=30), successor=served.service)
    other = QueryService.objects.get(grant=served.world.grant(mode="interface", items=["xm", "sfzh"]))

    actions.announce_end(served.service, by=clerk, ends_on=today + timedelta(days=30), successor=other)

    policy = served.policy()
    assert policy is not None
    found = next(service for service in policy.services if service.service == served.service.number)
    assert (found.deprecated_on, found.ends_on, found.successor) == (today, today + timedelta(days=30), other.number)

    actions.announce_end(served.service, by=clerk, ends_on=None)
    again = QueryService.objects.get(pk=served.service.pk)
    assert (again.deprecated_on, again.ends_on, again.successor) == (None, None, None)


def test_a_national_id_belongs_to_one_service(served: Served) -> None:
    other = served.world.grant(mode="interface").query_service
    actions.set_service(other, settings(national_id="sid-1"), by=served.world.parties.clerk)

    with pytest.raises(NationalIdTaken):
        actions.set_service(served.service, settings(national_id="sid-1"), by=served.world.parties.clerk)
    assert (
        actions.set_service(other, settings(national_id="sid-1", row_cap=3), by=served.world.parties.clerk).row_cap == 3
    )
