"""From a call to its proof: receipts in the chain, a pack from the home, records deleted after their time, a new key."""

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from jinqiao.dataplane.client.journal import Journal
from jinqiao.dataplane.evidence.log import EvidenceLog, connect_read_only, delete_bodies
from jinqiao.dataplane.evidence.records import blank_record
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway import retention
from jinqiao.dataplane.gateway.app import Gateway, create_app
from jinqiao.dataplane.gateway.calls import RECEIPT_METER
from jinqiao.dataplane.gateway.exporting import export, verify_home
from jinqiao.dataplane.gateway.main import main
from jinqiao.dataplane.gateway.receipts import PATH
from jinqiao.dataplane.gateway.retention import delete_due
from jinqiao.dataplane.gateway.settings import SETTINGS
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import BodiesDeleted, CallRecord
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.evidence.packs import open_pack, verify_pack
from jinqiao.kernel.evidence.proofs import AnswerSays, answer_says, find_call
from tests.dataplane.evidence.test_log import a_record
from tests.dataplane.gateway.world import STRANGER_SECRET, Caller, World, make_world, records, talk


@pytest.mark.parametrize("suite_name", ["international", "guomi"])
def test_a_receipt_stands_in_the_chain_and_the_answer_is_proved(tmp_path: Path, suite_name: str) -> None:
    world = make_world(tmp_path, suite=suite_name)
    world.publish()
    answers: list[tuple[str, bytes, str]] = []

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask()
        call_id, salt = response.json()["call_id"], response.headers["jinqiao-answer-salt"]
        answers.append((call_id, response.content, salt))
        with Journal(tmp_path / "journal.db", suite_name) as journal:
            journal.note(call_id=call_id, service="x", request=b"{}", answer=response.content, salt=salt)
            (entry,) = journal.unsent()
        word = {"call_id": call_id, "answer_commitment": entry.answer_commitment}
        receipt = await caller.ask({"receipts": [word, word]}, path=PATH)
        assert (receipt.status_code, receipt.json()["recorded"]) == (200, 2)
        assert "jinqiao-answer-salt" not in receipt.headers

    talk(world, conversation)
    (call_id, body, salt) = answers[0]
    kept = [record for record in records(world) if record["operation"] == "receipt"]
    assert {(record["confirms"], record["outcome"], record["application"]) for record in kept} == {
        (call_id, "ok", "app-housing")
    }

    pack = tmp_path / "pack.zip"
    assert main(["export", str(world.home), "--out", str(pack)]) == 0
    verdict = verify_pack(pack)
    assert verdict.findings == []
    with open_pack(pack) as opened:
        record = find_call(opened, call_id).record
    assert answer_says(suite(suite_name), record, bytes.fromhex(salt), body) is AnswerSays.FITS
    assert verify_home(world.home).ok


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "gateway.request.field"),
        ({"receipts": []}, "gateway.request.field"),
        ({"receipts": [{"call_id": "x", "answer_commitment": "00" * 32}]}, "gateway.request.field"),
        ({"receipts": [{"call_id": "00" * 16, "answer_commitment": "00"}]}, "gateway.request.field"),
        ({"receipts": [{"call_id": "00" * 16, "answer_commitment": "00" * 32, "more": 1}]}, "gateway.request.field"),
        (b"[", "gateway.request.not_json"),
    ],
)
def test_a_receipt_of_another_form_is_refused_and_recorded(world: World, body: dict[str, object], code: str) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        response = await caller.ask(body, path=PATH)
        assert (response.status_code, response.json()["code"]) == (400, code)

    talk(world, conversation)
    (record,) = records(world)
    assert (record["operation"], record["outcome"], record["confirms"]) == ("receipt", code, "")


def test_a_receipt_by_an_unknown_key_is_refused(world: World) -> None:
    async def conversation(caller: Caller, gateway: Gateway) -> None:
        stranger = replace(caller, key_id="key-nobody")
        response = await stranger.ask({"receipts": []}, path=PATH)
        assert response.json()["code"] == "signature.unknown_key"

    talk(world, conversation)


