"""A city whose every byte can be recognised: two departments with real nodes, a real gateway, real SQLite files, over HTTP.

Each place of the source holds a word of its own, so that a test can say which bytes were seen where.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.files.base import ContentFile

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Application, Organisation, Post
from jinqiao.catalogue.models import EntryVersion
from jinqiao.dataplane.gateway import home as gateway_homes
from jinqiao.dataplane.node import home as node_homes
from jinqiao.dataplane.node.process import Node
from jinqiao.exchange import actions
from jinqiao.exchange.enums import NetworkZone, NodeKind
from jinqiao.exchange.models import DataSource, ExchangeTask, QueryService, Run
from jinqiao.exchange.models import Node as NodeRecord
from jinqiao.kernel import moments
from jinqiao.kernel.identifiers.resident_id import check_sign
from jinqiao.sharing import actions as sharing_actions
from jinqiao.sharing.models import Grant, SharingRequest
from jinqiao.workflow.models import Attachment
from tests.catalogue import factories as catalogue
from tests.factories import make_application, make_organisation, make_post, seed_calendar
from tests.sharing import factories as sharing

ASKED_FOR = "620302198001010015"
"""The person that the application asks about: a value the caller brought, which nobody else may learn."""

GRANTED = "已授权甲"
"""In a granted item of a granted row: the consumer's database and the gateway's answer may hold it, nothing else may."""

BEYOND_ITEM = "未授权项乙"  # in a column of the entry that was not granted
BEYOND_COLUMN = "未挂接列丙"  # in a column of the table that no entry names
BEYOND_ROWS = "未授权行丁"  # in a granted item of a row that the row filter leaves out
QUARANTINED = "不合格值戊"  # in a granted item of a row that breaks a check
UNGRANTED = (BEYOND_ITEM, BEYOND_COLUMN, BEYOND_ROWS, QUARANTINED)
CONTENT = (GRANTED, *UNGRANTED)

SOURCE_PASSWORD = "passwd-of-the-source-己"
DRAFT = "未发布草稿庚"
PAPER = b"%PDF-1.7 " + "内部附件辛".encode()

PEOPLE = 400
COLUMNS = {"xm": "name", "sfzh": "id_card", "djrq": "reg_date", "je": "amount", "yx": "valid", "qh": "area"}


def number_of(person: int) -> str:
    body = f"620302{1981 + person // 900}0101{person % 900:03d}"
    return body + check_sign(body)


def fill(file: Path) -> None:
    """One row asked for, many granted rows, one of another county, one that breaks the check of its length."""
    rows: list[tuple[Any, ...]] = [
        (ASKED_FOR, f"{GRANTED}一", "2024-05-20", BEYOND_ITEM, 1, "620302", BEYOND_COLUMN),
        (number_of(1), BEYOND_ROWS, "2024-05-20", BEYOND_ITEM, 1, "620321", BEYOND_COLUMN),
        (number_of(2), QUARANTINED * 20, "2024-05-20", BEYOND_ITEM, 1, "620302", BEYOND_COLUMN),
    ]
    rows += [
        (number_of(person), f"{GRANTED}{person}", "2024-05-20", BEYOND_ITEM, 1, "620302", BEYOND_COLUMN)
        for person in range(3, PEOPLE)
    ]
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "CREATE TABLE marriage (id_card VARCHAR(18) PRIMARY KEY, name VARCHAR(200), reg_date DATE, amount VARCHAR(50),"
            " valid BOOLEAN, area VARCHAR(6), remark VARCHAR(50))"
        )
        database.executemany("INSERT INTO marriage VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


@dataclass
class Department:
    """A department with its node, its database and its people, set up through the platform."""

    organisation: Organisation
    operator: Post
    administrator: Post
    node: Node
    record: NodeRecord
    file: Path
    source: DataSource
    told: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.file.parent / "home"

    def rounds(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.node.run_once()


def make_department(
    operator: Post, administrator: Post, folder: Path, url: str, *, fill_with: Callable[[Path], None] | None
) -> Department:
    organisation = operator.organisation
    record, code = actions.expect_node(
        by=administrator,
        number=f"{folder.name}-qianzhi",
        name=f"{organisation.short_name}前置节点",
        kind=NodeKind.FRONT_END,
        organisation=organisation,
        zone=NetworkZone.EXTRANET,
    )
    folder.mkdir()
    node_homes.register(folder / "home", url, code, record.name)
    node = Node(node_homes.load(folder / "home"))
    record = actions.approve_node(record, by=administrator, key_id=node.home.identity.key_id)
    file = folder / "data.db"
    if fill_with:
        fill_with(file)
    else:
        sqlite3.connect(file).close()
    record = NodeRecord.objects.get(pk=record.pk)
    source = actions.add_data_source(
        by=operator,
        node=record,
        name="业务库",
        engine="sqlite",
        database=str(file),
        password=SOURCE_PASSWORD,
        is_writable=fill_with is None,
    )
    made = Department(organisation, operator, administrator, node, record, file, source, [code])
    made.rounds(2)
    made.source = DataSource.objects.get(pk=source.pk)
    return made


@dataclass
class City:
    """Everything granted, nothing moved yet."""

    folder: Path
    parties: sharing.Parties
    provider: Department
    consumer: Department
    third: Organisation
    task: ExchangeTask
    service: QueryService
    gateway_home: Path
    gateway: NodeRecord
    application: Application
    developer: Post
    key_id: str
    secret: str
    request: SharingRequest
    paper: Attachment
    draft: EntryVersion

    @property
    def grant(self) -> Grant:
        return self.task.grant

    def secrets(self) -> tuple[str, ...]:
        """What no page, file, log or record may show once it was handed over."""
        return (self.secret, SOURCE_PASSWORD, *self.provider.told, *self.consumer.told)

    def run(self) -> Run:
        """Order a run and let the provider's node do its part."""
        run = actions.start_run(self.task, by=self.parties.asker)
        self.provider.rounds()
        run.refresh_from_db()
        return run

    def question(self, **changes: Any) -> dict[str, Any]:
        return {
            "by": {"sfzh": ASKED_FOR},
            "items": ["xm", "djrq"],
            "purpose": "公租房资格审核",
            "case_number": "GZF-1",
            **changes,
        }

    def close(self) -> None:
        self.provider.node.close()
        self.consumer.node.close()


