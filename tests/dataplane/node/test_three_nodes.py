"""Three nodes as processes of their own and the real platform: one is killed in the middle of a move, one has a clock that is
an hour off, one is away for a week. Everything arrives once, in order, and both sides sign for it."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.dataplane.node import home as homes
from jinqiao.exchange import actions
from jinqiao.exchange.enums import AlertKind, NetworkZone, NodeKind, RunState, SourceState
from jinqiao.exchange.models import Alert, DataSource, ExchangeReceipt, ExchangeTask, Run
from jinqiao.exchange.models import Node as NodeRecord
from jinqiao.exchange.queries.receipts import signatures
from jinqiao.kernel import moments
from jinqiao.kernel.identifiers.resident_id import check_sign
from tests.dataplane.node.marriages import ROWS, bind_table, granted_task, make_database
from tests.dataplane.node.world import kill, wait_until
from tests.factories import make_organisation, make_post, seed_calendar
from tests.sharing import factories as sharing

pytestmark = pytest.mark.django_db(transaction=True)

OFF_S = 3600
DAYS = 7


@dataclass
class Department:
    """A department with its database, and its node as a process."""

    folder: Path
    operator: Post
    admin: Post
    record: NodeRecord
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def file(self) -> Path:
        return self.folder / "data.db"

    def start(self) -> None:
        with (self.folder / "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jinqiao.cli", "node", "run", str(self.home)],
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": "src"} | self.environment,
            )

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            kill(self.process)

    def rows(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file)) as database:
            return database.execute("SELECT xm, sfzh, djrq FROM hunyin ORDER BY sfzh").fetchall()


def make_department(folder: Path, url: str, operator: Post, rows: list[Any], **environment: str) -> Department:
    organisation: Organisation = operator.organisation
    admin = make_post(Role.DEPARTMENT_ADMINISTRATOR, organisation)
    folder.mkdir()
    record, code = actions.expect_node(
        by=admin,
        number=f"{folder.name}-qianzhi",
        name=f"{organisation.short_name}前置节点",
        kind=NodeKind.FRONT_END,
        organisation=organisation,
        zone=NetworkZone.EXTRANET,
    )
    department = Department(folder, operator, admin, record, environment)
    homes.register(department.home, url, code, record.name)
    configuration = department.home / homes.CONFIGURATION
    configuration.write_text(configuration.read_text(encoding="utf-8").replace("poll_s = 1.0", "poll_s = 0.05"))
    if rows:
        make_database(department.file, rows)
    else:
        sqlite3.connect(department.file).close()
    return department


def source_of(department: Department) -> DataSource:
    record = actions.approve_node(
        department.record, by=department.admin, key_id=homes.load(department.home).identity.key_id
    )
    return actions.add_data_source(
        by=department.operator,
        node=record,
        name="业务库",
        engine="sqlite",
        database=str(department.file),
        is_writable=department.folder.name != "minzheng",
    )


@dataclass
class City:
    provider: Department
    away: Department
    wrong_clock: Department
    tasks: dict[str, ExchangeTask]

    def run(self, department: Department) -> Run:
        return actions.start_run(self.tasks[department.folder.name], by=department.operator)


@pytest.fixture
def city(tmp_path: Path, live_server: Any, settings: Any) -> Iterator[City]:
    settings.RELAY_ROOT = tmp_path / "relay"
    seed_calendar()
    parties = sharing.make_parties()
    police = make_organisation("金昌市公安局")
    others = replace(
        parties,
        consumer=police,
        asker=make_post(Role.OPERATOR, police, name="高平"),
        consumer_head=make_post(Role.HEAD, police, name="高昌"),
    )
    url = live_server.url
    provider = make_department(tmp_path / "minzheng", url, parties.clerk, ROWS)
    away = make_department(tmp_path / "zhujian", url, parties.asker, [])
    wrong = make_department(tmp_path / "gongan", url, others.asker, [], JINQIAO_CLOCK_OFFSET_S=str(OFF_S))
    departments = (provider, away, wrong)
    for department in departments:
        department.start()
    try:
        sources = {department.folder.name: source_of(department) for department in departments}
        wait_until(
            lambda: DataSource.objects.filter(state=SourceState.REACHABLE, tables_listed_at__isnull=False).count() == 3,
            "the sources are reached",
        )
        bind_table(parties, DataSource.objects.get(pk=sources["minzheng"].pk))
        tasks = {
            name: granted_task(who, DataSource.objects.get(pk=sources[name].pk))
            for who, name in ((parties, away.folder.name), (others, wrong.folder.name))
        }
        yield City(provider, away, wrong, tasks)
    finally:
        for department in departments:
            department.kill()


def state(run: Run) -> str:
    return Run.objects.get(pk=run.pk).state


def reconciled(run: Run) -> None:
    wait_until(lambda: state(run) in (RunState.RECONCILED, RunState.FAILED), f"{run.number} ends", 60)
    assert state(run) == RunState.RECONCILED, Run.objects.get(pk=run.pk).problem


def changed(city: City, day: int) -> None:
    """A day's work at the provider: one marriage more, one date corrected."""
    body = f"62030219990101{day:03d}"
    with closing(sqlite3.connect(city.provider.file)) as database, database:
        database.execute(
            "INSERT INTO marriage VALUES (?, ?, '2024-06-01', 1, 1, '620302')",
            (f"新{day}", body + check_sign(body)),
        )
        database.execute("UPDATE marriage SET reg_date = ? WHERE name = '人1'", (f"2024-07-{day + 1:02d}",))


