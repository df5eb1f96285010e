"""The real gateway process and the real platform over HTTP: policy pulled, a call answered, evidence kept, revocation felt."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from jinqiao.accounts.enums import Role
from jinqiao.dataplane.client import GatewayClient, Refused
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.exporting import export
from jinqiao.dataplane.gateway.main import rotate_identity
from jinqiao.exchange import actions
from jinqiao.exchange.enums import NetworkZone, NodeKind
from jinqiao.exchange.models import Call, DataSource, EvidenceSegment, Node, QueryService
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult
from jinqiao.kernel.evidence.packs import verify_pack
from jinqiao.kernel.ports import free_port
from jinqiao.sharing import actions as sharing_actions
from tests.exchange.factories import BOUND, TABLE, make_node
from tests.factories import make_application, make_post, seed_calendar
from tests.sharing import factories as sharing

pytestmark = pytest.mark.django_db(transaction=True)

NUMBER = "620302198001010015"


def eventually(holds: Callable[[], Any], within_s: float = 20.0) -> Any:
    """The first true value, asked for again and again."""
    ends = time.monotonic() + within_s
    while not (value := holds()):
        assert time.monotonic() < ends, "it did not come about in time"
        time.sleep(0.1)
    return value


def make_database(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "CREATE TABLE marriage (id INTEGER PRIMARY KEY, name VARCHAR(50), id_card VARCHAR(18), reg_date DATE,"
            " amount DECIMAL(12,2), valid BOOLEAN, area VARCHAR(6), updated_at DATETIME, photo BLOB)"
        )
        database.execute(
            "INSERT INTO marriage VALUES (1, '张三丰', ?, '2024-05-20', 9, 1, '620302', NULL, NULL)", (NUMBER,)
        )


@pytest.fixture
def gateway(tmp_path: Path, live_server: Any) -> Iterator[tuple[Node, str, sharing.Parties]]:
    """A gateway of the provider, registered by its code, running as its own process; its address."""
    seed_calendar()
    parties = sharing.make_parties()
    keeper = make_post(Role.DEPARTMENT_ADMINISTRATOR, parties.provider)
    record, code = actions.expect_node(
        by=keeper,
        number="minzheng-gateway",
        name="民政查询网关",
        kind=NodeKind.GATEWAY,
        organisation=parties.provider,
        zone=NetworkZone.EXTRANET,
    )
    home = tmp_path / "gateway"
    homes.register(home, live_server.url, code, record.name)
    actions.approve_node(record, by=keeper, key_id=Node.objects.get(pk=record.pk).key_id)
    port = free_port()
    command = [sys.executable, "-m", "jinqiao.cli", "gateway", "run", str(home), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield Node.objects.get(pk=record.pk), f"http://127.0.0.1:{port}", parties
    process.terminate()
    process.wait(20)


def is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/gateway/health/ready", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_grant_opens_a_service_and_its_revocation_closes_it(
    gateway: tuple[Node, str, sharing.Parties], tmp_path: Path
) -> None:
    record, address, parties = gateway
    make_database(tmp_path / "biz.db")
    hands = make_node(parties.provider)
    source = actions.add_data_source(
        by=parties.clerk, node=hands.node, name="婚姻登记库", engine="sqlite", database=str(tmp_path / "biz.db")
    )
    actions.list_tables(source, by=parties.clerk)
    listing = next(command for command in hands.poll() if command.kind is CommandKind.LIST_TABLES)
    hands.answer(CommandResult(command_id=listing.id, ok=True, tables=(TABLE,), finished_at=moments.now()))
    actions.bind_entry(
        parties.entry,
        by=parties.clerk,
        source=DataSource.objects.get(pk=source.pk),
        table="marriage",
        columns=BOUND,
        lookup_items=["sfzh"],
    )
    decision = {"agrees": True, "masks": {"xm": "name", "sfzh": "none"}}
    grant = sharing.make_grant(
        parties, use_from=moments.today(), items=["xm", "sfzh", "djrq"], row_filter=[], decision=decision
    )
    service = QueryService.objects.get(grant=grant)
    developer = make_post(Role.DEVELOPER, parties.consumer)
    application = make_application(parties.consumer, developer.person)
    actions.attach_application(service, application, by=parties.asker)
    key, secret = actions.issue_key(application, record, by=developer)
    eventually(lambda: is_ready(address))

    with GatewayClient(address, key_id=key.key_id, secret=secret) as client:

        def ask() -> Any:
            try:
                return client.query(
                    service.number,
                    by={"sfzh": NUMBER},
                    items=["xm", "djrq"],
                    purpose="公租房资格审核",
                    case_number="GZF-2026-0001",
                )
            except Refused as refusal:
                return refusal

        answer = eventually(lambda: None if isinstance(found := ask(), Refused) else found)
        assert answer.rows == ({"xm": "张**", "djrq": "2024-05-20"},)
        call = eventually(lambda: Call.objects.filter(outcome="ok", call_id=answer.call_id).first())
        assert (call.service, call.case_number, call.rows) == (service.number, "GZF-2026-0001", 1)
        assert NUMBER not in str(call.record)
        grant.refresh_from_db()
        assert grant.provided_at is not None

        sharing_actions.revoke_grant(grant, by=parties.provider_head, reason="用途不符")

        refusal = eventually(lambda: found if isinstance(found := ask(), Refused) else None)
        eventually(lambda: Call.objects.exclude(outcome="ok").exists())
    assert refusal is not None
    last = EvidenceSegment.objects.filter(gateway=record).order_by("-batch").first()
    assert last is not None
    assert last.last_number == Call.objects.filter(gateway=record).count()


def test_a_running_gateway_changes_its_key_and_evidence_of_before_and_after_verifies(
    gateway: tuple[Node, str, sharing.Parties], tmp_path: Path
) -> None:
    record, address, _parties = gateway
    home = tmp_path / "gateway"

    def call_in_vain() -> None:
        before = EvidenceSegment.objects.filter(gateway=record).count()
        eventually(lambda: _posted(f"{address}/gateway/v1/services/nobody/query"))
        eventually(lambda: EvidenceSegment.objects.filter(gateway=record).count() > before)

    call_in_vain()
    old = homes.load(home)
    export(old, tmp_path / "before.zip")  # signs an anchor with the old key

    new = rotate_identity(home, within_s=30)

    assert new != old.identity.key_id
    assert Node.objects.get(pk=record.pk).key_id == new
    call_in_vain()  # shipped with the new key
    export(homes.load(home), tmp_path / "after.zip")
    verdict = verify_pack(tmp_path / "after.zip")
    assert verdict.findings == []
    assert {signer.identity["key_id"] for signer in verdict.signers} >= {old.identity.key_id, new}


def _posted(url: str) -> bool:
    try:
        return httpx.post(url, trust_env=False).status_code >= 400
    except httpx.HTTPError:
        return False
