"""Only what the platform signed, for this gateway, newer than what is in force, becomes its policy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.errors import PolicyRefused
from jinqiao.dataplane.gateway.snapshot import keep, last_kept, open_snapshot
from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.crypto.identity import Identity, sign_message
from tests.dataplane.gateway.world import SECRET, STRANGER_SECRET, World, make_world


@pytest.fixture(params=["international", "guomi"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return make_world(tmp_path, suite=request.param)


def test_what_the_platform_signed_is_opened(world: World) -> None:
    home = homes.load(world.home)
    message = world.signed()

    view = open_snapshot(message, home)

    assert (view.version, set(view.services), set(view.keys)) == (
        1,
        {"hunyin-dengji-001"},
        {"key-housing", "key-stranger", "try-app-housing", "try-app-stranger"},
    )
    assert {key.key_id for key in view.keys.values() if key.sandbox_only} == {"try-app-housing", "try-app-stranger"}
    keep(message, home)
    kept = last_kept(home)
    assert kept is not None
    assert (kept.version, kept.services) == (1, view.services)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (lambda w: sign_message(w.snapshot(version=9), Identity.generate(w.suite)), SignatureInvalid),
        (
            lambda w: replace(sign_message(w.snapshot(version=9), w.platform), body=w.snapshot(version=10).to_json()),
            SignatureInvalid,
        ),
        (lambda w: replace(sign_message(w.snapshot(version=9), w.platform), signature=""), SignatureInvalid),
        (lambda w: sign_message(w.services[0].grant, w.platform), ContractBroken),
        (lambda w: sign_message(w.snapshot(version=9, gateway="gw-2"), w.platform), PolicyRefused),
        (lambda w: sign_message(w.snapshot(version=5), w.platform), PolicyRefused),
        (lambda w: sign_message(w.snapshot(version=4), w.platform), PolicyRefused),
        (lambda w: sign_message(w.snapshot(version=9, services=w.services * 2), w.platform), PolicyRefused),
        (
            lambda w: sign_message(w.snapshot(version=9, applications=w.snapshot().applications * 2), w.platform),
            PolicyRefused,
        ),
    ],
)
def test_whatever_else_comes_is_refused(
    world: World, message: Callable[[World], SignedMessage], error: type[Exception]
) -> None:
    with pytest.raises(error):
        open_snapshot(message(world), homes.load(world.home), newer_than=5)


def test_nothing_on_disk_or_nothing_readable_there_is_no_policy(world: World) -> None:
    home = homes.load(world.home)
    assert last_kept(home) is None
    for content in (b"", b"{", b"[]", b"{}", b"\xff"):
        home.policy_file.write_bytes(content)
        assert last_kept(home) is None


def test_what_was_opened_is_not_opened_again_and_what_is_gone_is_forgotten(world: World) -> None:
    home = homes.load(world.home)
    first = open_snapshot(world.signed(), home)
    assert set(first.unsealed.values()) == {SECRET.encode(), STRANGER_SECRET.encode()}
    assert SECRET not in repr(first)
    message = world.snapshot(applications=world.snapshot().applications[:1], version=2)

    sealed = message.applications[0].keys[0].sealed_secret
    known = replace(first, unsealed={sealed: b"as it was opened before"})
    second = open_snapshot(sign_message(message, world.platform), home, newer_than=1, before=known)

    assert second.unsealed == {sealed: b"as it was opened before"}
    assert set(second.keys) == {"key-housing", "try-app-housing"}
