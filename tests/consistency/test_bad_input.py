"""Bad input: each is told in clear Chinese, with what happened and what to do, and nothing of what stood before is lost.

| bad input                       | told, item by item, in                                                                              |
|---------------------------------|-----------------------------------------------------------------------------------------------------|
| wrong columns, wrong codes      | catalogue/test_workbook: test_wrong_columns_are_named, test_every_fault_is_named_by_row_and_column… |
| 10,000 bad rows                 | catalogue/test_workbook: test_ten_thousand_bad_rows_are_counted_and_the_first_kept                  |
| what is no workbook, zip bombs  | catalogue/test_workbook_file                                                                        |
| formulas in cells               | consistency/test_formula_exports, catalogue/test_workbook: test_formulas_are_neutralised_on_…       |
| a slow source, a lost connection| dataplane/connectors/test_reading: test_a_slow_statement_is_stopped_at_the_source, test_connections |
| a full disk                     | consistency/test_full_disks, dataplane/pipeline/test_faults                                         |
| an attachment of a wrong kind   | workflow/test_attachments, web/sharing/test_requests: test_a_file_that_is_not_what_it_says_is_…     |

Here: the same through the whole platform, that state before is state after, and that the next try succeeds.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from jinqiao.exchange import actions
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import ExchangeTask, RelayChunk, Run
from jinqiao.kernel.errors import error_texts
from tests.catalogue import workbooks
from tests.catalogue.factories import make_cast, make_node
from tests.consistency.marked_city import City, make_city
from tests.dataplane.gateway.world import Caller, make_world, question, records, talk
from tests.web.conftest import enter as enter

CHINESE = re.compile("[一-鿿]")
MARKS_OF_PLATFORM = {"audit.auditevent", "sessions.session", "admin.logentry"}


def is_chinese(text: str) -> bool:
    return bool(CHINESE.search(text))


def test_every_error_says_in_chinese_what_happened_and_what_to_do() -> None:
    for code, text in error_texts().items():
        for part in (text["message"], text["mend"]):
            # a text that only passes on what another side said needs no words of its own
            assert is_chinese(part) or re.fullmatch(r"\{\w+\}", part), code


def state_of_catalogue() -> str:
    """Everything that the control plane holds besides the trail and sessions."""
    held = {}
    for model in apps.get_models():
        label = model._meta.label_lower
        if label not in MARKS_OF_PLATFORM:
            columns = [column.attname for column in model._meta.concrete_fields if column.attname != "last_login"]
            held[label] = sorted(map(repr, model._default_manager.values_list(*columns)))
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()


def _without(column: str) -> Callable[[Any], bytes]:
    labels = [label for label in workbooks.LABELS if label != column]
    return lambda body: workbooks.form([workbooks.row(body)], labels=labels).getvalue()


BAD_WORKBOOKS: dict[str, tuple[Callable[[Any], bytes], str]] = {
    "columns missing": (_without("更新周期"), "更新周期"),
    "columns unknown": (
        lambda body: workbooks.form([workbooks.row(body, 备注="x")], labels=[*workbooks.LABELS, "备注"]).getvalue(),
        "AB",
    ),
    "no form": (lambda body: workbooks.form([{"甲": 1}], labels=["甲", "乙"]).getvalue(), "表"),
    "text renamed": (lambda body: "信息资源名称,摘要\n婚姻登记,当前有效\n".encode(), "xlsx"),
    "50 MB": (lambda body: b"PK\x03\x04" + bytes(50 * 1024 * 1024), "MB"),
    "cut off": (lambda body: workbooks.form([workbooks.row(body)]).getvalue()[:-200], "xlsx"),
}


@pytest.mark.django_db
@pytest.mark.parametrize("fault", BAD_WORKBOOKS)
def test_a_workbook_that_cannot_be_taken_changes_nothing_and_the_mended_one_is_taken(
    enter: Any, settings: Any, tmp_path: Path, fault: str
) -> None:
    settings.MEDIA_ROOT = tmp_path
    make_node()
    cast = make_cast("金昌市市场监督管理局")
    client = enter(cast.operator)
    make, word = BAD_WORKBOOKS[fault]

    def hand_in(content: bytes) -> Any:
        return client.post(reverse("catalogue:import"), {"file": SimpleUploadedFile("目录填报.xlsx", content)})

    before = state_of_catalogue()
    response = hand_in(make(cast.organisation))
    assert response.status_code == 400
    (told,) = response.context["form"].errors["file"]
    assert is_chinese(told)
    assert word in told
    assert state_of_catalogue() == before
    assert list(tmp_path.rglob("*.xlsx")) == []

    assert hand_in(workbooks.form([workbooks.row(cast.organisation)]).getvalue()).status_code == 302


# ── sources, relay: through platform and nodes ──


@pytest.fixture
def city(tmp_path: Path, live_server: Any, transactional_db: None, settings: Any) -> Iterator[City]:
    cache.clear()
    settings.RELAY_ROOT = tmp_path / "relay"
    settings.MEDIA_ROOT = tmp_path / "media"
    made = make_city(tmp_path, live_server.url)
    yield made
    made.close()


def execute(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        for statement in statements:
            database.execute(statement)


def _gone(city: City) -> Callable[[], None]:
    """The source is down: its file is not there."""
    away = city.provider.file.with_suffix(".away")
    city.provider.file.rename(away)

    def mend() -> None:
        away.rename(city.provider.file)

    return mend


def _no_database(city: City) -> Callable[[], None]:
    """What answers is no database."""
    content = city.provider.file.read_bytes()
    city.provider.file.write_bytes(b"<html>maintenance</html>" * 100)

    def mend() -> None:
        city.provider.file.write_bytes(content)

    return mend


def _busy(city: City) -> Callable[[], None]:
    """Somebody holds the source's lock for as long as it takes."""
    holder = sqlite3.connect(city.provider.file, isolation_level=None)
    holder.execute("PRAGMA journal_mode=DELETE")
    holder.execute("BEGIN EXCLUSIVE")

    def mend() -> None:
        holder.execute("ROLLBACK")
        holder.close()

    return mend