def source_rows(city: City) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(city.provider.file)) as database:
        return database.execute("SELECT name, id_card, reg_date FROM marriage ORDER BY id_card").fetchall()


@pytest.mark.kill
def test_one_is_killed_one_has_a_wrong_clock_one_is_away_for_a_week(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_day = date.fromisoformat(os.environ["JINQIAO_FIXED_DATE"])
    city.away.kill()
    task = city.tasks["zhujian"]
    ExchangeTask.objects.filter(pk=task.pk).update(chunk_rows=100, rows_per_s=1000)

    # the provider's node is killed while it moves
    waiting = city.run(city.away)
    staged = homes.load(city.provider.home).spool.outgoing(waiting.number).folder
    wait_until(lambda: len(list(staged.glob("chunk-*"))) >= 2, "chunks are staged")
    city.provider.kill()
    assert state(waiting) == RunState.EXTRACTING
    city.provider.start()
    wait_until(lambda: state(waiting) == RunState.DELIVERING, "the batch is handed over")
    as_sent = source_rows(city)

    # the one with the wrong clock works, and is known for it
    reconciled(city.run(city.wrong_clock))
    record = NodeRecord.objects.get(pk=city.wrong_clock.record.pk)
    wait_until(
        lambda: abs((NodeRecord.objects.get(pk=record.pk).clock_offset_s or 0) - OFF_S) < 60, "the clock is reported"
    )

    # the counter-signature that is missing is seen before the day is over, the clock as well
    soon = moments.now() + timedelta(hours=8)
    with monkeypatch.context() as later:
        later.setattr(moments, "now", lambda: soon)
        actions.watch()
    told = set(Alert.objects.filter(closed_at=None).values_list("kind", flat=True))
    assert {AlertKind.RECEIPT_OPEN, AlertKind.CLOCK_OFF} <= told

    # a week goes by; the others work on
    for day in (1, DAYS):
        monkeypatch.setenv("JINQIAO_FIXED_DATE", (first_day + timedelta(days=day)).isoformat())
        changed(city, day)
        city.wrong_clock.kill()  # so that its business day is the platform's
        city.wrong_clock.start()
        reconciled(city.run(city.wrong_clock))
        assert city.wrong_clock.rows() == source_rows(city)
    assert state(waiting) == RunState.DELIVERING

    # it comes back: first what was sent a week ago, then what is new
    city.provider.kill()
    city.provider.start()
    city.away.start()
    reconciled(waiting)
    assert city.away.rows() == as_sent
    following = city.run(city.away)
    reconciled(following)
    assert city.away.rows() == source_rows(city)

    receipts = list(ExchangeReceipt.objects.order_by("completed_at"))
    assert len(receipts) == 5
    for receipt in receipts:
        assert [(side.is_given, side.holds) for side in signatures(receipt)] == [(True, True), (True, True)]
    own = [receipt.run_id for receipt in receipts if receipt.run.task_id == task.pk]
    assert own == [waiting.pk, following.pk]
    assert Run.objects.filter(attempt__gt=1).count() == 0  # nothing was begun anew by the platform
