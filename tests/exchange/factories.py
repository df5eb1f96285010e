"""Makers for movement: two departments with nodes, a bound entry, grants, and the hands of a node without its databases."""

import base64
import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Application, Organisation, Post
from jinqiao.exchange import actions
from jinqiao.exchange.actions.outcome import receipt_of
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.enums import NetworkZone, NodeKind
from jinqiao.exchange.models import ApplicationKey, Binding, DataSource, ExchangeTask, Node, QueryService, Run
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import CallRecord, EvidenceBatch
from jinqiao.kernel.contracts.exchange import (
    BatchManifest,
    ChunkManifest,
    Command,
    CommandKind,
    CommandResult,
    DeliveryCounts,
    Heartbeat,
    NodeRegistration,
    Problem,
)
from jinqiao.kernel.contracts.policy import PolicySnapshot
from jinqiao.kernel.contracts.tables import Column, LogicalType, TableSchema
from jinqiao.kernel.crypto.identity import Identity, open_message
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.digests import batch_digest
from jinqiao.kernel.evidence import merkle
from jinqiao.sharing.models import Grant
from tests.factories import make_application, make_post
from tests.sharing import factories as sharing

_counter = itertools.count(1)

COLUMNS = (
    Column(name="id", type=LogicalType.INTEGER, nullable=False, primary_key=True),
    Column(name="name", type=LogicalType.TEXT, length=50),
    Column(name="id_card", type=LogicalType.TEXT, length=18),
    Column(name="reg_date", type=LogicalType.DATE),
    Column(name="amount", type=LogicalType.DECIMAL, precision=12, scale=2),
    Column(name="valid", type=LogicalType.BOOLEAN),
    Column(name="area", type=LogicalType.TEXT, length=6),
    Column(name="updated_at", type=LogicalType.DATETIME),
    Column(name="photo", type=LogicalType.BINARY),
)
TABLE = TableSchema(name="marriage", columns=COLUMNS, comment="婚姻登记", row_estimate=3)
BOUND = {"xm": "name", "sfzh": "id_card", "djrq": "reg_date", "je": "amount", "yx": "valid", "qh": "area"}


@dataclass
class NodeHands:
    """A node as the platform meets it: identity and signatures are real, the rows are named by their count only."""

    node: Node
    identity: Identity

    def poll(self, **heartbeat: Any) -> list[Command]:
        self.node.refresh_from_db()
        beat = Heartbeat(
            node_id=self.node.number, version="0.1.0", clock_at=moments.now(), spool_free_bytes=10**11, **heartbeat
        )
        messages = actions.take_commands(self.node, beat)
        return [open_message(message, platform_identity().public, Command) for message in messages]

    def take(self, kind: CommandKind) -> Command:
        """The one command of that kind that waits."""
        found = [command for command in self.poll() if command.kind is kind]
        assert len(found) == 1, [command.kind for command in found]
        return found[0]

    def sign(self, data: bytes) -> str:
        return base64.b64encode(self.identity.sign(data)).decode()

    def extracted(self, command: Command, *, staged: int = 3, **changes: Any) -> CommandResult:
        """Upload one chunk and answer an EXTRACT command; `changes` are made to the manifest before it is signed."""
        assert command.order is not None
        manifest = self.manifest(command, rows=staged)
        if staged:
            data = self.chunk(command)
            actions.store_chunk(
                command.run_id, 1, data, suite(settings.CRYPTO_SUITE).digest(data).hex(), node=self.node
            )
        manifest = replace(manifest, **changes)
        receipt = receipt_of(command.order, manifest)
        return CommandResult(
            command_id=command.id,
            ok=True,
            manifest=manifest,
            receipt=receipt,
            receipt_signature=self.sign(receipt.canonical()),
            seconds={"extract": 0.5},
            finished_at=moments.now(),
        )

    @staticmethod
    def chunk(command: Command) -> bytes:
        return b"ciphertext of " + command.run_id.encode()

    def manifest(self, command: Command, *, rows: int) -> BatchManifest:
        assert command.order is not None
        by = suite(settings.CRYPTO_SUITE)
        data = self.chunk(command)
        chunks = ()
        if rows:
            chunks = (
                ChunkManifest(
                    number=1,
                    rows=rows,
                    size_bytes=len(data),
                    digest=by.digest(data).hex(),
                    content_digest=by.digest(b"rows").hex(),
                ),
            )
        return BatchManifest(
            run_id=command.run_id,
            batch_id=f"{command.run_id}-1",
            suite=settings.CRYPTO_SUITE,
            columns=tuple(Column(name=item.code, type=item.type) for item in command.order.grant.items),
            chunks=chunks,
            rows=rows,
            rows_read=rows,
            rows_quarantined=0,
            findings=(),
            batch_digest=batch_digest([chunk.content_digest for chunk in chunks], settings.CRYPTO_SUITE),
            snapshot="single transaction",
            new_cursor="2026-03-18T10:00:00.000000" if command.order.watermark_column else "",
            wrapped_key="sealed",
            extracted_at=moments.now(),
        )

    def delivered(self, command: Command, **changes: Any) -> CommandResult:
        """Answer a DELIVER command; `changes` are made to the counts."""
        assert command.order is not None
        assert command.manifest is not None
        rows = command.manifest.rows
        counts = DeliveryCounts(received=rows, inserted=rows, updated=0, deleted=0, unchanged=0, target_rows=rows)
        receipt = receipt_of(command.order, command.manifest)
        return CommandResult(
            command_id=command.id,
            ok=True,
            counts=replace(counts, **changes),
            receipt=receipt,
            receipt_signature=self.sign(receipt.canonical()),
            seconds={"deliver": 0.25},
            finished_at=moments.now(),
        )

    @staticmethod
    def failed(command: Command, code: str = "source.connection.lost", *, retryable: bool = True) -> CommandResult:
        return CommandResult(
            command_id=command.id, ok=False, problem=Problem(code=code, retryable=retryable), finished_at=moments.now()
        )

    def answer(self, result: CommandResult) -> None:
        actions.accept_result(self.node, result)


