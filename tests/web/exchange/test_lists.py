"""The lists of movement are narrowed by department, by text and by day; an export holds what the list shows."""

from datetime import timedelta
from io import BytesIO
from typing import Any

import openpyxl
import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.exchange.enums import ALERT_OF, AlertKind, AnomalyKind
from jinqiao.exchange.models import Alert, Anomaly, DataSource, Node
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind
from tests.exchange.factories import Served, World, make_node, make_source, make_world
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db


def page(name: str) -> str:
    return reverse(f"exchange:{name}")


def count_of(client: Any, name: str, **query: Any) -> int:
    """Rows of the list, which the export of the same query has too."""
    count = int(client.get(page(name), query).context["page"].paginator.count)
    file = b"".join(client.get(page(name), {**query, "export": "xlsx"}).streaming_content)
    sheet = openpyxl.load_workbook(BytesIO(file)).active
    assert len(list(sheet.iter_rows(min_row=2))) == count, (name, query)
    return count


@pytest.mark.parametrize(("name", "model"), [("nodes", Node), ("sources", DataSource)])
def test_what_stands_in_departments_is_narrowed_to_one_of_them(enter: Any, world: World, name: str, model: Any) -> None:
    other = make_organisation()
    make_source(make_node(other), make_post(Role.OPERATOR, other))
    client = enter(make_post(Role.BUREAU))

    assert count_of(client, name) == model.objects.count() > 2
    for owner in (other, world.parties.provider, world.parties.consumer):
        assert count_of(client, name, organisation=owner.pk) == 1
    assert count_of(client, name, organisation=other.pk, q="没有这个") == 0


def test_entries_to_bind_are_narrowed_to_one_provider(enter: Any, world: World) -> None:
    client = enter(make_post(Role.BUREAU))

    assert count_of(client, "bindings", organisation=world.parties.provider.pk) == 1
    assert "organisation" in client.get(page("bindings"), {"organisation": "0"}).context["form"].errors


@pytest.mark.parametrize("name", ["nodes", "sources", "bindings"])
def test_who_sees_one_department_is_not_asked_for_which(enter: Any, world: World, name: str) -> None:
    response = enter(world.parties.clerk).get(page(name), {"organisation": make_organisation().pk})

    assert "organisation" not in response.context["form"].fields
    assert response.context["page"].paginator.count == 1


def test_services_are_narrowed_by_both_sides(enter: Any, served: Served) -> None:
    grant, other = served.grant, make_world()
    other.grant(mode="interface")
    for viewer, everything in ((make_post(Role.BUREAU), 2), (served.world.parties.clerk, 1), (served.developer, 1)):
        client = enter(viewer)
        assert count_of(client, "services") == everything
        assert count_of(client, "services", provider=grant.provider_id) == 1
        assert count_of(client, "services", provider=grant.provider_id, consumer=grant.consumer_id) == 1
        assert count_of(client, "services", consumer=grant.consumer_id, state="suspended") == 0
        assert count_of(client, "services", provider=other.parties.provider.pk) == everything - 1
        assert count_of(client, "services", provider=grant.provider_id, consumer=other.parties.consumer.pk) == 0


def silent(world: World) -> Alert:
    """An alert of the consumer's node, opened yesterday."""
    node = world.consumer_node.node
    return Alert.objects.create(
        kind=AlertKind.NODE_SILENT,
        key=f"node:{node.pk}",
        organisation=node.organisation,
        node=node,
        opened_at=moments.now() - timedelta(days=1),
    )


def test_alerts_are_narrowed_by_department_text_and_day(enter: Any, world: World) -> None:
    run = world.run()
    provider = world.provider_node
    provider.answer(provider.failed(provider.take(CommandKind.EXTRACT), "source.table.missing", retryable=False))
    failed, quiet = Alert.objects.get(run=run), silent(world)
    today, yesterday = (day.isoformat() for day in (moments.today(), moments.today() - timedelta(days=1)))
    client = enter(make_post(Role.BUREAU))
    for query, count in (
        ({}, 2),
        ({"organisation": quiet.organisation_id}, Alert.objects.filter(organisation=quiet.organisation).count()),
        ({"organisation": make_organisation().pk}, 2),  # has no alert: not offered, narrows nothing
        ({"q": run.number}, 1),
        ({"q": run.task.number}, 1),
        ({"q": run.task.grant.version.name}, 1),
        ({"q": f" {quiet.node.number} "}, 1),
        ({"q": quiet.node.name, "kind": "run_failed"}, 0),
        ({"q": "没有这个"}, 0),
        ({"since": today}, 1),
        ({"until": yesterday}, 1),
        ({"since": yesterday, "until": yesterday, "status": "open"}, 1),
        ({"since": yesterday, "until": today}, 2),
        ({"since": "2030-01-01"}, 0),
    ):
        assert count_of(client, "alerts", **query) == count, query
    (row,) = client.get(page("alerts"), {"since": today}).context["page"]
    assert row == failed


def test_a_service_named_in_an_anomaly_finds_its_alert(enter: Any, world: World) -> None:
    anomaly = Anomaly.objects.create(
        kind=AnomalyKind.VOLUME,
        key="one",
        service="svc-0007",
        application="app-0003",
        since=moments.now(),
        until=moments.now(),
        found_at=moments.now(),
    )
    Alert.objects.create(
        kind=ALERT_OF[AnomalyKind.VOLUME],
        key="anomaly:1",
        organisation=world.parties.consumer,
        anomaly=anomaly,
        opened_at=moments.now(),
    )
    client = enter(world.parties.asker)

    assert [count_of(client, "alerts", q=text) for text in ("SVC-0007", "app-0003", "svc-0008")] == [1, 1, 0]
