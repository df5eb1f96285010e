"""Transforms and rules that stop, in whole runs."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.checks.quarantine import open_quarantine
from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.errors import ChecksStopped, TokenKeyMissing
from jinqiao.dataplane.pipeline import Spool
from jinqiao.dataplane.transforms.tokens import token_keys
from jinqiao.kernel.contracts.exchange import CheckRule, ExchangeOrder, Severity, Transform, TransformKind
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Connection, LogicalType, Mask
from jinqiao.kernel.identifiers.resident_id import check_sign
from tests.dataplane.exchanges import CONSUMER, PROVIDER, hand_over, order, rows_of, sqlite_at

ITEMS = (
    GrantedItem(item="人员标识", code="person", column="sfzh", type=LogicalType.TEXT, length=26),
    GrantedItem(item="姓名", code="name", column="xm", type=LogicalType.TEXT, mask=Mask.NAME),
    GrantedItem(item="性别", code="sex", column="xb", type=LogicalType.TEXT, length=1),
    GrantedItem(item="出生日期", code="born", column="sfzh", type=LogicalType.DATE),
)


def number(seventeen: str) -> str:
    return seventeen + check_sign(seventeen)


TRANSFORMS = (
    Transform(kind=TransformKind.TOKEN, item="person", parameters={"column": "sfzh"}),
    Transform(kind=TransformKind.DERIVE, item="name", parameters={"operation": "concat", "columns": ["xing", "ming"]}),
    Transform(kind=TransformKind.CODES, item="sex", parameters={"column": "xb", "pairs": {"M": "1", "F": "2"}}),
    Transform(kind=TransformKind.DERIVE, item="born", parameters={"operation": "identity_part", "column": "sfzh", "part": "birth_date"}),
)  # fmt: skip
GOOD = (number("62030219900101001"), "张", "小明", "M")
KEY = bytes(32)


def population(path: Path, rows: list[tuple[Any, ...]]) -> Connection:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE people (sfzh TEXT PRIMARY KEY, xing TEXT, ming TEXT, xb TEXT)")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return sqlite_at(path)


def asked(run_id: str = "RUN-1", **changes: Any) -> ExchangeOrder:
    return order(run_id, items=ITEMS, transforms=TRANSFORMS, key_columns=("sfzh",), quarantine_limit=0.9, **changes)


def test_what_arrives_was_transformed_then_checked_then_masked(tmp_path: Path) -> None:
    source = population(
        tmp_path / "a.db", [GOOD, (number("62030219900101003"), "李", "四", "X"), ("1", "王", "五", "F")]
    )
    target, spool = sqlite_at(tmp_path / "b.db"), Spool(tmp_path / "spool")
    wanted = asked(checks=(CheckRule(check="length", item="name", parameters={"min": 3}),))
    keys = token_keys(KEY, wanted.grant, PROVIDER.suite)

    with open_source(source, "") as opened:
        manifest = pipeline.extract(wanted, opened, spool=spool, tokens=keys)
    hand_over(spool, "RUN-1", manifest)
    with open_target(target, "") as taken:
        pipeline.deliver(wanted, manifest, taken, spool=spool, identity=CONSUMER)

    ((person, name, sex, born),) = rows_of(tmp_path / "b.db", "residents")
    assert len(person) == 26
    assert (name, sex, born) == ("张**", "1", "1990-01-01")
    assert {(found.check, found.item, found.rows) for found in manifest.findings} == {
        ("transform", "性别", 1), ("transform", "出生日期", 1), ("length", "姓名", 2),
    }  # fmt: skip
    quarantine = spool.outgoing("RUN-1").quarantine()
    assert quarantine is not None
    kept = open_quarantine(quarantine, PROVIDER).to_pylist()
    assert {(row["性别"], row["姓名"], row["出生日期"]) for row in kept} == {
        ("2", "王五", "1"),
        ("X", "李四", "1990-01-01"),
    }
    assert all(GOOD[0] not in str(row) for row in kept)


def test_a_rule_that_stops_ends_the_run_before_anything_is_handed_over(tmp_path: Path) -> None:
    source = population(tmp_path / "a.db", [GOOD, ("1", "王", "五", "F")])
    spool = Spool(tmp_path / "spool")
    wanted = asked(checks=(CheckRule(check="length", item="name", parameters={"min": 3}, severity=Severity.STOP),))

    with open_source(source, "") as opened, pytest.raises(ChecksStopped):
        pipeline.extract(wanted, opened, spool=spool, tokens=token_keys(KEY, wanted.grant, PROVIDER.suite))

    assert spool.outgoing("RUN-1").manifest() is None
    assert spool.outgoing("RUN-1").quarantine() is not None


def test_a_node_without_a_secret_reads_nothing(tmp_path: Path) -> None:
    source = population(tmp_path / "a.db", [GOOD])

    with open_source(source, "") as opened, pytest.raises(TokenKeyMissing):
        pipeline.extract(asked(), opened, spool=Spool(tmp_path / "spool"))
