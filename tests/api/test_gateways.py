"""The machine interface of gateways."""

import dataclasses
import json
import time

import pytest

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.models import Call, EvidenceSegment
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import Anchor, AnchorsOffered
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.contracts.health import GatewayState, ServiceHealth, ServicesHealth
from jinqiao.kernel.contracts.policy import PolicySnapshot
from jinqiao.kernel.crypto.identity import open_message, sign_message
from tests.api.conftest import Caller
from tests.exchange.factories import Served, call_record, evidence_batches

pytestmark = pytest.mark.django_db

POLICY = "/api/gateways/policy"
EVIDENCE = "/api/gateways/evidence"
ANCHORS = "/api/gateways/anchors"


def test_a_gateway_pulls_its_policy_once(served: Served) -> None:
    caller = Caller(served.gateway.identity)
    response = caller.send("GET", f"{POLICY}?after=0")
    snapshot = open_message(SignedMessage.from_json(response.json()), platform_identity().public, PolicySnapshot)

    assert [service.service for service in snapshot.services] == [served.service.number]
    nothing_newer = caller.send("GET", f"{POLICY}?after={snapshot.version}")
    assert (nothing_newer.status_code, nothing_newer.headers.get("Content-Type")) == (204, None)


def test_a_gateway_may_wait_for_a_policy(served: Served) -> None:
    caller = Caller(served.gateway.identity)
    caller.send("GET", POLICY)
    began = time.monotonic()

    assert caller.send("GET", f"{POLICY}?after=1&wait=0.6").status_code == 204
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize("query", ["after=-1", "after=x", "wait=1000", "after=986909649424795123580928"])
def test_wrong_parameters(served: Served, query: str) -> None:
    response = Caller(served.gateway.identity).send("GET", f"{POLICY}?{query}")

    assert (response.status_code, response.json()["code"]) == (400, "input.not_valid")


def test_a_front_end_node_gets_no_policy(served: Served) -> None:
    response = Caller(served.world.provider_node.identity).send("GET", POLICY)

    assert (response.status_code, response.json()["code"]) == (403, "exchange.node.kind_wrong")


def test_evidence_is_kept_and_confirmed(served: Served) -> None:
    caller = Caller(served.gateway.identity)
    (batch,) = evidence_batches([call_record(served, 1)])

    assert caller.send("POST", EVIDENCE, batch).status_code == 204
    assert caller.send("POST", EVIDENCE, batch).status_code == 204
    assert Call.objects.count() == 1


def test_broken_evidence_is_refused_and_written_down(served: Served) -> None:
    (batch,) = evidence_batches([call_record(served, 1)])
    response = Caller(served.gateway.identity).send("POST", EVIDENCE, dataclasses.replace(batch, chain="00" * 32))

    assert (response.status_code, response.json()["code"]) == (400, "exchange.evidence.broken")
    assert AuditEvent.objects.filter(action="exchange.evidence.accept", outcome="failed").exists()


@pytest.mark.parametrize("lane", ["", "a\x00b", "x" * 41, "\ud800", "a\nb"])
def test_evidence_of_a_lane_that_is_no_name_is_refused_and_nothing_breaks(served: Served, lane: str) -> None:
    gateway, caller = served.gateway, Caller(served.gateway.identity)
    record = call_record(served, 1)
    signable = lane.encode("utf-8", "replace").decode() == lane
    (batch,) = evidence_batches([dataclasses.replace(record, lane=lane) if signable else record])
    anchor = Anchor(
        gateway=gateway.node.number, lane=batch.lane, batch=1, number=1, chain=batch.chain, at=moments.now()
    )
    signed = sign_message(anchor, gateway.identity)
    falsified = dataclasses.replace(signed, body={**signed.body, "lane": lane})
    for path, told in (
        (EVIDENCE, dataclasses.replace(batch, lane=lane)),
        *(
            (ANCHORS, AnchorsOffered(anchors=(message,)))
            for message in (signed, falsified)
            if lane == message.body["lane"]
        ),
    ):
        response = caller.send("POST", path, json.dumps(told.to_json()).encode())
        assert response.status_code == 400, response.content
    assert not EvidenceSegment.objects.exists()


def test_a_gap_names_the_batch_that_is_missing(served: Served) -> None:
    _first, second = evidence_batches([call_record(served, 1)], [call_record(served, 2)])
    response = Caller(served.gateway.identity).send("POST", EVIDENCE, second)

    assert (response.status_code, response.json()["details"]["expected"]) == (409, 1)


def test_a_gateway_tells_how_its_own_services_are(served: Served) -> None:
    caller = Caller(served.gateway.identity)
    now = moments.now()
    word = ServiceHealth(service=served.service.number, is_well=False, problem="status 503", since=now, at=now)
    told = ServicesHealth(services=(word, dataclasses.replace(word, service="another")))

    assert caller.send("POST", "/api/gateways/health", told).status_code == 204
    served.service.refresh_from_db()
    assert served.service.source_health == word.to_json()

    odd = ServicesHealth(services=(dataclasses.replace(word, problem="<b>620302199001010015</b>"),))
    caller.send("POST", "/api/gateways/health", odd)
    served.service.refresh_from_db()
    assert served.service.source_health["problem"] == "other"
    front_end = Caller(served.world.provider_node.identity).send("POST", "/api/gateways/health", told)
    assert (front_end.status_code, front_end.json()["code"]) == (403, "exchange.node.kind_wrong")


def test_a_gateway_tells_how_its_policy_and_evidence_are(served: Served) -> None:
    caller = Caller(served.gateway.identity)
    told = GatewayState(at=moments.now(), policy_version=3, waiting_batches=2, anchor_problem="<b>odd</b>")

    assert caller.send("POST", "/api/gateways/state", told).status_code == 204
    served.gateway.node.refresh_from_db()
    kept = GatewayState.from_json(served.gateway.node.gateway_state["told"])
    assert (kept.policy_version, kept.waiting_batches, kept.anchor_problem) == (3, 2, "other")
    front_end = Caller(served.world.provider_node.identity).send("POST", "/api/gateways/state", told)
    assert (front_end.status_code, front_end.json()["code"]) == (403, "exchange.node.kind_wrong")
