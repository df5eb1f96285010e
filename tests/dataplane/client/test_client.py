"""The client signs, asks and reads; what the gateway refuses it says in the gateway's own words."""

import hmac
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from jinqiao.dataplane.client import AnswerNotUnderstood, GatewayClient, GatewayUnreachable, KeyPair, Refused
from jinqiao.dataplane.client.journal import Journal
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.crypto.public_keys import ALGORITHMS
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from jinqiao.kernel.ports import free_port
from tests.dataplane.gateway.test_process import process
from tests.dataplane.gateway.world import ANN, PURPOSE, SECRET, SERVICE, World, make_world, records


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    """A gateway process for the tests of this file, and its address."""
    world = make_world(tmp_path_factory.mktemp("client"))
    world.publish()
    port = free_port()
    with process(world, port):
        yield world, f"http://127.0.0.1:{port}"


PAIRS = {algorithm: KeyPair.generate(algorithm) for algorithm in ALGORITHMS}


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[World, str]]]:
    """A gateway process of each suite, with keys of every algorithm."""
    with ExitStack() as stack:
        found = {}
        for suite_name in SUITE_NAMES:
            world = make_world(tmp_path_factory.mktemp(suite_name), suite=suite_name)
            world.services = (replace(world.services[0], operations=tuple(Operation)),)
            for algorithm in ("hmac-sha256", "hmac-sm3"):
                world.keys[f"key-{algorithm}"] = ("app-housing", SECRET)
                world.key_changes[f"key-{algorithm}"] = {"algorithm": algorithm}
            for algorithm, pair in PAIRS.items():
                world.keys[f"key-{algorithm}"] = ("app-housing", SECRET)
                public = {"algorithm": algorithm, "sealed_secret": "", "public_key": pair.public.hex()}
                world.key_changes[f"key-{algorithm}"] = public
            world.publish()
            port = free_port()
            stack.enter_context(process(world, port))
            found[suite_name] = (world, f"http://127.0.0.1:{port}")
        yield found


@contextmanager
def client(url: str, **changes: object) -> Iterator[GatewayClient]:
    settings = {"key_id": "key-housing", "secret": SECRET, **changes}
    with GatewayClient(url, **settings) as opened:  # type: ignore[arg-type]
        yield opened


def test_an_answer_is_read_and_can_be_proved(gateway: tuple[World, str]) -> None:
    world, url = gateway
    with client(url + "/") as opened:
        answer = opened.query(SERVICE, by={"sfzh": ANN}, items=["xm", "bt"], purpose=PURPOSE, case_number="A-1")

    assert answer.rows == ({"xm": "安**", "bt": "12.50"},)
    assert (answer.count, answer.truncated, answer.items) == (1, False, ("xm", "bt"))
    (record,) = [record for record in records(world) if record["call_id"] == answer.call_id]
    assert record["answer_commitment"] == hmac.digest(bytes.fromhex(answer.salt), answer.body, "sha256").hex()


@pytest.mark.parametrize(("language", "word"), [("zh", "超出授权"), ("en", "than were granted")])
def test_a_refusal_carries_code_message_and_mend(gateway: tuple[World, str], language: str, word: str) -> None:
    with client(gateway[1], language=language) as opened, pytest.raises(Refused) as caught:
        opened.query(SERVICE, by={"sfzh": ANN}, items=["phone"], purpose=PURPOSE, case_number="A-1")

    refusal = caught.value
    assert (refusal.refusal, refusal.status) == ("gateway.items.not_granted", 403)
    assert word in refusal.message
    assert "sfzh" in refusal.mend
    assert len(refusal.call_id) == 32
    assert "gateway.items.not_granted" in str(refusal)


def test_a_wrong_secret_is_refused(gateway: tuple[World, str]) -> None:
    with client(gateway[1], secret="not-the-secret") as opened, pytest.raises(Refused) as caught:
        opened.query(SERVICE, by={"sfzh": ANN}, items=["xm"], purpose=PURPOSE)
    assert (caught.value.refusal, caught.value.status) == ("signature.wrong", 401)


@pytest.mark.parametrize("service", ["a/b", "..", "x?y=1", "x#y", "婚姻", "a b", "%2e%2e"])
def test_a_service_name_stays_one_segment_of_the_path(gateway: tuple[World, str], service: str) -> None:
    with client(gateway[1]) as opened, pytest.raises(Refused) as caught:
        opened.query(service, by={"sfzh": ANN}, items=["xm"], purpose=PURPOSE)
    assert caught.value.status == 404


