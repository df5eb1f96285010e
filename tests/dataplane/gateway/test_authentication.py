"""Who calls is shown by a signature, once, within the window, with the application's own key."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from jinqiao.dataplane.gateway.app import Gateway
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.crypto.suites import SUITE_NAMES, suite
from jinqiao.kernel.httpsig import IdentitySigner
from tests.dataplane.gateway.world import (
    HOST,
    SERVICE,
    STRANGER_SECRET,
    Caller,
    World,
    configure,
    make_world,
    records,
    talk,
)


def code_of(response: httpx.Response) -> str:
    return str(response.json()["code"])


def test_a_signed_call_is_answered_once(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        nonce = "one-nonce-for-two-calls"
        assert (await caller.ask(nonce=nonce)).status_code == 200
        again = await caller.ask(nonce=nonce)
        assert (again.status_code, code_of(again)) == (401, "signature.replayed")
        assert again.headers["www-authenticate"].startswith("Signature")

    talk(world, conversation)


def test_the_very_same_bytes_are_refused_after_a_restart(world: World) -> None:
    sent: list[httpx.Request] = []

    async def first(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask()
        assert response.status_code == 200
        sent.append(response.request)

    async def second(caller: Caller, gateway: Gateway) -> None:
        response = await caller.client.request(
            "POST", str(sent[0].url), content=sent[0].content, headers=dict(sent[0].headers)
        )
        assert code_of(response) == "signature.replayed"

    talk(world, first)
    talk(world, second)


def test_two_copies_at_the_same_instant_are_not_both_answered(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        answers = await asyncio.gather(*(caller.ask(nonce="raced-by-ten-copies") for _ in range(10)))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9

    talk(world, conversation)


def test_a_refused_call_uses_its_nonce_up_as_well(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert code_of(await caller.ask(nonce="spent-on-a-refusal", items=["phone"])) == "gateway.items.not_granted"
        assert code_of(await caller.ask(nonce="spent-on-a-refusal")) == "signature.replayed"

    talk(world, conversation)


@pytest.mark.parametrize("skew_s", [-598, 598])
def test_a_clock_within_ten_minutes_is_taken(world: World, skew_s: int) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask(created=int(time.time()) + skew_s)).status_code == 200

    talk(world, conversation)


@pytest.mark.parametrize("skew_s", [-602, 602, -86_400])
def test_a_clock_further_off_is_refused(world: World, skew_s: int) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(created=int(time.time()) + skew_s)
        assert (response.status_code, code_of(response)) == (401, "signature.outside_window")

    talk(world, conversation)


@pytest.mark.parametrize(("age_s", "status"), [(599, 200), (600, 200), (601, 401), (-599, 200), (-601, 401)])
def test_the_window_is_six_hundred_seconds_to_the_second(
    world: World, monkeypatch: pytest.MonkeyPatch, age_s: int, status: int
) -> None:
    instant = float(int(time.time()))
    monkeypatch.setattr("jinqiao.dataplane.gateway.calls.time.time", lambda: instant)

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask(created=int(instant) - age_s)).status_code == status

    talk(world, conversation)


def drop(name: str) -> Callable[[dict[str, str]], None]:
    def change(headers: dict[str, str]) -> None:
        del headers[name]

    return change


def put(name: str, old: str, new: str) -> Callable[[dict[str, str]], None]:
    def change(headers: dict[str, str]) -> None:
        assert old in headers[name]
        headers[name] = headers[name].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (drop("Signature"), "signature.missing"),
        (drop("Signature-Input"), "signature.missing"),
        (drop("Content-Digest"), "signature.malformed"),
        (put("Signature-Input", '"content-digest" ', ""), "signature.malformed"),
        (put("Signature-Input", '"@path" ', ""), "signature.malformed"),
        (put("Signature-Input", "key-housing", "key-stranger"), "signature.wrong"),
        (put("Signature-Input", "key-housing", "key-nobody"), "signature.unknown_key"),
        (put("Signature-Input", "hmac-sha256", "hmac-sm3"), "signature.unknown_key"),
        (put("Signature-Input", "hmac-sha256", "none"), "signature.unknown_key"),
        (put("Signature-Input", ";created=", ";created=1"), "signature.outside_window"),
    ],
)
def test_a_signature_that_was_tampered_with_is_refused(
    world: World, change: Callable[[dict[str, str]], None], code: str
) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(change=change)
        assert (response.status_code, code_of(response)) == (401, code)

    talk(world, conversation)
    assert [record["outcome"] for record in records(world)] == [code]


def test_a_signature_with_another_secret_is_refused(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert code_of(await replace(caller, secret=STRANGER_SECRET).ask()) == "signature.wrong"
        assert code_of(await replace(caller, secret=" " + caller.secret).ask()) == "signature.wrong"

    talk(world, conversation)


def test_the_body_the_path_and_the_host_are_covered(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        signed = (await caller.ask()).request
        for change in (
            {"content": signed.content.replace(b"hyzk", b"sfzh")},
            {"url": f"http://{HOST}/gateway/v1/services/another-001/query"},
            {"url": f"http://other.test/gateway/v1/services/{SERVICE}/query"},
        ):
            headers = {name: value for name, value in signed.headers.items() if name not in ("host", "content-length")}
            call = {"content": signed.content, "url": str(signed.url), "headers": headers} | change
            response = await caller.client.post(**call)  # type: ignore[arg-type]
            assert response.status_code == 401
            assert code_of(response) in ("signature.wrong", "signature.digest_mismatch")

    talk(world, conversation)


def test_a_key_past_its_time_is_unknown(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.key_changes["key-housing"] = {"not_after": moments.now() - timedelta(seconds=1)}
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert code_of(await caller.ask()) == "signature.unknown_key"

    talk(world, conversation)


def test_a_key_that_cannot_be_unsealed_costs_only_itself(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.key_changes["key-stranger"] = {"sealed_secret": world.platform.public.seal(b"sealed to somebody else")}
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask()).status_code == 200
        stranger = replace(caller, key_id="key-stranger", secret=STRANGER_SECRET)
        assert code_of(await stranger.ask()) == "signature.unknown_key"

    talk(world, conversation)


def test_an_empty_secret_is_no_key(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.keys["key-empty"] = ("app-housing", "")
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert code_of(await replace(caller, key_id="key-empty", secret="").ask()) == "signature.unknown_key"

    talk(world, conversation)


@pytest.mark.parametrize("suite_name", SUITE_NAMES)
def test_an_application_may_sign_with_a_key_pair_of_its_own(world: World, suite_name: str) -> None:
    pair = Identity.generate(suite_name)
    world.key_changes["key-housing"] = {
        "algorithm": suite(suite_name).signature_name, "sealed_secret": "", "public_key": pair.public.signing_key.hex(),
    }  # fmt: skip
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        caller.signer = IdentitySigner(pair)
        assert (await caller.ask()).status_code == 200
        caller.signer = IdentitySigner(Identity.generate(suite_name))
        assert code_of(await caller.ask()) == "signature.wrong"
        caller.signer = None
        assert code_of(await caller.ask()) == "signature.unknown_key"  # the other algorithm is no way in

    talk(world, conversation)


def test_a_key_works_from_its_first_instant_on(world: World) -> None:
    world.key_changes["key-housing"] = {"not_before": moments.now() + timedelta(hours=1)}
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert code_of(await caller.ask()) == "signature.unknown_key"

    talk(world, conversation)


@pytest.mark.parametrize(
    ("networks", "status"), [(("127.0.0.0/8",), 200), (("192.0.2.0/24", "::1/128"), 403), (("192.0.2.0/24", "127.0.0.1"), 200)]
)  # fmt: skip
def test_an_application_calls_from_its_registered_networks_only(
    world: World, networks: tuple[str, ...], status: int
) -> None:
    world.application_changes["app-housing"] = {"addresses": networks}
    world.publish()

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(headers={"X-Forwarded-For": "192.0.2.1"})
        assert response.status_code == status
        if status == 403:
            assert code_of(response) == "gateway.caller.address"

    talk(world, conversation)
    assert records(world)[-1]["address"] == "127.0.0.1"


def test_a_client_certificate_is_believed_from_a_configured_proxy_only(world: World) -> None:
    fingerprint = "5f" * 32
    world.application_changes["app-housing"] = {"certificates": (fingerprint,)}
    world.publish()
    shown = {"X-Client-Certificate-SHA256": fingerprint, "X-Forwarded-For": "192.0.2.44"}

    async def directly(caller: Caller, gateway: Gateway) -> None:
        assert code_of(await caller.ask(headers=shown)) == "gateway.caller.certificate"

    async def through_the_proxy(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask(headers=shown)).status_code == 200
        assert code_of(await caller.ask()) == "gateway.caller.certificate"
        other = {"X-Client-Certificate-SHA256": "00" * 32}
        assert code_of(await caller.ask(headers=other)) == "gateway.caller.certificate"

    talk(world, directly)
    configure(world, 'proxies = ["127.0.0.0/8"]')
    talk(world, through_the_proxy)
    assert records(world)[1]["address"] == "192.0.2.44"


def test_a_proxy_is_believed_from_the_reload_on_that_reads_it(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        assert (await caller.ask(headers={"X-Forwarded-For": "192.0.2.44"})).status_code == 200
        configure(world, 'proxies = ["127.0.0.0/8"]')
        await gateway.reload()
        assert (await caller.ask(headers={"X-Forwarded-For": "192.0.2.44"})).status_code == 200

    talk(world, conversation)
    assert [record["address"] for record in records(world)] == ["127.0.0.1", "192.0.2.44"]
