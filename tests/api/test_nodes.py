"""The machine interface of nodes: signed, deny by default, refusals written down."""

import time
from typing import Any

import pytest
from django.test import Client

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.enums import NetworkZone, NodeKind, RunState
from jinqiao.exchange.models import Node
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import (
    Command,
    CommandKind,
    Heartbeat,
    NodeAdmission,
    NodeRegistration,
    SignedMessage,
)
from jinqiao.kernel.crypto.identity import Identity, fingerprint, open_message
from jinqiao.kernel.crypto.suites import suite
from tests.api.conftest import Caller
from tests.exchange.factories import NodeHands, World, make_node

pytestmark = pytest.mark.django_db

POLL = "/api/nodes/poll"


def beat(node: str = "n") -> Heartbeat:
    return Heartbeat(node_id=node, version="0.1.0", clock_at=moments.now(), spool_free_bytes=1)


def refused(response: Any, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json")
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"]) == (status, code)
    return body


def digest(data: bytes) -> str:
    return suite("international").digest(data).hex()


def test_a_node_registers_polls_and_answers_over_http(world: World) -> None:
    node, code = actions.expect_node(
        by=world.admin,
        number="front-1",
        name="前置节点",
        kind=NodeKind.FRONT_END,
        organisation=world.parties.consumer,
        zone=NetworkZone.EXTRANET,
    )
    caller = Caller(Identity.generate())
    registration = NodeRegistration(code=code, identity=caller.identity.public.to_json(), name="n", version="0.1.0")
    response = Client().post("/api/nodes/register", registration.to_json(), content_type="application/json")
    admission = NodeAdmission.from_json(response.json())
    assert admission.node_id == "front-1"

    said = refused(caller.send("POST", POLL, beat()), 409, "exchange.node.awaiting")
    assert said["details"] == {"node": "front-1", "fingerprint": fingerprint(caller.identity.key_id)}
    actions.approve_node(node, by=world.admin, key_id=caller.identity.key_id)
    answer = caller.send("POST", POLL, beat()).json()
    assert answer["commands"] == []
    assert abs(answer["now"] - time.time()) < 60


def test_a_whole_run_goes_over_http(world: World) -> None:
    run = world.run()
    provider, consumer = Caller(world.provider_node.identity), Caller(world.consumer_node.identity)

    extract = taken(provider)
    data = NodeHands.chunk(extract)
    path = f"/api/nodes/runs/{run.number}/chunks/1"
    kind = "application/octet-stream"
    assert (
        provider.send("PUT", path, data, content_type=kind, headers={"X-Chunk-Digest": digest(data)}).status_code == 204
    )
    assert provider.send("POST", "/api/nodes/results", world.provider_node.extracted(extract)).status_code == 204
    deliver = taken(consumer)
    fetched = consumer.send("GET", path)
    assert (fetched.content, fetched.headers["X-Chunk-Digest"]) == (data, digest(data))
    assert consumer.send("POST", "/api/nodes/results", world.consumer_node.delivered(deliver)).status_code == 204

    run.refresh_from_db()
    assert run.state == RunState.RECONCILED


def taken(caller: Caller) -> Command:
    (message,) = caller.send("POST", POLL, beat()).json()["commands"]
    return open_message(SignedMessage.from_json(message), platform_identity().public, Command)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", POLL),
        ("POST", "/api/nodes/results"),
        ("PUT", "/api/nodes/runs/RUN-1/chunks/1"),
        ("GET", "/api/nodes/runs/RUN-1/chunks/1"),
        ("GET", "/api/gateways/policy"),
        ("POST", "/api/gateways/evidence"),
    ],
)
def test_nothing_is_told_to_who_does_not_sign(method: str, path: str) -> None:
    response = Client(raise_request_exception=False).generic(method, path, b"{}")

    refused(response, 401, "signature.missing")
    assert response.headers["WWW-Authenticate"] == 'Signature realm="jinqiao"'


def test_an_unknown_key_is_refused() -> None:
    refused(Caller(Identity.generate()).send("POST", POLL, beat()), 401, "signature.unknown_key")


def test_a_node_that_has_not_registered_has_no_key_to_match(world: World) -> None:
    actions.expect_node(
        by=world.admin,
        number="front-2",
        name="前置节点",
        kind=NodeKind.FRONT_END,
        organisation=world.parties.consumer,
        zone=NetworkZone.EXTRANET,
    )
    caller = Caller(Identity.generate())
    assert Node.objects.filter(key_id="").exists()

    refused(
        caller.send(
            "POST",
            POLL,
            beat(),
            change=lambda headers: {
                **headers,
                "Signature-Input": headers["Signature-Input"].replace(caller.identity.key_id, ""),
            },
        ),
        401,
        "signature.unknown_key",
    )


