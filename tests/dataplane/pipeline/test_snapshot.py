"""A parallel copy shows one instant: while money moves between accounts, the copied total is always the total.

The control copies the same accounts range by range without a shared snapshot, until it has shown another total.
"""

import uuid
from pathlib import Path

import pytest

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType
from tests.dataplane.exchanges import CONSUMER, hand_over, order, rows_of, sqlite_at
from tests.dataplane.pipeline.accounts import Bank, differs_without_snapshot, moving
from tests.servers import Server

ACCOUNTS, COPIES = 20_000, 3
ITEMS = (
    GrantedItem(item="账号", code="id", column="id", type=LogicalType.INTEGER),
    GrantedItem(item="余额", code="balance", column="balance", type=LogicalType.INTEGER),
)


@pytest.fixture
def bank(request: pytest.FixtureRequest, engine: str) -> Bank:
    server: Server = request.getfixturevalue("postgresql_server" if engine == "postgresql" else "mariadb_server")
    made = Bank(server, f"accounts_{uuid.uuid4().hex[:8]}", ACCOUNTS)
    made.open()
    return made


@pytest.mark.servers
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_the_copied_total_is_the_total_while_money_moves(bank: Bank, tmp_path: Path) -> None:
    place = (bank.server.connection(), bank.server.password)
    readers = set()

    with moving(bank):
        for number in range(COPIES):
            asked = order(
                f"RUN-{number}",
                ITEMS,
                source_table=bank.table,
                target_table="accounts",
                parallel=2,
                chunk_rows=ACCOUNTS // 8,
            )
            before = bank.moves
            with open_source(*place) as source:
                manifest = pipeline.extract(asked, source, spool=Spool(tmp_path))
            assert bank.moves > before
            readers.add((manifest.snapshot, manifest.readers))
            hand_over(Spool(tmp_path), asked.run_id, manifest)
            with open_target(sqlite_at(tmp_path / "copy.db")) as target:
                pipeline.deliver(asked, manifest, target, spool=Spool(tmp_path), identity=CONSUMER)
            copied = rows_of(tmp_path / "copy.db", "accounts")
            assert (len(copied), sum(balance for _, balance in copied)) == (ACCOUNTS, bank.total)
        assert differs_without_snapshot(bank), "copies without a snapshot have shown the same total 200 times"

    assert bank.sums() == (ACCOUNTS, bank.total)
    assert len(readers) == 1
    if bank.is_postgresql:
        assert readers == {("exported snapshot", 2)}
