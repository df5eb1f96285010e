"""Quotas of a day: exact under load, per application, and still known after a restart."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.quota import DayQuota, Taken
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.moments import CHINA
from tests.dataplane.gateway.world import ANN, BO, PURPOSE, SERVICE, Caller, World, talk

REASON = {"purpose": PURPOSE, "case_number": "GZF-1"}


def limited(world: World, **changes: Any) -> None:
    world.services = (replace(world.services[0], operations=tuple(Operation), **changes),)
    world.publish()


async def batch(caller: Caller, *numbers: str) -> Any:
    body = {**REASON, "by": [{"sfzh": number} for number in numbers], "items": ["xm"]}
    return (await caller.ask(body, path=f"/gateway/v1/services/{SERVICE}/batch")).json()


def test_calls_of_the_day_are_known_again_after_a_restart(world: World) -> None:
    limited(world, calls_per_day=6)

    async def before(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).status_code == 200
        assert (await batch(caller, ANN, BO, ANN))["count"] == 3
        assert (await caller.ask(items=["note"])).status_code == 403  # what is refused is not counted
        assert (await batch(caller, ANN, BO, ANN))["code"] == "gateway.quota.calls"

    async def after(caller: Caller, gateway: Gateway) -> None:
        assert (await batch(caller, ANN, BO, ANN))["details"] == {"limit": 6, "left": 2, **retry()}
        assert (await caller.ask()).status_code == 200
        assert (await caller.ask()).status_code == 200
        refused = await caller.ask()
        assert (refused.status_code, refused.json()["code"]) == (429, "gateway.quota.calls")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400

    talk(world, before)
    talk(world, after)


class retry(dict[str, Any]):
    """`retry_after`, whatever it is."""

    def __init__(self) -> None:
        super().__init__(retry_after=_Any())


class _Any(int):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, int)

    __hash__ = int.__hash__


def test_rows_of_the_day_are_never_overdrawn_by_calls_at_once(world: World) -> None:
    limited(world, rows_per_day=5)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        answers = await asyncio.gather(*(caller.ask() for _ in range(12)))
        codes = [answer.status_code for answer in answers]
        assert (codes.count(200), codes.count(429)) == (5, 7)
        assert {answer.json().get("code") for answer in answers if answer.status_code != 200} == {"gateway.quota.rows"}

    async def after(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).json()["code"] == "gateway.quota.rows"
        # an answer without rows is still given
        count = await caller.ask({**REASON}, path=f"/gateway/v1/services/{SERVICE}/count")
        assert count.json()["count"] == 2

    talk(world, conversation)
    talk(world, after)


def test_a_source_that_fails_costs_no_quota(world: World) -> None:
    limited(world, calls_per_day=1, table="gone")

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for _ in range(3):
            assert (await caller.ask()).json()["code"] == "gateway.source.not_usable"

    talk(world, conversation)


def test_a_new_day_begins_at_local_midnight_and_applications_do_not_share(world: World) -> None:
    quota, offering = DayQuota(), world.services[0]
    evening = datetime.combine(moments.today(), datetime.max.time(), tzinfo=CHINA)
    for application in ("one", "one", "other"):
        with Taken(quota.used("production", SERVICE, application, evening), offering, 2, evening) as taken:
            taken.rows(3)
    with Taken(quota.used("sandbox", SERVICE, "one", evening), offering, 1, evening):
        pass

    def used(application: str, at: datetime, environment: str = "production") -> tuple[int, int]:
        so_far = quota.used(environment, SERVICE, application, at)
        return so_far.calls, so_far.rows

    assert (used("one", evening), used("other", evening), used("one", evening, "sandbox")) == ((4, 6), (2, 3), (1, 0))
    assert used("one", evening + timedelta(seconds=1)) == (0, 0)


def three_calls(world: World) -> tuple[Path, datetime]:
    """The log of a gateway that has answered three calls, and the time."""
    limited(world, calls_per_day=10)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        for _ in range(3):
            assert (await caller.ask()).status_code == 200

    talk(world, conversation)
    log, now = homes.load(world.home).evidence_file, moments.now().astimezone(CHINA)
    return log, now


def test_only_this_day_of_the_record_counts(world: World) -> None:
    log, now = three_calls(world)
    for services, days, calls in (([SERVICE], 0, 3), ([SERVICE], 1, 0), (["another"], 0, 0), ([], 0, 0)):
        quota, at = DayQuota(), now + timedelta(days=days)
        quota.load(log, services, at)
        assert quota.used("production", SERVICE, "app-housing", at).calls == calls
    DayQuota().load(log.with_name("none.db"), [SERVICE], now)


def test_a_call_that_began_before_midnight_ends_no_day_that_has_begun(world: World) -> None:
    quota, offering = DayQuota(), world.services[0]
    evening = datetime.combine(moments.today(), datetime.max.time(), tzinfo=CHINA)
    for at in (evening + timedelta(seconds=1), evening):
        with Taken(quota.used("production", SERVICE, "one", at), offering, 1, at):
            pass
    assert quota.used("production", SERVICE, "one", evening + timedelta(seconds=2)).calls == 2


def test_what_was_answered_is_known_by_lane(world: World) -> None:
    log, now = three_calls(world)
    assert DayQuota().load(log, [SERVICE], now) == {("1", "production", SERVICE, "app-housing"): (3, 3)}


def test_an_answer_that_cannot_be_recorded_costs_no_quota(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(world, calls_per_day=1)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("jinqiao.dataplane.evidence.log.WAITING_LIMIT", 0)
            assert (await caller.ask()).json()["code"] == "evidence.log.unavailable"
        assert (await caller.ask()).status_code == 200
        assert (await caller.ask()).json()["code"] == "gateway.quota.calls"

    talk(world, conversation)
