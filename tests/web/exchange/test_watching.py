"""The map of who supplies whom, the charts of thirty days, alerts and where they go; sources of every kind; bundles and keys."""

import json
import re
from typing import Any

import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.dataplane.connectors.http_options import HealthPath, options_of
from jinqiao.exchange.enums import AlertKind, SourceState
from jinqiao.exchange.models import Alert, AlertChannel, AlertRule, BundleRecord, DataSource
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.web.exchange.http_form import http_initial
from jinqiao.web.exchange.source_forms import SourceForm
from tests.exchange.factories import World, make_source
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db


def page(name: str, *arguments: Any) -> str:
    return reverse(f"exchange:{name}", args=arguments)


def text_of(response: Any) -> str:
    return str(response.content.decode())


def failed(world: World) -> Alert:
    run = world.run()
    provider = world.provider_node
    provider.answer(provider.failed(provider.take(CommandKind.EXTRACT), "source.table.missing", retryable=False))
    return Alert.objects.get(run=run)


def test_every_figure_of_the_map_leads_to_as_many_rows(enter: Any, world: World) -> None:
    world.finished()
    client = enter(make_post(Role.BUREAU))
    response = client.get(page("monitor"))
    (row,) = response.context["rows"]

    assert (row["edge"].tasks, row["edge"].runs, row["edge"].rows) == (1, 1, 3)
    for name in ("tasks_url", "runs_url", "rows_url"):
        assert client.get(row[name]).context["page"].paginator.count == 1, name
    assert client.get(row["failed_url"]).context["page"].paginator.count == 0
    assert client.get(row["calls_url"]).context["page"].paginator.count == 0


def test_the_days_of_the_charts_stand_in_their_tables(enter: Any, world: World) -> None:
    world.finished()
    client = enter(make_post(Role.BUREAU))
    response = client.get(page("monitor"))
    drawn = json.loads(re.search(r'id="runs-data"[^>]*>(.*?)</script>', text_of(response)).group(1))  # type: ignore[union-attr]

    assert [sum(series["values"]) for series in drawn["series"]] == [1, 0, 0]
    assert len(response.context["days"]) == 30
    today = response.context["days"][-1]
    assert client.get(today["states"][0][1]).context["page"].paginator.count == today["states"][0][0] == 1


def test_a_department_sees_its_own_edges_only(enter: Any, world: World) -> None:
    world.finished()

    assert enter(make_post(Role.OPERATOR, make_organisation())).get(page("monitor")).context["rows"] == []
    assert len(enter(world.parties.asker).get(page("monitor")).context["rows"]) == 1


@pytest.mark.parametrize("name", ["monitor", "alerts", "alert_channels", "tasks", "runs"])
def test_what_is_watched_is_exported(enter: Any, world: World, name: str) -> None:
    failed(world)
    response = enter(world.admin).get(page(name), {"export": "xlsx"})

    assert b"".join(response.streaming_content)[:2] == b"PK"


def test_an_alert_says_what_it_means_and_is_taken_note_of(enter: Any, world: World) -> None:
    alert = failed(world)
    client = enter(world.admin)
    assert client.get(page("alerts"), {"status": "open", "kind": "run_failed"}).context["page"].paginator.count == 1
    assert client.get(page("alerts"), {"status": "closed"}).context["page"].paginator.count == 0
    text = text_of(client.get(page("alert", alert.pk)))
    assert "到运行或任务页看原因和处理办法" in text
    assert "source.table.missing" in text
    client.post(page("alert_see", alert.pk))

    alert.refresh_from_db()
    assert (alert.seen_by, alert.closed_at) == (world.admin, None)


def test_every_kind_of_alert_has_its_meaning(enter: Any, world: World) -> None:
    client = enter(make_post(Role.BUREAU))
    for kind in AlertKind:
        details = {"since": moments.now().isoformat(), "rows": 5, "free_bytes": 12, "is_active": True, "slot": "s"}
        node = world.provider_node.node
        alert = Alert.objects.create(
            kind=kind,
            key=f"node:{kind}",
            organisation=node.organisation,
            node=node,
            details=details,
            opened_at=moments.now(),
        )
        assert client.get(page("alert", alert.pk)).status_code == 200, kind


