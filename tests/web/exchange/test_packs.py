"""Evidence as files from pages; packs are asked for, told how far, downloaded, by the authority and the auditor alone."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.dataplane.verify import main
from jinqiao.exchange import tasks
from jinqiao.exchange.models import OutboxMessage
from jinqiao.exchange.queries.packs import TOPIC, PackState
from tests.exchange.factories import Served, World
from tests.exchange.test_packs import DAY, ship
from tests.factories import make_post

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HOME = tmp_path
    monkeypatch.setenv("JINQIAO_FIXED_DATE", (DAY + timedelta(days=1)).isoformat())


def page(name: str, *arguments: Any) -> str:
    return reverse(f"exchange:{name}", args=arguments)


def test_the_auditor_exports_a_period_and_verifies_it(enter: Any, served: Served, tmp_path: Path) -> None:
    ship(served, 0)
    client = enter(make_post(Role.AUDITOR))
    node = served.gateway.node
    assert f"{page('pack_new')}?gateway={node.pk}" in client.get(page("node", node.pk)).content.decode()
    assert f'value="{node.pk}" selected' in client.get(page("pack_new"), {"gateway": node.pk}).content.decode()

    asked = {"gateway": node.pk, "since": DAY.isoformat(), "until": DAY.isoformat()}
    assert client.post(page("pack_new"), asked).status_code == 302
    row = OutboxMessage.objects.get(topic=TOPIC)
    assert 'hx-trigger="every 2s"' in client.get(page("packs")).content.decode()
    assert client.post(page("pack_download", row.pk)).status_code == 404
    tasks.work_message(row.pk)

    text = client.get(page("packs"), HTTP_HX_REQUEST="true").content.decode()
    assert "every 2s" not in text
    assert page("pack_download", row.pk) in text
    response = client.post(page("pack_download", row.pk))
    file = tmp_path / "pack.zip"
    file.write_bytes(b"".join(response.streaming_content))
    assert main([str(file)]) == 0
    assert AuditEvent.objects.filter(action="exchange.evidence.download").count() == 1
    assert client.get(page("packs"), {"export": "xlsx"}).status_code == 200


def test_a_pack_on_its_way_shows_how_far_it_is_and_one_that_failed_why(enter: Any, served: Served) -> None:
    client = enter(make_post(Role.AUDITOR))
    asked = {"gateway": served.gateway.node.pk, "since": DAY.isoformat(), "until": DAY.isoformat()}
    client.post(page("pack_new"), asked)
    row = OutboxMessage.objects.get(topic=TOPIC)
    row.body = {**row.body, "state": PackState.WORKING.value, "done": 30, "total": 120}
    row.save()
    assert "120批中的30批" in client.get(page("packs")).content.decode()
    tasks.work_message(row.pk)
    assert "所选范围内没有调用记录" in client.get(page("packs")).content.decode()
    assert "没有存证包" in client.get(page("packs"), {"state": "ready"}).content.decode()
    assert client.get(page("packs"), {"gateway": served.gateway.node.pk}).context["page"].paginator.count == 1


@pytest.mark.parametrize(("since", "until"), [(1, 0), (0, 2), (None, 0), ("x", "y")])
def test_a_period_that_makes_no_sense_is_told_at_its_field(enter: Any, served: Served, since: Any, until: Any) -> None:
    client = enter(make_post(Role.AUDITOR))

    def day(value: Any) -> str:
        return (DAY + timedelta(days=value)).isoformat() if isinstance(value, int) else str(value or "")

    asked = {"gateway": served.gateway.node.pk, "since": day(since), "until": day(until)}
    assert client.post(page("pack_new"), asked).status_code == 200
    assert not OutboxMessage.objects.filter(topic=TOPIC).exists()


def test_departments_get_no_packs(enter: Any, served: Served) -> None:
    ship(served, 0)
    enter(make_post(Role.AUDITOR)).post(
        page("pack_new"), {"gateway": served.gateway.node.pk, "since": DAY.isoformat(), "until": DAY.isoformat()}
    )
    row = OutboxMessage.objects.get(topic=TOPIC)
    tasks.work_message(row.pk)
    for post in (served.world.parties.clerk, make_post(Role.DEVELOPER), make_post(Role.LEADER)):
        client = enter(post)
        assert client.get(page("packs")).status_code == 403
        assert client.get(page("pack_new")).status_code == 403
        assert client.post(page("pack_download", row.pk)).status_code == 403
    assert enter(make_post(Role.BUREAU)).post(page("pack_download", row.pk)).status_code == 403


def test_the_receipt_of_a_run_is_downloaded_by_both_sides(enter: Any, world: World, tmp_path: Path) -> None:
    run = world.run()
    assert enter(make_post(Role.AUDITOR)).post(page("run_receipt", run.pk)).status_code == 404
    world.finished(run)

    for post in (make_post(Role.AUDITOR), world.parties.asker, world.parties.clerk):
        client = enter(post)
        assert page("run_receipt", run.pk) in client.get(page("run", run.pk)).content.decode()
        response = client.post(page("run_receipt", run.pk))
        file = tmp_path / "receipt.json"
        file.write_bytes(response.content)
        assert main([str(file)]) == 0
        assert f"{run.number}.receipt.json" in response["Content-Disposition"]
    assert AuditEvent.objects.filter(action="exchange.receipt.export").count() == 3
    assert enter(make_post(Role.OPERATOR)).post(page("run_receipt", run.pk)).status_code == 404
    assert enter(make_post(Role.DEVELOPER)).post(page("run_receipt", run.pk)).status_code == 403
