"""Who may enter which page of movement, and that a department sees its own only."""

from typing import Any

import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange.models import QueryService
from jinqiao.web.exchange.urls import urlpatterns
from tests.exchange.factories import Served, World, call_record, evidence_batches
from tests.factories import make_organisation, make_post

WORKERS = {Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.COUNTY_CLERK}
SEERS = WORKERS | {Role.HEAD, Role.BUREAU, Role.AUDITOR}
NODE_KEEPERS = {Role.DEPARTMENT_ADMINISTRATOR, Role.BUREAU}
RESTRAINERS = WORKERS | {Role.BUREAU}

ALERT_WORKERS = WORKERS | {Role.BUREAU}
MAY_ENTER = {
    "monitor": SEERS,
    "alerts": SEERS,
    "alert": SEERS,
    "alert_see": ALERT_WORKERS | {Role.AUDITOR},
    "alert_rules": SEERS,
    "alert_rule": ALERT_WORKERS,
    "alert_rule_drop": ALERT_WORKERS,
    "alert_channels": NODE_KEEPERS | {Role.AUDITOR},
    "alert_channel_new": NODE_KEEPERS | {Role.AUDITOR},
    "alert_channel_switch": NODE_KEEPERS | {Role.AUDITOR},
    "alert_channel_test": NODE_KEEPERS | {Role.AUDITOR},
    "alert_channel_drop": NODE_KEEPERS | {Role.AUDITOR},
    "node_approve": NODE_KEEPERS,
    "node_cap": NODE_KEEPERS,
    "source_protect": WORKERS,
    "source_arrived": WORKERS,
    "source_arrival_token": WORKERS,
    "source_retire": WORKERS,
    "transforms": WORKERS,
    "transform": WORKERS,
    "transform_remove": WORKERS,
    "task_plan": WORKERS,
    "task_columns": WORKERS,
    "task_checks": WORKERS,
    "task_check": WORKERS,
    "task_check_remove": WORKERS,
    "task_compare": WORKERS,
    "task_backfill": WORKERS,
    "task_start_over": WORKERS,
    "task_reload": WORKERS,
    "task_reload_decide": {Role.DEPARTMENT_ADMINISTRATOR},
    "task_reload_use": WORKERS,
    "run_pause": RESTRAINERS,
    "run_resume": RESTRAINERS,
    "run_resend": WORKERS,
    "run_replay": WORKERS,
    "quarantine_ask": WORKERS,
    "quarantine_open": WORKERS,
    "quarantine_resubmit": WORKERS,
    "nodes": SEERS,
    "node": SEERS,
    "node_new": NODE_KEEPERS,
    "node_code": NODE_KEEPERS,
    "node_state": NODE_KEEPERS,
    "sources": SEERS,
    "source": SEERS,
    "source_new": WORKERS,
    "source_change": WORKERS,
    "source_test": WORKERS,
    "source_tables": WORKERS,
    "source_password": WORKERS,
    "bindings": SEERS,
    "bind": WORKERS,
    "tasks": SEERS,
    "task": SEERS,
    "task_configure": WORKERS,
    "task_start": WORKERS,
    "task_pause": RESTRAINERS,
    "task_resume": WORKERS,
    "task_limit": RESTRAINERS,
    "runs": SEERS,
    "run": SEERS,
    "run_stop": RESTRAINERS,
    "services": SEERS | {Role.DEVELOPER},
    "service": SEERS | {Role.DEVELOPER},
    "service_attach": WORKERS | {Role.DEVELOPER},
    "service_detach": WORKERS | {Role.DEVELOPER},
    "service_set": WORKERS,
    "service_try": WORKERS | {Role.DEVELOPER},
    "service_end": WORKERS,
    "service_state": NODE_KEEPERS,
    "calls": SEERS | {Role.DEVELOPER},
    "call": SEERS | {Role.DEVELOPER},
    "call_proof": SEERS | {Role.DEVELOPER},
    "run_receipt": SEERS,
    "packs": {Role.BUREAU, Role.AUDITOR},
    "pack_new": {Role.BUREAU, Role.AUDITOR},
    "pack_download": {Role.BUREAU, Role.AUDITOR},
    "call_statistics": SEERS | {Role.DEVELOPER},
    "anomalies": SEERS,
    "anomaly": SEERS,
    "anomaly_close": ALERT_WORKERS,
    "anomaly_rules": SEERS,
    "samples": SEERS,
    "sample": SEERS,
    "sample_justify": WORKERS,
    "sample_judge": ALERT_WORKERS,
    "sample_paper": SEERS,
    "samplings": SEERS,
    "sampling": SEERS,
    "sampling_new": {Role.BUREAU},
    "disclosures": {Role.BUREAU},
    "disclosures_export": {Role.BUREAU},
    "unused": SEERS,
    "subject_key": {Role.SECURITY_ADMINISTRATOR},
    "subject_key_renew": {Role.SECURITY_ADMINISTRATOR},
}