def make_node(
    organisation: Organisation,
    kind: NodeKind = NodeKind.FRONT_END,
    *,
    by: Post | None = None,
) -> NodeHands:
    """A registered node with an identity of its own."""
    by = by or make_post(Role.DEPARTMENT_ADMINISTRATOR, organisation)
    number = next(_counter)
    node, code = actions.expect_node(
        by=by,
        number=f"node-{number:04d}",
        name=f"{organisation.short_name}{NodeKind(kind).label}",
        kind=kind,
        organisation=organisation,
        zone=NetworkZone.EXTRANET,
    )
    identity = Identity.generate(settings.CRYPTO_SUITE)
    actions.register_node(
        NodeRegistration(code=code, identity=identity.public.to_json(), name=node.name, version="0.1.0")
    )
    node = actions.approve_node(node, by=by, key_id=identity.key_id)
    return NodeHands(node, identity)


def make_source(hands: NodeHands, by: Post, *, tables: bool = True, **fields: Any) -> DataSource:
    """A data source that its node has tested and listed."""
    source = actions.add_data_source(
        by=by,
        node=hands.node,
        name=fields.pop("name", "业务库"),
        engine=fields.pop("engine", "postgresql"),
        host=fields.pop("host", "10.1.2.3"),
        database=fields.pop("database", "biz"),
        user=fields.pop("user", "reader"),
        password=fields.pop("password", "s3cret-of-the-source"),
        **fields,
    )
    test = hands.take(CommandKind.TEST_CONNECTION)
    hands.answer(
        CommandResult(command_id=test.id, ok=True, server_version="PostgreSQL 15.6", finished_at=moments.now())
    )
    listing = hands.take(CommandKind.LIST_TABLES)
    hands.answer(
        CommandResult(command_id=listing.id, ok=True, tables=(TABLE,) if tables else (), finished_at=moments.now())
    )
    source.refresh_from_db()
    return source


@dataclass
class World:
    """Two departments with everything set up except the grant."""

    parties: sharing.Parties
    admin: Post
    provider_admin: Post
    provider_node: NodeHands
    consumer_node: NodeHands
    source: DataSource
    target: DataSource
    binding: Binding

    def grant(self, **changes: Any) -> Grant:
        """A live batch grant of four items; its task waits for a target."""
        return sharing.make_grant(
            self.parties, **{"mode": "batch", "use_from": moments.today(), "row_filter": [], **changes}
        )

    def task(self, grant: Grant | None = None, **configuration: Any) -> ExchangeTask:
        """A configured task."""
        task = ExchangeTask.objects.get(grant=grant or self.grant())
        return actions.configure_task(
            task, by=self.parties.asker, **{"target": self.target, "target_table": "marriage", **configuration}
        )

    def run(self, task: ExchangeTask | None = None) -> Run:
        return actions.start_run(task or self.task(), by=self.parties.asker)

    def handed_over(self, run: Run) -> Command:
        """Let the provider's node do its part; gives the command that the consumer's node takes."""
        self.provider_node.answer(self.provider_node.extracted(self.provider_node.take(CommandKind.EXTRACT)))
        run.refresh_from_db()
        return self.consumer_node.take(CommandKind.DELIVER)

    def finished(self, run: Run | None = None) -> Run:
        """A reconciled run."""
        run = run or self.run()
        command = self.handed_over(run)
        self.consumer_node.answer(self.consumer_node.delivered(command))
        run.refresh_from_db()
        return run


