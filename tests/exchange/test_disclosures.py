"""谁查了我: found by commitments; the number stands nowhere."""

import json
from datetime import date
from typing import Any

import pytest
from django.apps import apps
from django.core import serializers

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions.disclosures import disclosures_of
from jinqiao.exchange.actions.subjects import commitments_of
from jinqiao.exchange.oversight_errors import (
    DisclosureReferenceMissing,
    NotTheRightsDesk,
    PersonNumberWrong,
)
from jinqiao.exchange.queries.disclosures import Period
from tests.exchange.factories import Served
from tests.exchange.oversight import at, keep
from tests.factories import make_post

pytestmark = pytest.mark.django_db
NUMBER = "11010519491231002X"
DAY = date(2026, 3, 17)


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Any) -> None:
    settings.HOME = tmp_path


def asked(served: Served) -> None:
    (own,) = commitments_of(NUMBER)
    keep(
        served,
        {"at": at(DAY), "subjects": (own, "k:other"), "items": ("xm", "djrq")},
        {"at": at(DAY, 11), "subjects": (own,), "rows": 0},
        {"at": at(DAY, 12), "subjects": (own,), "outcome": "gateway.items.not_granted", "rows": 0},
        {"at": at(DAY, 13), "subjects": (own,), "environment": "sandbox"},
        {"at": at(DAY, 14), "subjects": ("k:other",)},
    )


def test_it_says_who_when_for_what_on_which_basis_and_which_items(served: Served) -> None:
    asked(served)
    found = disclosures_of(NUMBER, Period())
    empty, full = found.calls

    assert (found.refused, found.more, empty.found, full.found) == (1, False, False, True)
    assert full.items == ("姓名", "登记日期")
    assert (full.consumer, full.provider) == (served.grant.consumer.name, served.grant.provider.name)
    assert (full.application, full.purpose) == (served.application.name, "公租房资格审核")
    assert full.basis == served.grant.request.basis


def test_a_period_narrows_it(served: Served) -> None:
    asked(served)

    assert disclosures_of(NUMBER, Period(since=date(2026, 3, 18))).calls == ()
    assert disclosures_of(NUMBER, Period(until=date(2026, 3, 16))).calls == ()
    assert len(disclosures_of(NUMBER, Period(DAY, DAY)).calls) == 2


def test_calls_under_an_older_key_are_still_found(served: Served) -> None:
    asked(served)
    from jinqiao.exchange.actions import subjects

    subjects._store().change(subjects.KEYS, subjects._added)
    assert len(commitments_of(NUMBER)) == 2

    assert len(disclosures_of(NUMBER, Period()).calls) == 2


def test_only_the_authority_answers_and_says_for_which_request(served: Served) -> None:
    asked(served)
    bureau = served.world.parties.bureau
    for post in (served.world.parties.clerk, make_post(Role.AUDITOR)):
        with pytest.raises(NotTheRightsDesk):
            actions.tell_disclosures(NUMBER, Period(), by=post, reference="CY-1")
    with pytest.raises(DisclosureReferenceMissing):
        actions.tell_disclosures(NUMBER, Period(), by=bureau, reference=" ")
    with pytest.raises(PersonNumberWrong) as refused:
        actions.tell_disclosures("110105194912310021", Period(), by=bureau, reference="CY-1")

    assert "110105" not in json.dumps(dict(refused.value.details))


def test_the_number_stands_in_no_row(served: Served) -> None:
    asked(served)
    found = actions.tell_disclosures(NUMBER, Period(), by=served.world.parties.bureau, reference="CY-1")
    actions.export_disclosures(list(found.commitments), Period(), by=served.world.parties.bureau, reference="CY-1")

    event = AuditEvent.objects.filter(action="exchange.disclosure.tell").get()
    assert event.details["commitments"] == commitments_of(NUMBER)
    for model in apps.get_models():
        assert NUMBER not in serializers.serialize("json", model._default_manager.all()), model