def make_city(folder: Path, url: str) -> City:
    seed_calendar()
    parties = sharing.make_parties()
    keepers = [make_post(Role.DEPARTMENT_ADMINISTRATOR, body) for body in (parties.provider, parties.consumer)]
    gateway, code = actions.expect_node(
        by=keepers[0],
        number="minzheng-gateway",
        name="民政查询网关",
        kind=NodeKind.GATEWAY,
        organisation=parties.provider,
        zone=NetworkZone.EXTRANET,
    )
    gateway_homes.register(folder / "gateway", url, code, gateway.name)
    gateway = NodeRecord.objects.get(pk=gateway.pk)
    gateway = actions.approve_node(gateway, by=keepers[0], key_id=gateway.key_id)
    provider = make_department(parties.clerk, keepers[0], folder / "minzheng", url, fill_with=fill)
    consumer = make_department(parties.asker, keepers[1], folder / "zhujian", url, fill_with=None)
    provider.told.append(code)
    actions.bind_entry(
        parties.entry,
        by=parties.clerk,
        source=provider.source,
        table="marriage",
        columns={code: column for code, column in COLUMNS.items() if code != "je"},
        key_columns=["id_card"],
        lookup_items=["sfzh"],
    )
    only_this_county = [{"item": "qh", "operator": "in", "values": ["620302"]}]
    batch = sharing.make_grant(
        parties, mode="batch", items=["xm", "djrq", "qh"], row_filter=only_this_county, use_from=moments.today()
    )
    task = actions.configure_task(
        ExchangeTask.objects.get(grant=batch), by=parties.asker, target=consumer.source, target_table="hunyin"
    )
    openly = {"agrees": True, "masks": {"xm": "none", "sfzh": "none"}}
    query = sharing.make_grant(
        parties,
        decision=openly,
        items=["xm", "sfzh", "djrq", "qh"],
        row_filter=only_this_county,
        use_from=moments.today(),
    )
    service = QueryService.objects.get(grant=query)
    developer = make_post(Role.DEVELOPER, parties.consumer)
    application = make_application(parties.consumer, developer.person)
    actions.attach_application(service, application, by=parties.asker)
    key, secret = actions.issue_key(application, gateway, by=developer)
    draft = catalogue.make_draft(catalogue.make_cast(), name=f"{DRAFT}登记信息")
    request = sharing_actions.draft_request(parties.entry, by=parties.asker, fields=sharing.fields())
    paper = sharing_actions.add_paper(request, by=parties.asker, name="权责清单.pdf", file=ContentFile(PAPER))
    request = sharing_actions.submit_request(request, by=parties.asker)
    request = sharing_actions.approve_request(request, by=parties.consumer_head, approved=True)
    return City(
        folder=folder,
        parties=parties,
        provider=provider,
        consumer=consumer,
        third=make_organisation("金昌市教育局"),
        task=task,
        service=service,
        gateway_home=folder / "gateway",
        gateway=gateway,
        application=application,
        developer=developer,
        key_id=key.key_id,
        secret=secret,
        request=request,
        paper=paper,
        draft=draft,
    )


def found_in_files(words: Iterable[str], *folders: Path, without: Iterable[Path] = ()) -> list[str]:
    """Where a word stands in clear in any file below, as UTF-8, as JSON escapes or as UTF-16."""
    left_out = {path.resolve() for path in without}
    forms = [
        (word, {word.encode(), json.dumps(word)[1:-1].encode(), word.encode("utf-16-le"), word.encode("gb18030")})
        for word in words
    ]
    found = []
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if not file.is_file() or file.resolve() in left_out:
                continue
            data = file.read_bytes()
            found += [f"{word} in {file.relative_to(folder)}" for word, ways in forms if any(w in data for w in ways)]
    return found


def found_in_tables(words: Iterable[str], *, besides: Iterable[str] = ()) -> list[str]:
    """Which table of the control plane's database holds a word, in whatever column."""
    found = []
    for model in apps.get_models():
        label = model._meta.label_lower
        if label in besides:
            continue
        fields = [column.attname for column in model._meta.concrete_fields]
        for row in model._default_manager.values_list(*fields):
            text = json.dumps(row, ensure_ascii=False, default=str)
            found += [f"{word} in {label}" for word in words if word in text]
    return found
