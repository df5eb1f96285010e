"""The small world of the gateway's tests: a civil affairs table, a housing application, a platform that signs the policy.

Shared by the tests of gateway, evidence and client, and by the benchmark.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx

from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.app import Gateway, create_app
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.contracts.grants import GrantedItem, GrantTerms, SharingMode
from jinqiao.kernel.contracts.policy import ApplicationKey, ApplicationPolicy, PolicySnapshot, ServicePolicy
from jinqiao.kernel.contracts.tables import Connection, Engine, LogicalType, Mask, Operator, RowCondition
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity, sign_message
from jinqiao.kernel.httpsig import HmacSigner, Signer, sign_request
from jinqiao.kernel.keystore import write_durably

HOST = "gateway.test"
SERVICE = "hunyin-dengji-001"
PURPOSE = "公租房资格核验"
PROVIDER = "11620300MB0001001A"
CONSUMER = "11620300MB0002002B"
STRANGER = "11620300MB0003003C"
ANN = "620302199001010015"
BO = "620302198502020033"
CAI = "620321197503030027"  # of another county: the row filter leaves her out
SECRET = "s3cret-of-the-housing-application"
STRANGER_SECRET = "s3cret-of-a-stranger"

PEOPLE = [
    (ANN, "安小雅", "13800001111", "married", "2015-06-01", "12.50", 1, "620302", "绝密备注一"),
    (BO, "薄远", "13900002222", "single", None, "0.00", 2, "620302", "绝密备注二"),
    (CAI, "蔡明", "13700003333", "divorced", "1999-09-09", "7.10", 3, "620321", "绝密备注三"),
]

ITEMS = (
    GrantedItem(
        item="身份证号", code="sfzh", column="id_no", type=LogicalType.TEXT, length=18, mask=Mask.IDENTITY_NUMBER
    ),
    GrantedItem(item="姓名", code="xm", column="name", type=LogicalType.TEXT, mask=Mask.NAME),
    GrantedItem(item="婚姻状况", code="hyzk", column="status", type=LogicalType.TEXT),
    GrantedItem(item="登记日期", code="djrq", column="registered_on", type=LogicalType.DATE),
    GrantedItem(item="补贴", code="bt", column="amount", type=LogicalType.DECIMAL, precision=10, scale=2),
    GrantedItem(item="序号", code="xh", column="number", type=LogicalType.INTEGER),
)
ROW_FILTER = (RowCondition(column="area", operator=Operator.EQUAL, values=("620302",)),)


def make_table(path: Path) -> Connection:
    """A SQLite source with a column (`note`) that no grant gives."""
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE person (id_no TEXT PRIMARY KEY, name TEXT, phone TEXT, status TEXT, registered_on DATE,"
            " amount DECIMAL(10,2), number INTEGER, area TEXT, note TEXT)"
        )
        db.executemany("INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", PEOPLE)
    db.close()
    return Connection(engine=Engine.SQLITE, database=str(path))


def terms(**changes: Any) -> GrantTerms:
    today = moments.today()
    return replace(
        GrantTerms(
            grant_id="SQ-2026-0001/1",
            entry_code="620300/00001",
            provider=PROVIDER,
            provider_name="市民政局",
            consumer=CONSUMER,
            consumer_name="市住房和城乡建设局",
            mode=SharingMode.INTERFACE,
            items=ITEMS,
            row_filter=ROW_FILTER,
            purposes=(PURPOSE, "保障房年审"),
            case_number_required=True,
            valid_from=today - timedelta(days=10),
            valid_until=today + timedelta(days=100),
        ),
        **changes,
    )


def service(connection: Connection, *, grant: dict[str, Any] | None = None, **changes: Any) -> ServicePolicy:
    return replace(
        ServicePolicy(
            service=SERVICE,
            name="婚姻登记核验",
            grant=terms(**(grant or {})),
            connection=connection,
            table="person",
            key_items=("sfzh",),
            applications=("app-housing",),
        ),
        **changes,
    )


@dataclass
class World:
    """A prepared home, the platform's identity, and what the next policy will say."""

    folder: Path
    suite: str
    platform: Identity
    gateway: PublicIdentity
    services: tuple[ServicePolicy, ...]
    algorithm: str = "hmac-sha256"
    version: int = 0
    lifetime: timedelta = timedelta(hours=24)
    keys: dict[str, tuple[str, str]] = field(
        default_factory=lambda: {
            "key-housing": ("app-housing", SECRET),
            "key-stranger": ("app-stranger", STRANGER_SECRET),
        }
    )
    key_changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    application_changes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "gateway"

    def snapshot(self, **changes: Any) -> PolicySnapshot:
        applications: dict[str, list[ApplicationKey]] = {}
        for key_id, (application, secret) in self.keys.items():
            key = ApplicationKey(
                key_id=key_id, algorithm=self.algorithm, sealed_secret=self.gateway.seal(secret.encode())
            )
            applications.setdefault(application, []).append(replace(key, **self.key_changes.get(key_id, {})))
        now = moments.now()
        return replace(
            PolicySnapshot(
                gateway="gw-1",
                version=self.version,
                issued_at=now,
                expires_at=now + self.lifetime,
                applications=tuple(
                    replace(
                        ApplicationPolicy(
                            application_id=name,
                            name=name,
                            organisation=CONSUMER if name == "app-housing" else STRANGER,
                            keys=tuple(keys),
                        ),
                        **self.application_changes.get(name, {}),
                    )
                    for name, keys in applications.items()
                ),
                services=self.services,
            ),
            **changes,
        )

    def signed(self, **changes: Any) -> SignedMessage:
        self.version += 1
        return sign_message(self.snapshot(**changes), self.platform)

    def publish(self, **changes: Any) -> None:
        """Put the next policy on the gateway's disk, as if it had been pulled."""
        write_durably(homes.load(self.home).policy_file, self.signed(**changes).canonical())