def _column_gone(city: City) -> Callable[[], None]:
    """A column was renamed between the listing of tables and the run."""
    execute(city.provider.file, "ALTER TABLE marriage RENAME COLUMN reg_date TO registered")

    def mend() -> None:
        execute(city.provider.file, "ALTER TABLE marriage RENAME COLUMN registered TO reg_date")

    return mend


def _column_retyped(city: City) -> Callable[[], None]:
    """A column holds something else since the listing of tables."""
    execute(
        city.provider.file,
        "CREATE TABLE other AS SELECT id_card, name, 'around ' || reg_date AS reg_date, amount, valid, area, remark"
        " FROM marriage",
        "ALTER TABLE marriage RENAME TO kept",
        "ALTER TABLE other RENAME TO marriage",
    )

    def mend() -> None:
        execute(city.provider.file, "DROP TABLE marriage", "ALTER TABLE kept RENAME TO marriage")

    return mend


def _table_gone(city: City) -> Callable[[], None]:
    execute(city.provider.file, "ALTER TABLE marriage RENAME TO kept")

    def mend() -> None:
        execute(city.provider.file, "ALTER TABLE kept RENAME TO marriage")

    return mend


SOURCE_TROUBLE: dict[str, tuple[Callable[[City], Callable[[], None]], str]] = {
    "down": (_gone, "source.database.missing"),
    "no database": (_no_database, "source.file.not_readable"),
    "busy": (_busy, "source.connection.busy"),
    "column gone": (_column_gone, "source.schema.changed"),
    "column retyped": (_column_retyped, "source.schema.changed"),
    "table gone": (_table_gone, "source.table.missing"),
}


def page_of(city: City, run: Run) -> str:
    client = Client()
    client.force_login(city.parties.asker.person, backend="jinqiao.accounts.backends.PersonBackend")
    return client.get(reverse("exchange:run", args=[run.pk])).content.decode()


