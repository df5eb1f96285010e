"""A delivery holds the batch that its order builds on against the target's ledger; whoever lacks nothing is not alarmed."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.connectors.node_ledger import NodeLedger
from jinqiao.dataplane.connectors.postgresql_slots import slot_of
from jinqiao.dataplane.errors import TargetRestored
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, ExchangeOrder, LedgerPlace
from jinqiao.kernel.contracts.tables import Connection
from tests import servers
from tests.dataplane.exchanges import (
    CONSUMER,
    PROVIDER,
    change,
    csv_at,
    exchange,
    hand_over,
    order,
    people,
    rows_of,
    some_people,
    sqlite_at,
    states_of,
)
from tests.dataplane.pipeline.test_modes import following

WATERMARK = {"mode": CopyMode.WATERMARK, "watermark_column": "updated", "delivery": Delivery.UPSERT}
DIFF = {"mode": CopyMode.DIFF}


class Site:
    """A source of 20 people, and a target that received them."""

    def __init__(self, folder: Path, target: Connection, **terms: Any) -> None:
        self.folder, self.target, self.spool = folder, target, Spool(folder / "spool")
        self.source = people(folder / "city.db", some_people(20))
        self.order = order(**terms)
        self.go_on()

    def go_on(self, terms: ExchangeOrder | None = None) -> None:
        """One run; the next one follows it."""
        given = terms or self.order
        manifest, _ = exchange(given, self.source, self.target, self.spool)
        self.order = following(replace(self.order, run_id=given.run_id), manifest) if terms is None else self.order


def at_file(folder: Path) -> Path:
    return folder / "there.db"


@pytest.mark.parametrize("terms", [WATERMARK, DIFF, DIFF | {"delivery": Delivery.HISTORY}], ids=str)
def test_a_target_without_the_last_batch_is_left_as_it_is_until_everything_comes(
    terms: dict[str, Any], tmp_path: Path
) -> None:
    site = Site(tmp_path, sqlite_at(at_file(tmp_path)), **terms)
    shutil.copy(at_file(tmp_path), tmp_path / "kept.db")
    change(tmp_path / "city.db", "UPDATE people SET name = '改', updated = '2026-03-02 08:00:00' WHERE id = 9")
    site.go_on()
    shutil.copy(tmp_path / "kept.db", at_file(tmp_path))

    with pytest.raises(TargetRestored) as caught:
        site.go_on()
    assert caught.value.retryable
    assert caught.value.details["batch"].startswith("RUN-2.")
    assert at_file(tmp_path).read_bytes() == (tmp_path / "kept.db").read_bytes()

    site.order = replace(site.order, run_id="RUN-7", after="")
    site.go_on()
    site.go_on()
    valid = "valid_to IS NULL AND " if terms.get("delivery") is Delivery.HISTORY else ""
    with_name = rows_of(at_file(tmp_path), f"residents WHERE {valid}name = '改'")
    assert [row[0] for row in with_name] == [9]


def test_a_batch_that_is_in_is_told_again_whatever_came_before(tmp_path: Path) -> None:
    """Somebody took old entries out of the ledger: the answer to a repeated command needs none of them."""
    site = Site(tmp_path, sqlite_at(at_file(tmp_path)), **DIFF)
    terms = site.order
    site.go_on()
    change(at_file(tmp_path), "DELETE FROM jinqiao_ledger WHERE run_id = 'RUN-1'")
    manifest = site.spool.outgoing("RUN-2").manifest()
    assert manifest is not None
    with open_target(site.target, "") as target:
        assert pipeline.deliver(terms, manifest, target, spool=site.spool, identity=CONSUMER).received == 0


def test_backfills_and_full_runs_are_held_against_no_batch(tmp_path: Path) -> None:
    site = Site(tmp_path, sqlite_at(at_file(tmp_path)), **WATERMARK)
    change(at_file(tmp_path), "DELETE FROM jinqiao_ledger")
    site.go_on(replace(site.order, run_id="RUN-8", after="2026-03-01", until="2026-03-02"))
    site.go_on(replace(site.order, run_id="RUN-9", mode=CopyMode.FULL, after="", delivery=Delivery.MIRROR))


def test_a_bare_watermark_of_before_is_taken_as_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path, sqlite_at(at_file(tmp_path)), **WATERMARK)
    change(at_file(tmp_path), "DELETE FROM jinqiao_ledger")
    site.go_on(replace(site.order, after=site.order.after.partition("#")[0]))


def test_a_folder_of_files_is_not_asked(tmp_path: Path) -> None:
    site = Site(tmp_path, csv_at(tmp_path / "there"), **DIFF)
    (tmp_path / "there" / ".jinqiao" / "ledger.json").unlink()
    site.go_on()


def test_a_task_whose_ledger_stood_at_the_node_finds_its_batch_there(tmp_path: Path) -> None:
    spool, source, there = (
        Spool(tmp_path / "spool"),
        people(tmp_path / "city.db", some_people(5)),
        tmp_path / "there.db",
    )
    terms = order(**DIFF, ledger=LedgerPlace.NODE)
    for place in (LedgerPlace.NODE, LedgerPlace.TARGET, LedgerPlace.TARGET, LedgerPlace.NODE):
        terms = replace(terms, ledger=place)
        with open_source(source, "") as opened:
            manifest = pipeline.extract(terms, opened, spool=spool, identity=PROVIDER, states=states_of(spool))
        hand_over(spool, terms.run_id, manifest)
        with open_target(sqlite_at(there), "", ledger=NodeLedger(tmp_path / "merged.db")) as target:
            pipeline.deliver(terms, manifest, target, spool=spool, identity=CONSUMER)
        terms = following(terms, manifest)
    assert len(rows_of(there, "residents")) == 5


@pytest.mark.servers
def test_a_log_names_its_batch_and_begins_anew_with_its_slot(postgresql_server: servers.Server, tmp_path: Path) -> None:
    there, kept, spool = at_file(tmp_path), tmp_path / "kept.db", Spool(tmp_path / "spool")
    source, secret = postgresql_server.connection(), postgresql_server.password
    postgresql_server.execute(
        "DROP TABLE IF EXISTS restored_log",
        "CREATE TABLE restored_log (id int PRIMARY KEY, name varchar(60), born date, updated timestamp)",
        "INSERT INTO restored_log SELECT i, '王' || i, '1890-02-28', '2026-03-01' FROM generate_series(1, 50) i",
    )
    terms = order(mode=CopyMode.LOG, source_table="restored_log", task_id="T-restored")

    def run(terms: ExchangeOrder) -> ExchangeOrder:
        manifest, _ = exchange(terms, source, sqlite_at(there), spool, (secret, ""))
        assert manifest.new_cursor.endswith(f"#{manifest.batch_id}")
        return following(terms, manifest)

    try:
        terms = run(terms)
        shutil.copy(there, kept)
        postgresql_server.execute("DELETE FROM restored_log WHERE id <= 3")
        terms = run(terms)
        postgresql_server.execute("UPDATE restored_log SET name = '改' WHERE id = 9")
        terms = run(terms)
        shutil.copy(kept, there)
        with pytest.raises(TargetRestored):
            run(terms)
        terms = run(replace(terms, run_id="RUN-7", after=""))
        postgresql_server.execute("DELETE FROM restored_log WHERE id = 4")
        terms = run(replace(terms, after=terms.after.partition("#")[0]))  # as it was written before
        run(terms)
        found = postgresql_server.fetch("SELECT id, name FROM restored_log ORDER BY 1")
        assert [row[:2] for row in rows_of(there, "residents")] == found
    finally:
        with open_source(source, secret) as opened:
            opened.drop_slot(slot_of(terms))
        postgresql_server.execute("DROP TABLE restored_log")


@pytest.mark.parametrize("delivery", [Delivery.UPSERT, Delivery.APPEND])
def test_a_run_that_goes_on_needs_the_part_that_came_beside_it_unless_it_appends(
    delivery: Delivery, tmp_path: Path
) -> None:
    site = Site(tmp_path, sqlite_at(at_file(tmp_path)), **WATERMARK | {"delivery": delivery})
    with open_source(site.source, "") as opened:
        manifest = pipeline.extract(
            site.order, opened, spool=site.spool, identity=PROVIDER, states=states_of(site.spool)
        )
    with open_target(site.target, "") as target:

        def deliver(part: str, terms: ExchangeOrder = site.order) -> None:
            pipeline.deliver(terms, manifest, target, spool=site.spool, identity=CONSUMER, part=part)

        if delivery is Delivery.UPSERT:
            with pytest.raises(TargetRestored) as caught:
                deliver("RUN-0.part")
            assert caught.value.details["batch"] == "RUN-0.part"
            deliver(site.order.after.partition("#")[2])
        deliver("RUN-0.part")  # asked again: its own batch is in
