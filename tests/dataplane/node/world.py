"""Two departments with a node each and a SQLite file each: civil affairs provides marriages, housing consumes them."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinqiao.dataplane.node import home as homes
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, CopyMode, ExchangeOrder
from jinqiao.kernel.contracts.grants import GrantedItem, GrantTerms, SharingMode
from jinqiao.kernel.contracts.tables import Connection, Engine, LogicalType
from jinqiao.kernel.crypto.identity import PublicIdentity
from tests.dataplane.node.small_platform import SmallPlatform

PROVIDER, CONSUMER = "minzheng-qianzhi", "zhujian-qianzhi"
RUN = "RUN-20260318-0001"
TABLE, TARGET_TABLE = "marriage", "hunyin"


@dataclass
class World:
    folder: Path
    platform: SmallPlatform
    provider: PublicIdentity
    consumer: PublicIdentity
    rows: int

    @property
    def source_file(self) -> Path:
        return self.folder / "source.db"

    @property
    def target_file(self) -> Path:
        return self.folder / "target.db"

    def home(self, node_id: str) -> Path:
        return self.folder / node_id

    def order(self, **changes: Any) -> ExchangeOrder:
        today = moments.today()
        grant = GrantTerms(
            grant_id="SQ-2026-0001/1",
            entry_code="3070110403/1",
            provider="116203001234567883",
            provider_name="民政局",
            consumer="11620300000000019Q",
            consumer_name="住建局",
            mode=SharingMode.BATCH,
            items=(
                GrantedItem(item="编号", code="bh", column="id", type=LogicalType.INTEGER),
                GrantedItem(item="姓名", code="xm", column="name", type=LogicalType.TEXT, length=50),
                GrantedItem(item="登记日期", code="djrq", column="registered_on", type=LogicalType.DATE),
            ),
            valid_from=today - timedelta(days=30),
            valid_until=today + timedelta(days=30),
        )
        order = ExchangeOrder(
            run_id=RUN,
            task_id="JH-2026-0001",
            grant=grant,
            mode=CopyMode.FULL,
            provider_node=PROVIDER,
            consumer_node=CONSUMER,
            provider_identity=self.provider.to_json(),
            consumer_identity=self.consumer.to_json(),
            source_table=TABLE,
            key_columns=("id",),
            target_table=TARGET_TABLE,
            chunk_rows=500,
        )
        return replace(order, **changes)

    @property
    def source(self) -> Connection:
        return Connection(engine=Engine.SQLITE, database=str(self.source_file))

    @property
    def target(self) -> Connection:
        return Connection(engine=Engine.SQLITE, database=str(self.target_file))

    def extract(self, order: ExchangeOrder, **fields: Any) -> str:
        given = {"run_id": order.run_id, "connection": self.source, "order": order} | fields
        return self.platform.command(PROVIDER, CommandKind.EXTRACT, **given)

    def deliver(self, order: ExchangeOrder, extracted: CommandResult, **fields: Any) -> str:
        given = {
            "run_id": order.run_id,
            "connection": self.target,
            "order": order,
            "manifest": extracted.manifest,
            "sender_signature": extracted.receipt_signature,
        }
        return self.platform.command(CONSUMER, CommandKind.DELIVER, **(given | fields))

    def source_rows(self) -> list[tuple[Any, ...]]:
        return _rows(self.source_file, f"SELECT id, name, registered_on FROM {TABLE} ORDER BY id")

    def target_rows(self) -> list[tuple[Any, ...]]:
        return _rows(self.target_file, f"SELECT bh, xm, djrq FROM {TARGET_TABLE} ORDER BY bh")

    def start(self, node_id: str) -> subprocess.Popen[bytes]:
        """The node as a process of its own, as an operator starts it."""
        with (self.folder / f"{node_id}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "jinqiao.cli", "node", "run", str(self.home(node_id))],
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": "src"},
            )

    def log(self, node_id: str) -> str:
        return (self.folder / f"{node_id}.log").read_text(encoding="utf-8")


def _rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(query).fetchall()


def make_world(folder: Path, platform: SmallPlatform, rows: int = 2000) -> World:
    suite = platform.identity.suite
    publics = {}
    for node_id in (PROVIDER, CONSUMER):
        publics[node_id] = homes.prepare(
            folder / node_id, platform.url, node_id, platform.identity.public, suite, poll_s=0.05
        )
        platform.know(node_id, publics[node_id])
    world = World(folder, platform, publics[PROVIDER], publics[CONSUMER], rows)
    with closing(sqlite3.connect(world.source_file)) as database, database:
        database.execute(f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY, name VARCHAR(50), registered_on DATE)")
        database.executemany(
            f"INSERT INTO {TABLE} VALUES (?, ?, ?)",
            ((n, None if n % 97 == 0 else f"张{n}", f"20{n % 20:02d}-0{n % 9 + 1}-15") for n in range(1, rows + 1)),
        )
    sqlite3.connect(world.target_file).close()
    return world


def wait_until(holds: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.005)


def kill(process: subprocess.Popen[bytes]) -> None:
    """As `kill -9` does: no handler runs."""
    process.kill()
    process.wait(10)
