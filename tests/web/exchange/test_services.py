"""Pages of query services and calls."""

import dataclasses
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.exchange import actions
from jinqiao.exchange.models import QueryService
from jinqiao.sharing import actions as sharing_actions
from tests.exchange.factories import Served, call_record, evidence_batches
from tests.factories import make_application, make_post

pytestmark = pytest.mark.django_db


def page_of(served: Served) -> str:
    return reverse("exchange:service", args=[served.service.pk])


def test_the_page_says_how_to_call_and_what_is_shown(enter: Any, served: Served) -> None:
    text = enter(served.developer).get(page_of(served)).content.decode()

    assert f"POST /gateway/v1/services/{served.service.number}/query" in text
    assert "公租房资格审核" in text
    assert served.application.number in text
    assert served.secret not in text


def test_a_service_that_cannot_be_called_says_why(enter: Any, served: Served) -> None:
    sharing_actions.suspend_grant(served.grant, by=served.world.parties.provider_head, reason="核查用途")

    assert "授权不在有效状态" in enter(served.world.parties.asker).get(page_of(served)).content.decode()


def test_applications_are_attached_and_detached(enter: Any, served: Served) -> None:
    other = make_application(served.world.parties.consumer)
    client = enter(served.world.parties.asker)
    client.post(reverse("exchange:service_attach", args=[served.service.pk]), {"application": other.pk})
    assert other in served.service.applications.all()

    client.post(reverse("exchange:service_detach", args=[served.service.pk, other.pk]))

    assert other not in served.service.applications.all()


def test_anothers_application_is_not_offered_and_not_taken(enter: Any, served: Served) -> None:
    stranger = make_application()
    client = enter(served.world.parties.asker)
    client.post(reverse("exchange:service_attach", args=[served.service.pk]), {"application": stranger.pk})

    assert stranger not in served.service.applications.all()


def test_the_provider_attaches_nothing(enter: Any, served: Served) -> None:
    other = make_application(served.world.parties.consumer)
    response = enter(served.world.parties.clerk).post(
        reverse("exchange:service_attach", args=[served.service.pk]), {"application": other.pk}
    )

    assert response.status_code == 403
    assert other not in served.service.applications.all()


def test_limits_are_set_by_the_provider(enter: Any, served: Served) -> None:
    page = reverse("exchange:service_limit", args=[served.service.pk])
    assert enter(served.world.parties.asker).get(page).status_code == 403
    client = enter(served.world.parties.clerk)
    assert "row_cap" in client.post(page, {"row_cap": "0", "calls_per_minute": "60"}).context["form"].errors
    client.post(page, {"row_cap": "5", "calls_per_minute": "60"})

    served.service.refresh_from_db()
    assert (served.service.row_cap, served.service.calls_per_minute) == (5, 60)


def test_a_service_is_suspended_and_resumed(enter: Any, served: Served) -> None:
    client = enter(served.world.provider_admin)
    client.post(reverse("exchange:service_state", args=[served.service.pk, "suspend"]), {"reason": "源库维护"})
    assert QueryService.objects.get(pk=served.service.pk).is_suspended

    client.post(reverse("exchange:service_state", args=[served.service.pk, "resume"]))

    assert not QueryService.objects.get(pk=served.service.pk).is_suspended


def shipped(served: Served) -> None:
    (batch,) = evidence_batches(
        [
            call_record(served, 1),
            call_record(served, 2, outcome="exchange.grant.not_live", rows=0),
            call_record(served, 3, outcome="nobody.knows.this", rows=0),
        ]
    )
    actions.accept_evidence(served.gateway.node, batch)


def test_calls_are_filtered_and_exported(enter: Any, served: Served) -> None:
    shipped(served)
    client = enter(served.world.parties.asker)
    page = reverse("exchange:calls")
    for query, count in (
        ({}, 3),
        ({"outcome": "ok"}, 1),
        ({"outcome": "refused"}, 2),
        ({"q": "GZF-2"}, 1),
        ({"service": served.service.number}, 3),
        ({"service": "other"}, 0),
        ({"since": "2030-01-01"}, 0),
        ({"until": "2020-01-01"}, 0),
    ):
        assert client.get(page, query).context["page"].paginator.count == count, query
    text = client.get(page).content.decode()
    assert "nobody.knows.this" in text
    assert b"".join(client.get(page, {"export": "xlsx"}).streaming_content)[:2] == b"PK"
    assert b"".join(client.get(reverse("exchange:services"), {"export": "xlsx"}).streaming_content)[:2] == b"PK"


def test_queries_do_not_grow_with_the_rows(enter: Any, served: Served, django_assert_max_num_queries: Any) -> None:
    client = enter(make_post(Role.BUREAU))
    shipped(served)
    counts = {}
    for name in ("services", "calls"):
        client.get(reverse(f"exchange:{name}"))
        with CaptureQueriesContext(connection) as few:
            client.get(reverse(f"exchange:{name}"))
        counts[name] = len(few)
    for _ in range(3):
        served.world.grant(mode="interface")
    (more,) = evidence_batches([call_record(served, number, lane="lane-2") for number in range(1, 6)])
    more = dataclasses.replace(
        more,
        records=tuple(dataclasses.replace(record, call_id=f"second-{record.number}") for record in more.records),
    )
    actions.accept_evidence(served.gateway.node, evidence_batches(list(more.records))[0])
    for name, count in counts.items():
        with django_assert_max_num_queries(count):
            client.get(reverse(f"exchange:{name}"))