def test_a_rule_is_changed_for_all_by_the_bureau_and_for_a_task_by_its_sides(enter: Any, world: World) -> None:
    task = world.task()
    late = {"is_on": "on", "severity": "serious", "tolerance_s": "7200"}
    own = f"{page('alert_rule', 'run_late')}?task={task.pk}"
    client = enter(world.parties.asker)
    assert client.post(page("alert_rule", "run_late"), late).status_code == 403
    assert "tolerance_s" in client.post(own, {**late, "tolerance_s": "1"}).context["form"].errors
    client.post(own, late)
    assert AlertRule.objects.get(task=task).parameters == {"tolerance_s": 7200}
    assert "本任务" in text_of(client.get(f"{page('alert_rules')}?task={task.pk}"))
    client.post(f"{page('alert_rule_drop', 'run_late')}?task={task.pk}")
    assert not AlertRule.objects.exists()

    enter(make_post(Role.BUREAU)).post(page("alert_rule", "run_late"), late)
    assert AlertRule.objects.get(task=None).severity == "serious"


def test_a_channel_is_added_stopped_and_dropped(enter: Any, world: World) -> None:
    client = enter(world.admin)
    wrong = client.post(page("alert_channel_new"), {"kind": "mail", "address": "nobody", "least": "warning"})
    assert "address" in wrong.context["form"].errors
    client.post(page("alert_channel_new"), {"kind": "mail", "address": "duty@example.org", "least": "warning"})
    channel = AlertChannel.objects.get()
    assert "duty@example.org" in text_of(client.get(page("alert_channels", channel.pk)))
    client.post(page("alert_channel_switch", channel.pk))
    channel.refresh_from_db()
    assert not channel.is_active
    client.post(page("alert_channel_drop", channel.pk))
    assert not AlertChannel.objects.exists()


