"""The evidence of calls, end to end, as `jinqiao demo verify` walks the main job: platform, gateway and witness are processes.

Run by test_evidence_of_the_city.py in a process of its own, for Django belongs to one home.
"""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from jinqiao.dataplane.client import GatewayClient, Refused
from jinqiao.dataplane.client.journal import Journal
from jinqiao.demo import verify
from jinqiao.demo.verify import PURPOSE, Walk, need

CALLS, AWAY_CALLS = 12, 25
answered: list[str] = []


def _cli(walk: Walk, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "jinqiao.cli", *arguments]
    return subprocess.run(command, env=walk.platform.environment, capture_output=True, text=True, check=False)


def _checked(walk: Walk, file: Path) -> dict[str, Any]:
    done = _cli(walk, "verify", str(file), "--json")
    report: dict[str, Any] = json.loads(done.stdout)
    need(done.returncode == report["exit"], f"exit {done.returncode}, report {report}")
    return report


def _gateway_home(walk: Walk) -> Path:
    return walk.home / "gateway"


def _client(walk: Walk, journal: Journal | None = None) -> GatewayClient:
    return GatewayClient(walk.platform.url, key_id=walk.key[0], secret=walk.key[1], journal=journal)


def _call(client: GatewayClient, walk: Walk) -> str:
    answer = client.query(
        walk.services["query"],
        by={"sfzh": walk.person},
        items=["xm", "swrq"],
        purpose=PURPOSE,
        case_number="HC-2026-0003",
    )
    answered.append(answer.call_id)
    return answer.call_id


def _wait(what: str, holds: Any, within_s: float = 60) -> None:
    from jinqiao.demo import story

    story.wait_until(what, holds, within_s)


def calls(walk: Walk) -> str:
    """An application calls and keeps its journal; the gateway is a process of its own, with two workers."""
    names = [part.name for part in walk.platform.parts if part.process is not None and part.process.poll() is None]
    need("gateway" in names and any(name.startswith("node-") for name in names), f"processes {names}")
    with Journal(walk.home / "journal.db") as journal, _client(walk, journal) as client:
        for _ in range(CALLS):
            _call(client, walk)
    return f"{CALLS} calls"


def countersigned(walk: Walk) -> str:
    """The export anchors the heads; the gateway offers them, another department's node countersigns, and the word comes back."""
    from jinqiao.exchange.models import EvidenceAnchor, Node

    pack = walk.home / "calls.zip"

    def seen() -> bool:
        pack.unlink(missing_ok=True)
        done = _cli(walk, "gateway", "export", str(_gateway_home(walk)), "--out", str(pack))
        need(done.returncode == 0, done.stderr)
        return any(witness != "platform" for witness in _checked(walk, pack)["witnesses"])

    _wait("a countersignature at the gateway", seen)
    report = _checked(walk, pack)
    need(report["whole"] and report["exit"] == 0 and report["findings"] == [], f"report {report}")
    witness = EvidenceAnchor.objects.exclude(countersignature=None).latest("at").witness
    gateway = Node.objects.get(number=report["gateway"])
    need(witness is not None and witness.organisation_id != gateway.organisation_id, f"witness {witness}")
    need(witness is not None and witness.number in report["witnesses"], f"witnesses {report['witnesses']}")
    need("platform" in report["witnesses"], f"witnesses {report['witnesses']}")
    said = _cli(walk, "verify", str(pack), "--language", "en").stdout
    need(witness is not None and f"countersigned by {witness.number}" in said, said)
    need(list((walk.home / "nodes").glob("*/witness.db")), "no node remembers what it has countersigned")
    return f"{report['records']} records, {report['anchors']} anchors, 副署 countersigned by {', '.join(report['witnesses'])}"


def damaged(walk: Walk) -> str:
    """One record altered where it lies: the same command says so, and which."""
    copy = walk.home / "altered.db"
    with closing(sqlite3.connect(_gateway_home(walk) / "evidence.db")) as live, closing(sqlite3.connect(copy)) as other:
        live.backup(other)
        lane, batch, bodies = other.execute(
            "SELECT lane, batch, bodies FROM batch WHERE bodies LIKE '%\"ok\"%' ORDER BY lane, batch LIMIT 1"
        ).fetchone()
        changed = bodies.replace('"ok"', '"no"', 1)
        other.execute("UPDATE batch SET bodies = ? WHERE lane = ? AND batch = ?", (changed, lane, batch))
        other.commit()
    report = _checked(walk, copy)
    need(report["exit"] == 1 and report["findings"][0]["code"] == "record.altered", f"report {report}")
    return "record.altered"