def test_nobody_there_is_told_with_the_host_and_without_the_question() -> None:
    with client(f"http://127.0.0.1:{free_port()}") as opened, pytest.raises(GatewayUnreachable) as caught:
        opened.query(SERVICE, by={"sfzh": ANN}, items=["xm"], purpose=PURPOSE)
    assert str(caught.value.details["host"]).startswith("127.0.0.1:")
    assert ANN not in caught.value.text("zh").message


@pytest.mark.parametrize(
    ("status", "content"),
    [(200, b"<html>"), (502, b"Bad Gateway"), (200, b"{}"), (200, b"[]"), (403, b'{"title": "x"}'), (302, b"")],
)
def test_an_answer_that_is_no_gateways_is_not_understood(status: int, content: bytes) -> None:
    stranger = httpx.MockTransport(lambda _: httpx.Response(status, content=content))
    with client("http://somewhere.test", transport=stranger) as opened, pytest.raises(AnswerNotUnderstood):
        opened.query(SERVICE, by={"sfzh": ANN}, items=["xm"], purpose=PURPOSE)


def test_an_unknown_algorithm_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="md5"):
        GatewayClient("http://x.test", key_id="k", secret="s", algorithm="hmac-md5")


def test_the_guomi_suite_signs_with_sm3(tmp_path: Path) -> None:
    world = make_world(tmp_path, suite="guomi")
    world.publish()
    port = free_port()
    with process(world, port), client(f"http://127.0.0.1:{port}", algorithm="hmac-sm3") as opened:
        answer = opened.query(SERVICE, by={"sfzh": ANN}, items=["xm"], purpose=PURPOSE, case_number="A-1")
    assert answer.count == 1
    assert json.loads(answer.body)["call_id"] == answer.call_id


@pytest.mark.parametrize("suite_name", SUITE_NAMES)
@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "hmac-sha256", "hmac-sm3"])
def test_each_algorithm_signs_for_gateways_of_both_suites(
    gateways: dict[str, tuple[World, str]], suite_name: str, algorithm: str, tmp_path: Path
) -> None:
    """One gateway of each suite, which knows a key of every algorithm: calls, a batch file, the document, and receipts."""
    world, url = gateways[suite_name]
    pair = PAIRS.get(algorithm)
    signing = {"key": pair} if pair is not None else {"secret": SECRET, "algorithm": algorithm}
    keys = tmp_path / "keys.csv"
    keys.write_text(f"sfzh\n{ANN}\n", encoding="utf-8")
    why = {"purpose": PURPOSE, "case_number": "A-1"}
    with (
        Journal(tmp_path / "journal.db", suite_name) as journal,
        GatewayClient(url, key_id=f"key-{algorithm}", journal=journal, **signing) as opened,  # type: ignore[arg-type]
    ):
        answer = opened.query(SERVICE, by={"sfzh": ANN}, items=["xm"], **why)
        assert answer.rows == ({"xm": "安**"},)
        batch = opened.batch_file(SERVICE, keys, items=["xm"], **why)
        assert len(batch.results) == 1
        assert opened.openapi()["openapi"] == "3.1.0"
        assert opened.send_receipts() == 2
        entry = journal.entry(answer.call_id)
    kept = {record["call_id"]: record for record in records(world)}
    assert entry is not None
    assert kept[answer.call_id]["key_id"] == f"key-{algorithm}"
    assert entry.answer_commitment == kept[answer.call_id]["answer_commitment"]
    assert any(record["confirms"] == answer.call_id for record in kept.values())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_pair_of_the_same_algorithm_is_refused(gateways: dict[str, tuple[World, str]], algorithm: str) -> None:
    stranger = KeyPair.generate(algorithm)
    with (
        GatewayClient(gateways["international"][1], key_id=f"key-{algorithm}", key=stranger) as opened,
        pytest.raises(Refused) as caught,
    ):
        opened.query(SERVICE, by={"sfzh": ANN}, items=["xm"], purpose=PURPOSE, case_number="A-1")
    assert (caught.value.refusal, caught.value.status) == ("signature.wrong", 401)