def make_world(parties: sharing.Parties | None = None) -> World:
    parties = parties or sharing.make_parties()
    admin = make_post(Role.DEPARTMENT_ADMINISTRATOR, parties.consumer)
    provider_admin = make_post(Role.DEPARTMENT_ADMINISTRATOR, parties.provider)
    provider_node = make_node(parties.provider, by=provider_admin)
    consumer_node = make_node(parties.consumer, by=admin)
    source = make_source(provider_node, parties.clerk)
    target = make_source(consumer_node, parties.asker, tables=False, name="落地库", is_writable=True)
    binding = actions.bind_entry(
        parties.entry,
        by=parties.clerk,
        source=source,
        table="marriage",
        columns=BOUND,
        key_columns=["id_card"],
        watermark_column="updated_at",
        lookup_items=["sfzh"],
    )
    return World(parties, admin, provider_admin, provider_node, consumer_node, source, target, binding)


def relay_files(run: Run, root: Path) -> list[Path]:
    return sorted((root / run.number).glob("*"))


@dataclass
class Served:
    """An interface grant with its service, its gateway and an application with a key."""

    world: World
    gateway: NodeHands
    grant: Grant
    service: QueryService
    application: Application
    developer: Post
    key: ApplicationKey
    secret: str

    def policy(self, after: int = 0) -> PolicySnapshot | None:
        """The snapshot that the gateway gets, its signature verified."""
        self.gateway.node.refresh_from_db()
        message = actions.policy_for(self.gateway.node, after)
        return None if message is None else open_message(message, platform_identity().public, PolicySnapshot)


def make_served(parties: sharing.Parties | None = None, **changes: Any) -> Served:
    parties = parties or sharing.make_parties()
    gateway = make_node(parties.provider, NodeKind.GATEWAY)
    world = make_world(parties)
    grant = world.grant(**{"mode": "interface", "items": ["xm", "sfzh", "djrq"], **changes})
    service = QueryService.objects.get(grant=grant)
    developer = make_post(Role.DEVELOPER, parties.consumer)
    application = make_application(parties.consumer, developer.person)
    actions.attach_application(service, application, by=parties.asker)
    key, secret = actions.issue_key(application, gateway.node, by=developer)
    return Served(world, gateway, grant, service, application, developer, key, secret)


def call_record(served: Served, number: int, **changes: Any) -> CallRecord:
    fields: dict[str, Any] = {
        "call_id": f"call-{served.gateway.node.number}-{number}",
        "lane": "lane-1",
        "number": number,
        "at": moments.now(),
        "gateway": served.gateway.node.number,
        "service": served.service.number,
        "grant_id": served.grant.number,
        "application": served.application.number,
        "key_id": served.key.key_id,
        "consumer": served.grant.consumer.credit_code,
        "provider": served.grant.provider.credit_code,
        "purpose": "公租房资格审核",
        "case_number": f"GZF-{number}",
        "end_user": "",
        "items": ("xm",),
        "outcome": "ok",
        "rows": 1,
        "request_digest": "00",
        "key_commitment": "00",
        "answer_commitment": "00",
        "duration_us": 900,
        **changes,
    }
    return CallRecord(**fields)


def evidence_batches(*lists: list[CallRecord]) -> list[EvidenceBatch]:
    """Batches of one lane as a gateway's log binds them together."""
    by = suite(settings.CRYPTO_SUITE)
    previous, batches = merkle.GENESIS, []
    for number, records in enumerate(lists, start=1):
        root = merkle.root(by.digest, [merkle.leaf(by.digest, record.canonical()) for record in records])
        chain = merkle.link(by.digest, previous, root)
        batches.append(
            EvidenceBatch(
                lane=records[0].lane,
                batch=number,
                lines=tuple(record.canonical().decode() for record in records),
                merkle_root=root.hex(),
                previous=previous.hex(),
                chain=chain.hex(),
            )
        )
        previous = chain
    return batches