def receipts(walk: Walk) -> str:
    """The application sends what it got: each fits the gateway's record. One that says something else shows."""
    from jinqiao.exchange.models import Call

    def fitting() -> int:
        return Call.objects.filter(call_id__in=answered, confirmation_fits=True).count()

    with Journal(walk.home / "journal.db") as journal, _client(walk, journal) as client:
        need(client.send_receipts() == CALLS, "not every call was confirmed")
        _wait("receipts at the centre", lambda: fitting() == CALLS)
        lie = _call(client, walk)
        with closing(sqlite3.connect(walk.home / "journal.db")) as other, other:
            other.execute("UPDATE entry SET answer_commitment = ? WHERE call_id = ?", ("ab" * 32, lie))
        need(client.send_receipts() == 1, "the false receipt was not taken")
    _wait("the disagreement", lambda: Call.objects.filter(call_id=lie, confirmation_fits=False).exists())
    need(fitting() == CALLS, f"{fitting()} fit")
    pack = walk.home / "centre.zip"
    done = _cli(walk, "gateway", "export", str(_gateway_home(walk)), "--out", str(walk.home / "anchored.zip"))
    need(done.returncode == 0, done.stderr)  # it anchors the heads of the lanes: the next minute would, too

    def told() -> bool:
        pack.unlink(missing_ok=True)
        done = _cli(walk, "evidence", "export", Call.objects.get(call_id=lie).gateway.number, "--out", str(pack))
        need(done.returncode == 0, done.stderr)
        report = _checked(walk, pack)
        return [finding["code"] for finding in report["findings"]] == ["receipt.contradicts"] and report["exit"] == 3

    _wait("the centre's pack", told)
    return f"{CALLS} fit, 1 disagrees: receipt.contradicts"


def found_by_who_supervises(walk: Walk) -> str:
    """The auditor's search for calls on which both sides disagree finds this one, and no department of other people does."""
    from jinqiao.exchange.queries.calls import CallsWanted, calls_found

    wanted = CallsWanted(pairing="contradicted")
    found = {name: [call.call_id for call in calls_found(walk.city.post(name), wanted)] for name in ("shenji", "kaifa")}
    need(found["shenji"] == [answered[-1]], f"the auditor finds {found['shenji']}")
    return f"{len(found['shenji'])} call"


def away(walk: Walk) -> str:
    """The control plane stops: calls go on. It starts again: nothing is missing in its ledger."""
    from jinqiao.exchange.models import Call

    for name in ("web", "worker"):
        walk.platform.stop_part(name)
    try:
        httpx.get(f"{walk.platform.url}/api/health/live", trust_env=False, timeout=10).raise_for_status()
        need(False, "the pages still answer")
    except httpx.HTTPError:
        pass
    refused = 0
    with _client(walk) as client:
        during = [_call(client, walk) for _ in range(AWAY_CALLS)]
        try:
            client.query(
                walk.services["query"], by={"sfzh": walk.person}, items=["xm", "swyy"], purpose=PURPOSE, case_number="1"
            )
        except Refused:
            refused += 1
    need(refused == 1, "what is not granted was answered while the control plane was away")
    need(not Call.objects.filter(call_id__in=during).exists(), "the centre has calls that nobody could ship")
    for name in ("web", "worker"):
        walk.platform.part(name).start()
    _wait("the ledger", lambda: Call.objects.filter(call_id__in=during, outcome="ok").count() == AWAY_CALLS, 120)
    need(Call.objects.filter(call_id__in=answered).count() == len(answered), "calls are missing in the ledger")
    with closing(sqlite3.connect(f"file:{_gateway_home(walk) / 'evidence.db'}?mode=ro", uri=True)) as evidence:
        lanes = dict(evidence.execute("SELECT lane, max(first_number + records - 1) FROM batch GROUP BY lane"))

    def whole() -> bool:
        return all(Call.objects.filter(lane=lane).count() == last for lane, last in lanes.items())

    _wait("each record of each lane", whole)
    return f"{AWAY_CALLS} answered meanwhile, {sum(lanes.values())} records of {len(lanes)} lanes at the centre"


STEPS = (
    *(
        step
        for step in verify.STEPS
        if step[1]
        in (
            verify.found_city,
            verify.start_platform,
            verify.import_workbook,
            verify.publish,
            verify.request,
            verify.approve,
            verify.grant,
            verify.reach_and_bind,
            verify.query,
        )
    ),
    ("调用 calls", calls),
    ("锚与副署 anchored and countersigned", countersigned),
    ("改动可见 damage found", damaged),
    ("回执 receipts", receipts),
    ("查得 found by who supervises", found_by_who_supervises),
    ("中心停用 control plane stopped", away),
)

if __name__ == "__main__":
    os.environ["JINQIAO_GATEWAY_WORKERS"] = "2"
    verify.STEPS = STEPS
    sys.exit(verify.main(sys.argv[1:]))