def test_receipts_have_a_rate_of_their_own_and_all_of_one_word_are_taken_or_none(world: World) -> None:
    (world.home / SETTINGS).write_text("[limits]\nreceipts_per_minute = 5\n")
    world.services = (replace(world.services[0], calls_per_minute=3),)
    world.publish()
    word = {"call_id": "0" * 32, "answer_commitment": "0" * 64}

    async def conversation(caller: Caller, gateway: Gateway) -> None:
        async def send(count: int, **changes: str) -> httpx.Response:
            return await replace(caller, **changes).ask({"receipts": [word] * count}, path=PATH)

        assert (await send(3)).status_code == 200
        refused = await send(3)
        assert (refused.status_code, refused.json()["code"]) == (429, "gateway.rate.receipts")
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert refused.json()["details"]["limit"] == 5
        assert [(await caller.ask()).status_code for _ in range(4)] == [200, 200, 200, 429]  # calls count apart
        assert (await send(2)).status_code == 200
        assert (await send(1)).status_code == 429
        other = await send(5, key_id="key-stranger", secret=STRANGER_SECRET)
        assert other.status_code == 200  # each application has its own
        assert gateway._desk is not None
        gateway._desk.hear_rate(f"{RECEIPT_METER}app-third", 5)  # what another worker has taken
        assert gateway._desk.receipt_meter.wait_s(f"{RECEIPT_METER}app-third", 5, time.monotonic()) > 0
        assert gateway._desk.meter.wait_s(f"{RECEIPT_METER}app-third", 5, time.monotonic()) == 0

    talk(world, conversation)
    outcomes = [record["outcome"] for record in records(world) if record["operation"] == "receipt"]
    assert (outcomes.count("ok"), outcomes.count("gateway.rate.receipts")) == (10, 2)


# ── deletion after the time of keeping ──


def keep_log(world: World, *days_ago: int) -> None:
    """A log of one record a batch, shipped whole."""
    home = homes.load(world.home)

    async def write() -> None:
        log = EvidenceLog(home.evidence_file, lane="1", suite_name=home.suite)
        log.start()
        for number, days in enumerate(days_ago):
            at = moments.now() - timedelta(days=days)
            await log.append(
                CallRecord(**{**blank_record(call_id=f"c{number}", at=at, gateway="gw-1"), "outcome": "ok"})
            )
        await log.stop()

    asyncio.run(write())
    home.shipped_file.write_text(json.dumps({"1": len(days_ago)}))


def recorded(world: World, word: BodiesDeleted) -> None:
    home = homes.load(world.home)

    async def write() -> None:
        log = EvidenceLog(home.evidence_file, lane="1", suite_name=home.suite)
        log.start()
        await log.append(word)
        await log.stop()

    asyncio.run(write())


def bodies(world: World) -> list[bool]:
    with sqlite3.connect(world.home / "evidence.db") as db:
        found = [text is not None for (text,) in db.execute("SELECT bodies FROM batch ORDER BY batch")]
    db.close()
    return found


def test_records_are_archived_recorded_and_deleted_after_their_time(world: World, tmp_path: Path) -> None:
    keep_log(world, 1200, 1100, 3)
    home = homes.load(world.home)

    assert delete_due(home, 1096, lambda word: recorded(world, word)) == 2
    assert delete_due(home, 1096, lambda word: recorded(world, word)) == 0

    assert bodies(world) == [False, False, True, True]
    (archive,) = home.archive_folder.glob("*.zip")
    assert verify_pack(archive).records == 2
    export(home, tmp_path / "pack.zip")
    verdict = verify_pack(tmp_path / "pack.zip")
    assert verdict.findings == []
    assert [(one.first_batch, one.last_batch, one.keep_days) for one in verdict.deleted] == [(1, 2, 1096)]


