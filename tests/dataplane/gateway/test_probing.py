"""Health paths of departments' HTTP services: probed, felt by the circuit, shown in the metrics, told to the platform."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.connectors.http_options import HealthPath, options_of
from jinqiao.dataplane.errors import ConnectionOptionWrong
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.circuit import FAILURES, FIRST_REST_S, Circuit
from jinqiao.dataplane.gateway.errors import SourceResting
from jinqiao.dataplane.gateway.sources.http_service import HttpLookups
from tests.dataplane.gateway.platform_stand_in import platform
from tests.dataplane.gateway.test_http_service import as_json, ask, behind, by_query, options
from tests.dataplane.gateway.world import SERVICE, Caller, talk
from tests.web_servers import Answer, Asked

HEALTH = {"path": "/health", "interval_s": 1, "timeout_s": 1}


class Service:
    """A department's service that a test makes well or ill; it counts what it is asked."""

    def __init__(self) -> None:
        self.health = 204
        self.is_well = True
        self.lookups = self.probes = 0

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.startswith("/health"):
            self.probes += 1
            return Answer(self.health, b"")
        self.lookups += 1
        return by_query(asked) if self.is_well else as_json({}, 503)


@pytest.fixture(autouse=True)
def _this_machine_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "127.0.0.0/8")


def with_health(**changes: Any) -> dict[str, Any]:
    return {**options(), "health": {**HEALTH, **changes}}


async def until(holds: Callable[[], Any], within_s: float = 20) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends
        await asyncio.sleep(0.05)


async def figures(caller: Caller) -> dict[str, float]:
    page = (await caller.client.get("/gateway/metrics")).text
    lines = [line for line in page.splitlines() if line.startswith("jinqiao_gateway_source_")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def source_of(gateway: Gateway) -> HttpLookups:
    assert gateway._desk is not None
    reader = gateway._desk.readers._readers[SERVICE]
    assert isinstance(reader.source, HttpLookups)
    return reader.source


def test_probes_of_an_ill_service_open_its_circuit_and_one_of_a_well_service_closes_it_without_a_call(
    tmp_path: Path,
) -> None:
    service = Service()
    healthy = f'jinqiao_gateway_source_healthy{{service="{SERVICE}"}}'
    with behind(tmp_path, service, with_health()) as (world, server):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            await until(lambda: service.probes)
            assert (await ask(caller, "query"))["count"] == 1
            while (await figures(caller)).get(healthy) != 1:
                await asyncio.sleep(0.05)
            assert (await figures(caller))[
                f'jinqiao_gateway_source_circuit_closed{{source="http:127.0.0.1:{server.port}"}}'
            ]
            service.health, service.is_well = 503, False
            circuit = source_of(gateway).circuit
            lookups = service.lookups
            await until(lambda: not circuit.is_closed)
            assert (await figures(caller))[healthy] == 0
            assert (await ask(caller, "query"))["code"] == "gateway.source.resting"
            circuit._opens_at = time.monotonic()  # the rest is over: a probe tries, and is answered that it is ill
            probes = service.probes
            await until(lambda: service.probes > probes)
            assert (await ask(caller, "query"))["code"] == "gateway.source.resting"
            assert service.lookups == lookups  # no call was spent on trying
            service.health, service.is_well = 200, True
            circuit._opens_at = time.monotonic()
            await until(lambda: circuit.is_closed)
            assert (await ask(caller, "query"))["count"] == 1
            assert service.lookups == lookups + 1

        talk(world, conversation)


def test_without_a_registered_path_nothing_is_probed(tmp_path: Path) -> None:
    service = Service()
    with behind(tmp_path, service) as (world, _server):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            assert (await ask(caller, "query"))["count"] == 1
            assert gateway.prober is not None
            await asyncio.sleep(0.6)  # two looks of the prober
            assert not any("source_healthy" in name for name in await figures(caller))
            assert gateway.prober.report().services == ()

        talk(world, conversation)
    assert service.probes == 0


@pytest.mark.parametrize("status", [404, 401, 302])
def test_a_path_that_is_wrongly_registered_is_told_and_calls_go_on(tmp_path: Path, status: int) -> None:
    service = Service()
    service.health = status
    with behind(tmp_path, service, with_health()) as (world, _server):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            prober = gateway.prober
            assert prober is not None
            await until(lambda: prober.report().services)
            (told,) = prober.report().services
            assert (told.is_well, told.problem) == (False, f"status {status}")
            await until(lambda: service.probes > FAILURES)
            circuit = source_of(gateway).circuit
            assert circuit.is_closed
            assert not circuit.is_probed  # were it open, a call would try it
            assert (await ask(caller, "query"))["count"] == 1

        talk(world, conversation)


def test_a_host_that_is_not_allowed_is_not_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "api.example.cn")
    service = Service()
    with behind(tmp_path, service, with_health()) as (world, server):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            prober = gateway.prober
            assert prober is not None
            await until(lambda: prober.report().services)
            (told,) = prober.report().services
            assert (told.is_well, told.problem) == (False, "host.access.not_allowed")

        talk(world, conversation)
        assert server.asked == []