def taken(city: City) -> list[Any]:
    """What the consumer's table shows; nothing where there is none yet."""
    with closing(sqlite3.connect(city.consumer.file)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'hunyin'").fetchone():
            return []
        return database.execute("SELECT * FROM hunyin ORDER BY 1, 2, 3").fetchall()


def finish(city: City) -> Run:
    """A run from its order to its receipt."""
    task = ExchangeTask.objects.get(pk=city.task.pk)
    run = actions.start_run(task, by=city.parties.asker)
    city.provider.rounds()
    city.consumer.rounds()
    run.refresh_from_db()
    return run


def check_failed(city: City, run: Run, code: str) -> None:
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert run.problem["code"] == code
    words = error_texts()[code]
    page = page_of(city, run)
    fixed = [part for part in re.split(r"\{\w+\}", words["message"]) if len(part) > 2]
    assert max(fixed, key=len) in page, words["message"]
    mend = [part for part in re.split(r"\{\w+\}", words["mend"]) if len(part) > 2]
    assert max(mend, key=len) in page, words["mend"]


@pytest.mark.parametrize("trouble", SOURCE_TROUBLE)
def test_a_source_in_trouble_fails_the_run_visibly_and_the_next_one_succeeds(
    city: City, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jinqiao.dataplane.connectors.sqlite.BUSY_TIMEOUT_S", 0.5)
    assert finish(city).state == RunState.RECONCILED
    before = taken(city)
    assert len(before) == 398
    city.provider.rounds()  # forget the first run's chunks
    breaks, code = SOURCE_TROUBLE[trouble]
    mend = breaks(city)
    run = finish(city)
    check_failed(city, run, code)
    assert taken(city) == before
    assert not RelayChunk.objects.filter(run=run).exists()

    mend()
    again = finish(city)
    assert again.state == RunState.RECONCILED, again.problem
    assert taken(city) == before
    assert page_of(city, again)


def test_a_relay_that_turns_bytes_round_delivers_nothing_and_the_chunks_are_sent_again(
    city: City, settings: Any
) -> None:
    assert finish(city).state == RunState.RECONCILED
    before = taken(city)
    execute(city.provider.file, "DELETE FROM marriage WHERE name LIKE '%9'")
    run = city.run()
    assert run.state == RunState.DELIVERING
    for chunk in RelayChunk.objects.filter(run=run):
        path = Path(settings.RELAY_ROOT) / chunk.path
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    city.consumer.rounds()
    run.refresh_from_db()
    assert run.state == RunState.DELIVERING
    assert taken(city) == before

    city.provider.rounds()  # asked to send again what it has staged
    city.consumer.rounds()
    run.refresh_from_db()
    assert run.state == RunState.RECONCILED, run.problem
    assert 0 < len(taken(city)) < len(before)


# ── the gateway ──

WRONG_KEYS = [
    ("xh", value) for value in ("abc", "1.5", "1e3", "", " 1", "9" * 400, "１", True, None, 1.0, [1], {"a": 1})
] + [
    ("djrq", value) for value in ("2026-13-45", "2015/06/01", "20150601", "0000-00-00", "yesterday", 20150601)
] + [("bt", value) for value in ("NaN", "Infinity", "12,50", "1e999", "--1")]  # fmt: skip


def test_a_key_of_a_wrong_type_is_refused_in_chinese_and_the_next_call_is_answered(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    (service,) = world.services
    world.services = tuple(replace(service, service=f"by-{item}", key_items=(item,)) for item in ("xh", "djrq", "bt"))
    world.publish()

    async def conversation(caller: Caller, gateway: Any) -> int:
        for item, value in WRONG_KEYS:
            response = await caller.ask(question(by={item: value}), service=f"by-{item}")
            told = response.json()
            assert response.status_code == 400, (item, value, told)
            assert told["code"] in ("gateway.keys.not_valid", "gateway.request.field"), (item, value)
            assert is_chinese(told["title"]), told
            assert is_chinese(told["detail"]), told
            assert "rows" not in told
            if isinstance(value, str) and len(value) > 3:
                assert value not in response.text
        good = await caller.ask(question(by={"xh": "1"}), service="by-xh")
        assert good.status_code == 200, good.text
        return len(good.json()["rows"])

    assert talk(world, conversation) == 1
    outcomes = [record["outcome"] for record in records(world)]
    assert len(outcomes) == len(WRONG_KEYS) + 1
    assert outcomes[-1] == "ok"