def test_what_the_centre_does_not_have_is_not_deleted(world: World) -> None:
    keep_log(world, 1200, 1200)
    homes.load(world.home).shipped_file.write_text("{}")

    assert delete_due(homes.load(world.home), 1096, lambda word: recorded(world, word)) == 0
    assert bodies(world) == [True, True]


def test_receipts_that_another_worker_has_taken_already_are_not_recorded_again(world: World) -> None:
    words = [{"call_id": f"{number:032x}", "answer_commitment": "ab" * 32} for number in range(3)]
    created, nonce = int(time.time()), "n" * 32

    async def conversation() -> list[str]:
        workers = [create_app(world.home, shared=True) for _ in range(2)]
        codes = []
        try:
            for worker in workers:
                await worker.start()
            for worker in workers:
                transport = httpx.ASGITransport(app=worker)  # type: ignore[arg-type]
                async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
                    answer = await Caller(client).ask({"receipts": words}, path=PATH, created=created, nonce=nonce)
                codes.append(answer.json().get("code", "ok"))
        finally:
            for worker in workers:
                await worker.stop()
        return codes

    assert asyncio.run(conversation()) == ["ok", "signature.replayed"]
    kept = [record["confirms"] for record in records(world) if record["outcome"] == "ok"]
    assert sorted(kept) == [word["call_id"] for word in words]
    assert [record["outcome"] for record in records(world)].count("signature.replayed") == 1


def test_no_policy_deletes_before_six_months(world: World) -> None:
    keep_log(world, 179)

    assert delete_due(homes.load(world.home), 1, lambda word: recorded(world, word)) == 0


def test_a_deletion_that_was_recorded_and_cut_off_is_finished(world: World) -> None:
    keep_log(world, 1200, 3)
    home = homes.load(world.home)

    def killed(word: BodiesDeleted) -> None:
        recorded(world, word)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delete_due(home, 1096, killed)
    assert bodies(world) == [True, True, True]

    delete_due(home, 1096, lambda word: recorded(world, word))

    assert bodies(world) == [False, True, True]
    assert verify_home(world.home).ok


def test_a_deletion_that_was_cut_off_is_finished_also_where_a_new_lane_says_that_it_was_recorded(world: World) -> None:
    """The worker that leads has recorded nothing yet: the deletion is the first of its lane."""
    keep_log(world, 1200, 1200, 1200, 3)
    home = homes.load(world.home)
    told: list[BodiesDeleted] = []

    async def append(word: BodiesDeleted) -> None:
        log = EvidenceLog(home.evidence_file, lane="2", suite_name=home.suite)
        log.start()
        await log.append(word)
        await log.stop()

    def killed(word: BodiesDeleted) -> None:
        told.append(word)
        asyncio.run(append(word))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delete_due(home, 1096, killed)
    assert delete_due(home, 1096, told.append) == 0  # nothing is recorded a second time
    with closing(connect_read_only(home.evidence_file)) as db:
        left = db.execute("SELECT lane, batch FROM batch WHERE bodies IS NOT NULL ORDER BY lane").fetchall()
    assert (len(told), left) == (1, [("1", 4), ("2", 1)])


@pytest.mark.parametrize("deleted", [0, 1, 5, 9, 10])
def test_the_first_batch_that_has_its_records_is_found_whatever_was_deleted_before(
    deleted: int, tmp_path: Path
) -> None:
    path = tmp_path / "evidence.db"

    async def write() -> None:
        log = EvidenceLog(path, lane="1", suite_name="international")
        log.start()
        for number in range(10):
            await log.append(a_record(f"c{number}"))
        await log.stop()

    asyncio.run(write())
    delete_bodies(path, lane="1", up_to=deleted)
    with closing(connect_read_only(path)) as db:
        assert retention._first_kept(db, "1", 10) == deleted + 1
        assert retention._first_kept(db, "1", 5) == min(deleted, 5) + 1
