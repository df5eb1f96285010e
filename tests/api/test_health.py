"""Health, the OpenAPI document, and who may enter."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from jinqiao.api.urls import PUBLIC, urlpatterns
from jinqiao.exchange import tasks
from jinqiao.exchange.models import ProcessBeat

pytestmark = pytest.mark.django_db


def test_the_process_lives() -> None:
    assert Client().get("/api/health/live").json() == {"live": True}


def test_the_platform_is_ready_when_every_part_works() -> None:
    tasks.beat()

    assert Client().get("/api/health/ready").json()["parts"] == {
        "database": True,
        "migrations": True,
        "relay": True,
        "worker": True,
    }


def test_a_silent_worker_makes_it_not_ready() -> None:
    tasks.beat()
    ProcessBeat.objects.update(at=1)
    response = Client().get("/api/health/ready")

    assert (response.status_code, response.json()["parts"]["worker"]) == (503, False)


def test_a_relay_that_cannot_be_written_makes_it_not_ready(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings.RELAY_ROOT = tmp_path / "file" / "relay"

    assert Client().get("/api/health/ready").json()["parts"]["relay"] is False


def test_the_interface_describes_itself() -> None:
    document = Client().get("/api/openapi.json").json()

    poll = document["paths"]["/api/nodes/poll"]["post"]
    schema = poll["requestBody"]["content"]["application/json"]["schema"]
    assert schema["title"] == "Heartbeat"
    assert "node_id" in schema["required"]
    assert "application/problem+json" in poll["responses"]["default"]["content"]


def test_every_operation_says_who_may_enter() -> None:
    for pattern in urlpatterns:
        access = pattern.callback.access  # type: ignore[union-attr]
        assert access == ("public" if pattern.name in PUBLIC else "signed_by_node")  # type: ignore[union-attr]


def test_unknown_addresses_are_told_as_problems() -> None:
    for response in (Client().get("/api/health/nothing"), Client().post("/api/nodes/nothing")):
        assert (response.status_code, response.json()["code"]) == (404, "api.route.missing")
