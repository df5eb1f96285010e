"""Callers are told of a service that ends and of a policy that is old."""

import os
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime

from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.dataplane.gateway.notices import deprecation, policy_age
from jinqiao.dataplane.gateway.settings import SETTINGS
from tests.dataplane.gateway.world import Caller, World, day, talk


def test_a_service_without_an_end_says_nothing(world: World) -> None:
    assert deprecation(world.services[0], "query") == []


def test_the_headers_say_since_when_until_when_and_what_instead(world: World) -> None:
    ending = replace(
        world.services[0],
        deprecated_on=date(2026, 3, 1),
        ends_on=date(2026, 6, 30),
        successor="hunyin-dengji-002",
    )
    headers = dict(deprecation(ending, "query"))
    assert headers[b"deprecation"] == b"@1772294400"  # midnight in China
    assert headers[b"sunset"] == b"Tue, 30 Jun 2026 16:00:00 GMT"
    assert headers[b"link"] == b'</gateway/v1/services/hunyin-dengji-002/query>; rel="successor-version"'
    assert parsedate_to_datetime(headers[b"sunset"].decode()) == datetime(2026, 6, 30, 16, tzinfo=UTC)


def test_each_answer_and_refusal_of_an_ending_service_says_so_but_only_to_who_may_call_it(world: World) -> None:
    world.services = (replace(world.services[0], deprecated_on=day(-5), ends_on=day(30), successor="next-001"),)
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        answered, refused = await caller.ask(), await caller.ask(items=["nothing"])
        assert (answered.status_code, refused.status_code) == (200, 403)
        for response in (answered, refused):
            assert response.headers["deprecation"].startswith("@")
            assert response.headers["sunset"].endswith("GMT")
            assert "next-001" in response.headers["link"]
        caller.key_id, caller.secret = "key-stranger", "s3cret-of-a-stranger"
        assert "deprecation" not in (await caller.ask()).headers

    talk(world, conversation)


def test_an_old_policy_says_its_age_and_a_fresh_one_nothing() -> None:
    assert policy_age(12.7, 300) == []
    assert policy_age(301.9, 300) == [(b"jinqiao-policy-age", b"301")]


def test_an_isolated_gateway_says_for_how_long_its_policy_was_not_confirmed_also_after_a_restart(world: World) -> None:
    heard = time.time() - 1000
    os.utime(world.home / "policy.json", (heard, heard))

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask()
        assert response.status_code == 200
        assert int(response.headers["jinqiao-policy-age"]) >= 1000
        assert int((await caller.ask(items=["nothing"])).headers["jinqiao-policy-age"]) >= 1000
        assert (await caller.client.get("/gateway/health/ready")).json()["policy_confirmed_s_ago"] >= 1000
        (world.home / SETTINGS).write_text("[serving]\npolicy_old_s = 100000\n")
        await gateway.reload()
        assert "jinqiao-policy-age" not in (await caller.ask()).headers

    talk(world, conversation)