def test_the_key_of_a_webhook_is_shown_once(enter: Any, world: World, settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("jinqiao.kernel.hosts.check_url", lambda *_given, **_named: None)
    client = enter(world.admin)
    fields = {"kind": "webhook", "address": "https://duty.example.org/hook", "least": "warning"}
    response = client.post(page("alert_channel_new"), fields)
    secret = response.context["secret"]

    assert secret in text_of(response)
    assert "no-store" in response["Cache-Control"]
    assert secret not in text_of(client.get(page("alert_channels")))


@pytest.mark.parametrize("kind", list(Engine))
def test_the_form_of_a_source_asks_what_its_kind_needs(enter: Any, world: World, kind: Engine) -> None:
    response = enter(world.parties.clerk).get(page("source_new"), {"engine": kind.value})
    form = response.context["form"]

    assert form.kind is kind
    assert ("host" in form.fields) == (kind in (Engine.POSTGRESQL, Engine.MYSQL))
    assert "name" in form.fields
    shown = text_of(response)
    for name in form.fields:
        assert f'name="{name}"' in shown, name


def test_a_server_with_tls_and_an_odbc_source_keep_their_options(enter: Any, world: World) -> None:
    client = enter(world.parties.clerk)
    node = world.provider_node.node.pk
    tls = {"o-sslmode": "verify-full", "o-sslrootcert": "/etc/ssl/ca.pem", "o-connect_timeout_s": "5"}
    base = {"node": node, "host": "10.0.0.9", "database": "biz", "user": "reader", "password": "p"}
    client.post(page("source_new"), {**base, **tls, "engine": "postgresql", "name": "加密库"})
    kept = DataSource.objects.get(name="加密库")
    assert kept.options == {"sslmode": "verify-full", "sslrootcert": "/etc/ssl/ca.pem", "connect_timeout_s": 5}

    odbc = {"node": node, "engine": "odbc", "name": "达梦", "user": "r", "password": "p", "o-dialect": "dm"}
    wrong = client.post(page("source_new"), {**odbc, "database": "Driver={DM8};PWD=secret"})
    assert "database" in wrong.context["form"].errors
    client.post(page("source_new"), {**odbc, "database": "Driver={DM8};Server=10.0.0.8"})
    assert DataSource.objects.get(name="达梦").options == {"dialect": "dm"}


def test_types_of_files_are_given_line_by_line_and_shown_again(enter: Any, world: World) -> None:
    client = enter(world.parties.clerk)
    fields = {"node": world.provider_node.node.pk, "engine": "csv", "name": "台账", "database": "/data/csv"}
    wrong = client.post(page("source_new"), {**fields, "o-types": "nonsense"})
    assert "o-types" in wrong.context["form"].errors
    client.post(page("source_new"), {**fields, "o-types": "*.金额 decimal(12,2)\n名册.日期 date"})
    source = DataSource.objects.get(name="台账")
    assert source.options == {"types": {"*": {"金额": "decimal(12,2)"}, "名册": {"日期": "date"}}}

    form = client.get(page("source_change", source.pk)).context["form"]
    assert form["o-types"].value() == "*.金额 decimal(12,2)\n名册.日期 date"


def test_an_http_source_is_described_field_by_field(world: World) -> None:
    fields = {
        "node": str(world.provider_node.node.pk),
        "engine": "http",
        "name": "接口",
        "database": "https://api.example.org/v1",
        "h-table": "marriages",
        "h-path": "/marriages",
        "h-rows": "/data/list",
        "h-fields": "id integer\namount decimal(12,2) /money/amount optional",
        "h-key": "id",
        "h-query": "area=620300",
        "h-paging": "page",
        "h-parameter": "page",
        "h-size": "500",
        "h-size_parameter": "size",
        "h-auth": "bearer",
        "h-timeout_s": "20",
    }
    form = SourceForm(world.parties.clerk, Engine.HTTP, fields)

    assert form.is_valid(), form.errors
    assert form.wanted()["options"] == {
        "tables": {
            "marriages": {
                "path": "/marriages",
                "rows": "/data/list",
                "fields": {
                    "id": "integer",
                    "amount": {"type": "decimal(12,2)", "at": "/money/amount", "optional": True},
                },
                "key": ["id"],
                "query": {"area": "620300"},
                "paging": {"kind": "page", "parameter": "page", "size": 500, "size_parameter": "size"},
            }
        },
        "auth": {"kind": "bearer"},
        "timeout_s": 20,
    }
    asked = {
        "h-lookup": "id = idNo",
        "h-lookup_in": "json",
        "h-lookup_method": "POST",
        "h-lookup_missing": "404，410",
        "h-health_path": "/health",
        "h-health_interval_s": "30",
    }
    for_gateways = SourceForm(world.parties.clerk, Engine.HTTP, {**fields, **asked})
    assert for_gateways.is_valid(), for_gateways.errors
    options = for_gateways.wanted()["options"]
    assert options["health"] == {"path": "/health", "interval_s": 30}
    lookup = {"method": "POST", "in": "json", "keys": {"id": "idNo"}, "missing": [404, 410]}
    assert options["tables"]["marriages"]["lookup"] == lookup
    assert options_of(options).health == HealthPath("/health", 30, 3)
    shown = http_initial(options)
    assert (shown["h-lookup"], shown["h-lookup_missing"]) == ("id=idNo", "404, 410")
    assert (shown["h-health_path"], shown["h-health_timeout_s"]) == ("/health", "")
    for name, wrong in (("h-lookup", "id"), ("h-lookup_missing", "500"), ("h-health_path", "health")):
        lost = SourceForm(world.parties.clerk, Engine.HTTP, {**fields, **asked, name: wrong})
        assert list(lost.errors) == [name]
    lost = SourceForm(world.parties.clerk, Engine.HTTP, {**fields, "h-parameter": ""})
    assert not lost.is_valid()
    assert list(lost.errors) == ["h-parameter"]


def test_a_source_says_that_data_has_arrived_and_is_retired(enter: Any, world: World) -> None:
    client = enter(world.parties.clerk)
    shown = client.post(page("source_arrival_token", world.source.pk))
    token = shown.context["token"]
    assert token in text_of(shown)
    assert token not in text_of(client.get(page("source", world.source.pk)))
    client.post(page("source_arrived", world.source.pk))
    world.source.refresh_from_db()
    assert world.source.arrived_at is not None

    world.task()
    used = client.post(page("source_retire", world.source.pk), {"reason": "下线"})
    assert used.context["form"].errors
    spare = make_source(world.provider_node, world.parties.clerk, name="闲置库")
    client.post(page("source_retire", spare.pk), {"reason": "下线"})
    spare.refresh_from_db()
    assert (spare.state, spare.sealed_password) == (SourceState.RETIRED, "")


def test_a_node_shows_its_keys_its_clock_and_its_bundles(enter: Any, world: World) -> None:
    node = world.provider_node.node
    type(node).objects.filter(pk=node.pk).update(clock_offset_s=3600, spool_free_bytes=10)
    BundleRecord.objects.create(node=node, direction="down", sequence=7, digest="ab" * 32, parts=3, at=moments.now())
    text = text_of(enter(world.provider_admin).get(page("node", node.pk)))

    assert "+3600.0" in text
    assert "偏差过大" in text
    assert "不足，清理磁盘" in text
    assert "平台到节点" in text
    assert "未确认" in text
    assert "使用中" in text


def test_a_node_takes_as_many_runs_as_its_keeper_says(enter: Any, world: World) -> None:
    node = world.provider_node.node
    enter(world.provider_admin).post(page("node_cap", node.pk), {"run_cap": "9"})

    node.refresh_from_db()
    assert node.run_cap == 9