def test_every_page_declares_who_may_enter() -> None:
    assert {pattern.name: set(pattern.callback.access) for pattern in urlpatterns} == MAY_ENTER


@pytest.mark.django_db
@pytest.mark.parametrize("role", list(Role))
def test_lists_open_for_their_roles_only(enter: Any, role: Role) -> None:
    client = enter(make_post(role))
    lists = ("monitor", "alerts", "alert_rules", "alert_channels", "nodes", "sources", "bindings", "tasks", "runs")
    oversight = ("call_statistics", "anomalies", "anomaly_rules", "samples", "samplings", "unused")
    for name in (*lists, "services", "calls", *oversight):
        wanted = 200 if role in MAY_ENTER[name] else 403
        assert client.get(reverse(f"exchange:{name}")).status_code == wanted, name


@pytest.mark.django_db
def test_who_is_not_signed_in_is_sent_to_sign_in(client: Any) -> None:
    response = client.get(reverse("exchange:tasks"))

    assert response.status_code == 302
    assert reverse("login") in response["Location"]


def addresses(served: Served) -> dict[str, str]:
    """Pages about things of the two departments."""
    world = served.world
    run = world.run()
    return {
        "node": reverse("exchange:node", args=[world.provider_node.node.pk]),
        "source": reverse("exchange:source", args=[world.source.pk]),
        "task": reverse("exchange:task", args=[run.task_id]),
        "run": reverse("exchange:run", args=[run.pk]),
        "service": reverse("exchange:service", args=[served.service.pk]),
    }


@pytest.mark.parametrize("role", sorted(SEERS - {Role.BUREAU, Role.AUDITOR}))
def test_another_department_sees_nothing_of_it(enter: Any, served: Served, role: Role) -> None:
    client = enter(make_post(role))
    for name, address in addresses(served).items():
        assert client.get(address).status_code == 404, name
    for name in ("nodes", "sources", "bindings", "tasks", "runs", "services", "calls"):
        text = client.get(reverse(f"exchange:{name}")).content.decode()
        assert served.service.number not in text
        assert "没有符合条件的" in text, name


@pytest.mark.parametrize("role", [Role.BUREAU, Role.AUDITOR])
def test_the_bureau_and_the_auditor_see_all_of_it(enter: Any, served: Served, role: Role) -> None:
    client = enter(make_post(role))
    for name, address in addresses(served).items():
        assert client.get(address).status_code == 200, name


def test_both_sides_see_the_run_but_only_the_owner_its_source(enter: Any, served: Served) -> None:
    pages = addresses(served)
    for post in (served.world.parties.clerk, served.world.parties.asker, served.world.parties.provider_head):
        client = enter(post)
        assert client.get(pages["run"]).status_code == 200
        assert client.get(pages["service"]).status_code == 200
    assert enter(served.world.parties.asker).get(pages["source"]).status_code == 404


def test_a_developer_sees_the_services_of_his_own_department_only(enter: Any, served: Served) -> None:
    page = reverse("exchange:service", args=[served.service.pk])
    assert enter(served.developer).get(page).status_code == 200
    assert enter(make_post(Role.DEVELOPER, served.world.parties.provider)).get(page).status_code == 404


def test_calls_are_seen_by_both_sides_and_nobody_else(enter: Any, served: Served) -> None:
    from jinqiao.exchange import actions

    (batch,) = evidence_batches([call_record(served, 1)])
    actions.accept_evidence(served.gateway.node, batch)
    page = reverse("exchange:calls")
    for post in (served.world.parties.clerk, served.world.parties.asker, served.developer):
        assert "GZF-1" in enter(post).get(page).content.decode()
    assert "GZF-1" not in enter(make_post(Role.OPERATOR, make_organisation())).get(page).content.decode()


@pytest.mark.parametrize("who", ["clerk", "provider_head", "bureau"])
def test_who_may_not_start_a_run_is_refused_and_written_down(enter: Any, world: World, who: str) -> None:
    task = world.task()
    response = enter(getattr(world.parties, who)).post(reverse("exchange:task_start", args=[task.pk]))

    assert response.status_code == 403
    assert AuditEvent.objects.filter(outcome="refused").exists()
    assert not task.runs.exists()


def test_the_auditor_changes_nothing(enter: Any, served: Served) -> None:
    client = enter(make_post(Role.AUDITOR))
    run = served.world.run()
    for name, arguments in (
        ("task_start", [run.task_id]),
        ("task_pause", [run.task_id]),
        ("run_stop", [run.pk]),
        ("source_test", [served.world.source.pk]),
        ("service_state", [served.service.pk, "suspend"]),
        ("node_state", [served.world.provider_node.node.pk, "retire"]),
    ):
        assert client.post(reverse(f"exchange:{name}", args=arguments), {"reason": "x"}).status_code == 403, name
    assert not QueryService.objects.filter(is_suspended=True).exists()