def test_another_body_than_the_signed_one_is_refused(world: World) -> None:
    caller = Caller(world.provider_node.identity)

    refused(caller.send("POST", POLL, beat(), sent_body=b"{}"), 401, "signature.digest_mismatch")


def test_another_path_than_the_signed_one_is_refused(world: World) -> None:
    caller = Caller(world.provider_node.identity)
    stolen: dict[str, str] = {}
    caller.send("GET", "/api/nodes/runs/RUN-1/chunks/1", change=lambda headers: stolen.update(headers) or headers)  # type: ignore[func-returns-value]

    response = caller.client.generic("GET", "/api/nodes/runs/RUN-1/chunks/2", headers=stolen)

    refused(response, 401, "signature.wrong")


def test_an_old_call_is_refused(world: World) -> None:
    caller = Caller(world.provider_node.identity)

    refused(caller.send("POST", POLL, beat(), created=int(time.time()) - 3600), 401, "signature.outside_window")


def test_the_same_call_twice_is_refused(world: World) -> None:
    caller = Caller(world.provider_node.identity)
    kept: dict[str, str] = {}
    assert caller.send("GET", "/api/nodes/runs/RUN-1/chunks/1", change=lambda h: kept.update(h) or h).status_code == 404  # type: ignore[func-returns-value]

    response = caller.client.generic("GET", "/api/nodes/runs/RUN-1/chunks/1", headers=kept)

    refused(response, 401, "signature.replayed")


def test_a_suspended_node_is_refused_and_the_refusal_is_written_down(world: World) -> None:
    node = actions.suspend_node(world.provider_node.node, by=world.provider_admin, reason="检修")

    refused(Caller(world.provider_node.identity).send("POST", POLL, beat()), 403, "exchange.node.not_active")

    event = AuditEvent.objects.get(action="access.api.refuse")
    assert (event.actor_id, event.outcome) == (f"node:{node.number}", "refused")
    assert event.details["code"] == "exchange.node.not_active"


def test_strangers_do_not_flood_the_trail() -> None:
    for _ in range(5):
        Client(raise_request_exception=False).post(POLL)

    assert AuditEvent.objects.filter(action="access.api.refuse").count() == 1


def test_the_wrong_node_gets_no_chunk_and_that_is_written_down(world: World) -> None:
    run = world.run()
    world.handed_over(run)
    stranger = make_node(world.parties.consumer)

    refused(
        Caller(stranger.identity).send("GET", f"/api/nodes/runs/{run.number}/chunks/1"), 403, "exchange.relay.not_yours"
    )
    event = AuditEvent.objects.get(action="access.api.refuse")
    assert (event.about_id, event.details["code"]) == (str(stranger.node.pk), "exchange.relay.not_yours")


def test_a_chunk_with_another_digest_is_refused(world: World) -> None:
    run = world.run()
    world.provider_node.take(CommandKind.EXTRACT)
    response = Caller(world.provider_node.identity).send(
        "PUT",
        f"/api/nodes/runs/{run.number}/chunks/1",
        b"data",
        content_type="application/octet-stream",
        headers={"X-Chunk-Digest": "00"},
    )

    refused(response, 400, "exchange.relay.digest_wrong")


@pytest.mark.parametrize(
    ("body", "code"), [(b"no json", "api.body.broken"), (b"[]", "contract.broken"), (b"{}", "contract.broken")]
)
def test_bodies_that_are_not_the_contract(world: World, body: bytes, code: str) -> None:
    refused(Caller(world.provider_node.identity).send("POST", POLL, body), 400, code)


def test_a_body_that_is_too_large(world: World, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10

    refused(Caller(world.provider_node.identity).send("POST", POLL, beat()), 413, "api.body.too_large")


def test_chunk_numbers_are_numbers(world: World) -> None:
    refused(Caller(world.provider_node.identity).send("GET", "/api/nodes/runs/RUN-1/chunks/x"), 400, "input.not_valid")


def test_problems_are_told_in_the_callers_language() -> None:
    chinese = Client(raise_request_exception=False).post(POLL).json()["title"]
    english = Client(raise_request_exception=False).post(POLL, headers={"Accept-Language": "en"}).json()["title"]

    assert chinese != english
    assert english.isascii()


def test_a_wrong_code_tells_nothing() -> None:
    registration = NodeRegistration(
        code="guess", identity=Identity.generate().public.to_json(), name="n", version="0.1.0"
    )
    response = Client(raise_request_exception=False).post(
        "/api/nodes/register", registration.to_json(), content_type="application/json"
    )
    refused(response, 403, "exchange.node.code_wrong")