def make_world(folder: Path, *, suite: str = "international", connection: Connection | None = None) -> World:
    platform = Identity.generate(suite)
    # nothing listens on port 9 (discard): the platform is away unless a test gives it an address
    public = homes.prepare(folder / "gateway", "http://127.0.0.1:9", "gw-1", platform.public, suite)
    source = connection or make_table(folder / "civil-affairs.db")
    algorithm = "hmac-sm3" if suite == "guomi" else "hmac-sha256"
    return World(folder, suite, platform, public, (service(source),), algorithm)


def question(**changes: Any) -> dict[str, Any]:
    return {"by": {"sfzh": ANN}, "items": ["xm", "hyzk"], "purpose": PURPOSE, "case_number": "GZF-2026-17", **changes}


@dataclass
class Caller:
    """An application that calls: signs what it is given, or what it is not."""

    client: httpx.AsyncClient
    key_id: str = "key-housing"
    secret: str = SECRET
    algorithm: str = "hmac-sha256"
    signer: Signer | None = None  # instead of the secret

    async def ask(
        self,
        body: dict[str, Any] | bytes | None = None,
        *,
        service: str = SERVICE,
        path: str | None = None,
        method: str = "POST",
        content_type: str | None = "application/json",
        headers: dict[str, str] | None = None,
        change: Callable[[dict[str, str]], None] | None = None,
        created: int | None = None,
        nonce: str | None = None,
        **changes: Any,
    ) -> httpx.Response:
        """`changes` go into the question, `change` may alter the headers after signing."""
        content = (
            body if isinstance(body, bytes) else json.dumps(body if body is not None else question(**changes)).encode()
        )
        url = f"http://{HOST}{path or f'/gateway/v1/services/{service}/query'}"
        sent = dict(headers or {})
        if content_type:
            sent["Content-Type"] = content_type
        sent |= sign_request(
            method,
            url,
            content,
            key_id=self.key_id,
            signer=self.signer or HmacSigner(self.algorithm, self.secret.encode()),
            headers=sent,
            created=created,
            nonce=nonce,
        )
        if change is not None:
            change(sent)
        return await self.client.request(method, url, content=content, headers=sent)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[tuple[Caller, Gateway]]:
    """The gateway of a world in this process, and its caller."""
    async with running_home(world.home) as (caller, gateway):
        caller.algorithm = world.algorithm
        yield caller, gateway


@asynccontextmanager
async def running_home(home: Path) -> AsyncIterator[tuple[Caller, Gateway]]:
    """The gateway of a home in this process, and a caller."""
    gateway = create_app(home)
    await gateway.start()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=gateway), base_url=f"http://{HOST}") as client:  # type: ignore[arg-type]
            yield Caller(client), gateway
    finally:
        await gateway.stop()


def talk(world: World, conversation: Callable[[Caller, Gateway], Any]) -> Any:
    """Run an asynchronous conversation with the gateway of a world."""

    async def all_of_it() -> Any:
        async with running(world) as (caller, gateway):
            return await conversation(caller, gateway)

    return asyncio.run(all_of_it())


def records(world: World) -> list[dict[str, Any]]:
    """All records of calls, oldest first."""
    db = sqlite3.connect(f"file:{homes.load(world.home).evidence_file}?mode=ro", uri=True)
    try:
        batches = db.execute("SELECT bodies FROM batch ORDER BY lane, batch").fetchall()
        return [json.loads(line) for (bodies,) in batches for line in bodies.split("\n")]
    finally:
        db.close()


def configure(world: World, line: str) -> None:
    """What an operator writes into the gateway's configuration."""
    file = world.home / homes.CONFIGURATION
    file.write_text(f"{file.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")


def day(offset: int) -> date:
    return moments.today() + timedelta(days=offset)
