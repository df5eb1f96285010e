"""Whole runs of every mode from a source to a target: what is handed over arrives, and nothing else is touched."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.connectors import open_source
from jinqiao.dataplane.connectors.postgresql_slots import slot_of
from jinqiao.dataplane.errors import DeliveryNotPossible, KeyNotGranted, ReloadNotApproved
from jinqiao.dataplane.pipeline import Spool
from jinqiao.dataplane.pipeline.modes.orders import check_delivery
from jinqiao.kernel.contracts.exchange import BatchManifest, CopyMode, Delivery, ExchangeOrder, Transform, TransformKind
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType, Mask
from tests import servers
from tests.dataplane.exchanges import PEOPLE, change, exchange, order, people, rows_of, some_people, sqlite_at


def following(terms: ExchangeOrder, manifest: BatchManifest) -> ExchangeOrder:
    number = int(terms.run_id.removeprefix("RUN-")) + 1
    return replace(terms, run_id=f"RUN-{number}", after=manifest.new_cursor)


def moved(manifest: BatchManifest) -> tuple[int, int, bool]:
    return manifest.rows, manifest.rows_deleted, manifest.complete


def same(source: Path, target: Path) -> bool:
    """Keys and names; how a database writes a time is not asked here."""
    shown = [[row[:2] for row in rows_of(path, table)] for path, table in ((source, "people"), (target, "residents"))]
    return shown[0] == shown[1]


def test_a_diff_follows_a_table_without_a_watermark(tmp_path: Path) -> None:
    city, there = tmp_path / "city.db", tmp_path / "there.db"
    source, target, spool = people(city, some_people(50)), sqlite_at(there), Spool(tmp_path / "spool")
    terms = order(mode=CopyMode.DIFF)

    manifest, _ = exchange(terms, source, target, spool)
    assert moved(manifest) == (50, 0, True)

    manifest, _ = exchange(terms := following(terms, manifest), source, target, spool)
    assert moved(manifest) == (0, 0, False)

    change(
        city,
        "DELETE FROM people WHERE id <= 3",
        "UPDATE people SET name = '改' WHERE id = 9",
        "INSERT INTO people (id) VALUES (99)",
    )
    manifest, counts = exchange(terms := following(terms, manifest), source, target, spool)
    assert moved(manifest) == (2, 3, False)
    assert (counts.inserted, counts.updated, counts.deleted) == (1, 1, 3)
    assert same(city, there)


def test_a_diff_whose_state_is_lost_leaves_nothing_behind_at_the_target(tmp_path: Path) -> None:
    city, there = tmp_path / "city.db", tmp_path / "there.db"
    source, target, spool = people(city, some_people(20)), sqlite_at(there), Spool(tmp_path / "spool")
    terms = order(mode=CopyMode.DIFF)
    manifest, _ = exchange(terms, source, target, spool)
    change(city, "DELETE FROM people WHERE id <= 3")
    shutil.rmtree(tmp_path / "spool" / "state")

    manifest, counts = exchange(following(terms, manifest), source, target, spool)

    assert moved(manifest) == (17, 0, True)
    assert counts.deleted == 3
    assert same(city, there)


def test_a_diff_that_begins_anew_mends_what_a_reload_has_brought_past_its_state(tmp_path: Path) -> None:
    city, there = tmp_path / "city.db", tmp_path / "there.db"
    source, target, spool = people(city, some_people(20)), sqlite_at(there), Spool(tmp_path / "spool")
    terms = order(mode=CopyMode.DIFF)
    manifest, _ = exchange(terms, source, target, spool)
    change(city, "UPDATE people SET name = '暂' WHERE id = 9", "INSERT INTO people (id) VALUES (99)")
    exchange(order("RUN-50", delivery=Delivery.RELOAD, reload_approval="CZ-1"), source, target, spool)
    # as the state has it, and as the target has not
    change(city, "UPDATE people SET name = '王小明9' WHERE id = 9", "DELETE FROM people WHERE id = 99")

    exchange(replace(following(terms, manifest), after=""), source, target, spool)

    assert same(city, there)


def test_a_watermark_brings_what_is_new_and_a_window_again(tmp_path: Path) -> None:
    city, there = tmp_path / "city.db", tmp_path / "there.db"
    rows = [(number, f"王{number}", None, f"2026-03-01 08:00:{number:02}") for number in range(50)]
    source, target, spool = people(city, rows), sqlite_at(there), Spool(tmp_path / "spool")
    terms = order(mode=CopyMode.WATERMARK, watermark_column="updated", overlap_s=10, delivery=Delivery.UPSERT)
    manifest, _ = exchange(terms, source, target, spool)
    assert moved(manifest) == (50, 0, False)

    change(
        city,
        "UPDATE people SET name = '迟' WHERE id = 45",
        "INSERT INTO people VALUES (50, '新', NULL, '2026-03-01 08:01:00')",
    )
    manifest, _ = exchange(terms := following(terms, manifest), source, target, spool)
    assert moved(manifest) == (2, 0, False)
    assert same(city, there)
    manifest, _ = exchange(terms := following(terms, manifest), source, target, spool)
    assert moved(manifest) == (0, 0, False)

    change(there, "DELETE FROM residents WHERE id BETWEEN 20 AND 30")
    window = replace(terms, run_id="RUN-9", after="2026-03-01T08:00:20", until="2026-03-01T08:00:30")
    again, _ = exchange(window, source, target, spool)
    assert (again.rows, again.new_cursor) == (11, "")
    assert same(city, there)
    assert moved(exchange(following(terms, manifest), source, target, spool)[0]) == (0, 0, False)


def test_a_log_follows_a_table_from_its_copy_on(tmp_path: Path, postgresql_server: servers.Server) -> None:
    there, spool = tmp_path / "there.db", Spool(tmp_path / "spool")
    source, secret = postgresql_server.connection(), postgresql_server.password
    postgresql_server.execute(
        "CREATE TABLE modes_log (id int PRIMARY KEY, name varchar(60), born date, updated timestamp)",
        "INSERT INTO modes_log SELECT i, '王' || i, '1890-02-28', '2026-03-01' FROM generate_series(1, 50) i",
    )
    terms = order(mode=CopyMode.LOG, source_table="modes_log")
    try:
        manifest, _ = exchange(terms, source, sqlite_at(there), spool, (secret, ""))
        assert moved(manifest) == (50, 0, True)

        postgresql_server.execute(
            "DELETE FROM modes_log WHERE id <= 3",
            "UPDATE modes_log SET name = '改' WHERE id = 9",
            "INSERT INTO modes_log VALUES (98), (99)",
            "DELETE FROM modes_log WHERE id = 98",
        )
        manifest, _ = exchange(terms := following(terms, manifest), source, sqlite_at(there), spool, (secret, ""))
        assert moved(manifest) == (2, 4, False)  # one of the deleted rows never was at the target
        postgresql_server.execute("TRUNCATE modes_log", "INSERT INTO modes_log VALUES (7, '后')")
        manifest, _ = exchange(terms := following(terms, manifest), source, sqlite_at(there), spool, (secret, ""))
        assert moved(manifest) == (1, 0, True)
        assert [row[:2] for row in rows_of(there, "residents")] == [(7, "后")]
    finally:
        with open_source(source, secret) as opened:
            opened.drop_slot(slot_of(terms))
        postgresql_server.execute("DROP TABLE modes_log")


# --- modes and deliveries --------------------------------------------------------------------------------------------

HIDDEN = (GrantedItem(item="编号", code="id", column="id", type=LogicalType.INTEGER, mask=Mask.HIDDEN), *PEOPLE[1:])
TOKEN = Transform(kind=TransformKind.TOKEN, item="id")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"mode": CopyMode.FULL}, None),
        ({"mode": CopyMode.FULL, "items": HIDDEN}, None),
        ({"mode": CopyMode.FULL, "items": HIDDEN, "delivery": Delivery.UPSERT}, KeyNotGranted),
        ({"mode": CopyMode.FULL, "delivery": Delivery.APPEND}, None),
        ({"mode": CopyMode.FULL, "delivery": Delivery.RELOAD}, ReloadNotApproved),
        ({"mode": CopyMode.FULL, "delivery": Delivery.RELOAD, "reload_approval": "  "}, ReloadNotApproved),
        ({"mode": CopyMode.FULL, "delivery": Delivery.RELOAD, "reload_approval": "QP-2026-0007"}, None),
        ({"mode": CopyMode.DIFF, "delivery": Delivery.RELOAD, "reload_approval": "QP-2026-0007"}, DeliveryNotPossible),
        ({"mode": CopyMode.WATERMARK, "delivery": Delivery.RELOAD, "reload_approval": "QP-2026-0007"}, DeliveryNotPossible),
        ({"mode": CopyMode.DIFF, "items": HIDDEN}, KeyNotGranted),
        ({"mode": CopyMode.LOG, "items": HIDDEN}, KeyNotGranted),
        ({"mode": CopyMode.LOG, "transforms": (TOKEN,)}, KeyNotGranted),
        ({"mode": CopyMode.DIFF, "transforms": (TOKEN,)}, None),
        ({"mode": CopyMode.DIFF, "until": "2026-03-01"}, DeliveryNotPossible),
        ({"mode": CopyMode.WATERMARK, "until": "2026-03-01", "delivery": Delivery.UPSERT}, None),
        ({"mode": CopyMode.WATERMARK, "until": "2026-03-01", "delivery": Delivery.APPEND}, DeliveryNotPossible),
    ],
)  # fmt: skip
def test_a_mode_and_a_delivery_that_contradict_each_other_are_refused(
    changes: dict[str, Any], problem: type[Exception] | None
) -> None:
    if problem is None:
        check_delivery(order(**changes))
        return
    with pytest.raises(problem):
        check_delivery(order(**changes))