def test_a_probe_that_hangs_is_given_up_and_the_gateway_ends_all_the_same(tmp_path: Path) -> None:
    def slow(asked: Asked) -> Answer:
        if asked.path.startswith("/health"):
            time.sleep(3)
        return by_query(asked)

    with behind(tmp_path, slow, with_health(timeout_s=0.2)) as (world, _server):

        async def conversation(caller: Caller, gateway: Gateway) -> None:
            prober = gateway.prober
            assert prober is not None
            await until(lambda: prober.report().services)
            assert prober.report().services[0].problem == "timeout"
            assert (await ask(caller, "query"))["count"] == 1

        talk(world, conversation)


def test_the_platform_is_told_at_once_what_changes(tmp_path: Path) -> None:
    service = Service()
    with behind(tmp_path, service, with_health()) as (world, _server), platform(world.gateway) as stand_in:
        homes.prepare(world.home, stand_in.url, "gw-1", world.platform.public)

        async def conversation(_caller: Caller, _gateway: Gateway) -> None:
            await until(lambda: stand_in.healths)
            service.health = 500
            await until(lambda: not stand_in.healths[-1].services[0].is_well)

        talk(world, conversation)
    first, last = stand_in.healths[0].services[0], stand_in.healths[-1].services[0]
    assert (first.service, first.is_well, first.problem) == (SERVICE, True, "")
    assert last.problem == "status 500"
    assert last.since >= first.since


def test_a_circuit_hears_of_health_as_of_calls_but_is_not_closed_for_good_by_it() -> None:
    circuit = Circuit()
    circuit.is_probed = True
    for _ in range(FAILURES - 1):
        circuit.heard(False, 0.0)
    circuit.heard(True, 0.0)  # a page that says "well" does not undo failures of calls
    assert circuit.is_closed
    circuit.heard(False, 0.0)
    with pytest.raises(SourceResting):
        circuit.enter(FIRST_REST_S + 1)  # no call tries
    circuit.heard(True, FIRST_REST_S / 2)  # its rest is not over
    assert not circuit.is_closed
    circuit.heard(False, FIRST_REST_S)
    assert circuit.tries_at == 3 * FIRST_REST_S
    circuit.heard(True, 3 * FIRST_REST_S)
    assert circuit.is_closed
    circuit.enter(3 * FIRST_REST_S)
    circuit.failed(3 * FIRST_REST_S)  # well, and does not answer
    assert circuit.tries_at == 5 * FIRST_REST_S
    circuit.heard(True, 5 * FIRST_REST_S)
    circuit.succeeded()
    for _ in range(FAILURES - 1):
        circuit.failed(100.0)
    assert circuit.is_closed


def test_a_health_path_has_its_form() -> None:
    assert options_of({**options(), "health": {"path": "/up"}}).health == HealthPath("/up", 15, 3)
    assert options_of(options()).health is None
    for wrong in ({"path": "up"}, {"path": "//x"}, {"path": "/a/../b"}, {"path": "/{id}"}, {"interval_s": 5},
                  {"path": "/up", "interval_s": 0}, {"path": "/up", "every": 3}):  # fmt: skip
        with pytest.raises(ConnectionOptionWrong):
            options_of({**options(), "health": wrong})
