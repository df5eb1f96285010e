"""A gateway of a department comes in by its own commands and the pages: registered, its fingerprint compared, approved, served."""

import html
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.exchange.enums import NodeState
from jinqiao.exchange.models import Node
from jinqiao.kernel.ports import free_port
from tests.factories import make_post, seed_calendar
from tests.machines import machine as machine

pytestmark = pytest.mark.django_db(transaction=True)

SHOWN = re.compile(r"(?:[0-9a-f]{4} ?){8,}")


def line_of(page: str, name: str) -> str:
    """A command as the page shows it."""
    found = re.search(f'<pre[^>]* id="{name}"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert found is not None, page
    return html.unescape(found[1])


def readiness(port: int, holds: Callable[[int, dict[str, Any]], bool]) -> dict[str, Any]:
    """What the gateway says of itself, once it is so."""
    ends = time.monotonic() + 30
    while True:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/gateway/health/ready", trust_env=False)
            if holds(answer.status_code, answer.json()):
                return dict(answer.json())
        except httpx.TransportError:
            answer = None
        assert time.monotonic() < ends, answer.text if answer is not None else "it does not answer"
        time.sleep(0.1)


def test_a_gateway_registers_shows_its_fingerprint_and_gets_its_policy_when_that_is_approved(
    enter: Any, live_server: Any, settings: Any, tmp_path: Path, machine: Callable[[str], str]
) -> None:
    seed_calendar()
    settings.PUBLIC_URL = live_server.url
    client = enter(make_post(Role.DEPARTMENT_ADMINISTRATOR))
    answer = client.post(
        reverse("exchange:node_new"),
        {"number": "mzj-gateway", "name": "民政局 '查询' 网关", "kind": "gateway", "zone": "extranet"},
    )
    page, port = answer.content.decode(), free_port()

    said = machine(line_of(page, "register-command"))

    assert said.startswith("mzj-gateway\n")
    found = SHOWN.search(said)
    assert found is not None, said
    shown = found[0].strip()
    assert shown in machine("jinqiao gateway fingerprint mzj-gateway")
    assert shown.replace(" ", "") == Node.objects.get().key_id

    machine(f"{line_of(page, 'run-command')} --port {port}")
    readiness(port, lambda status, report: report["platform_problem"] == "exchange.node.awaiting")
    assert shown in (tmp_path / "log").read_text()

    approve = reverse("exchange:node_approve", args=[Node.objects.get().pk])
    refused = client.post(approve, {"fingerprint": shown[:-4] + "0000"})
    assert "fingerprint" in refused.context["form"].errors
    client.post(approve, {"fingerprint": shown})

    assert Node.objects.get().state == NodeState.ACTIVE
    report = readiness(port, lambda status, report: status == 200)
    assert report["policy_version"] >= 1
    assert report["platform_problem"] == ""
