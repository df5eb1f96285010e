"""The demo city, built once per installation: `build` before the platform starts, `settle` with its nodes at work.

`build` walks through five weeks, from the city's founding to the fixed date, in one transaction: a build that is cut off
leaves nothing. `settle` lets the nodes reach the sources, moves data and asks the gateway; cut off, it goes on where it was.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from django.conf import settings
from django.db import transaction

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Application, Organisation
from jinqiao.dataplane.client import GatewayClient
from jinqiao.dataplane.client.errors import Refused
from jinqiao.demo import calls as earlier
from jinqiao.demo import city as cities
from jinqiao.demo import story
from jinqiao.demo.city import City
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import Binding, QueryService, Run
from jinqiao.kernel.contracts.exchange import CopyMode
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.kernel.contracts.tables import Mask
from jinqiao.sharing import actions as sharing
from jinqiao.sharing.models import Grant, SharingRequest

Say = Callable[[str], object]

PURPOSE = "养老待遇资格核查"
YEAR_END = date(2026, 12, 31)
BOUND = ("hunyin", "siwang", "renkou", "zhuti", "yanglao")
PUBLISHED = ("hunyin", "siwang", "dibao", "shezu", "renkou", "jidongche", "zhuti", "nianbao", "shixin", "yanglao")
SETTLED = "settled"


@contextmanager
def on(day: str) -> Iterator[None]:
    """Business time stands on that day."""
    before = os.environ.get("JINQIAO_FIXED_DATE")
    os.environ["JINQIAO_FIXED_DATE"] = day
    try:
        yield
    finally:
        if before is None:
            del os.environ["JINQIAO_FIXED_DATE"]
        else:
            os.environ["JINQIAO_FIXED_DATE"] = before


def build(say: Say) -> None:
    """Bodies, people, catalogue, requests in every state, nodes and databases; nothing where the city stands already."""
    home = Path(settings.HOME)
    if Organisation.objects.exists():
        return
    say("建立演示城市（首次约半分钟）Building the demo city (half a minute, once)…")
    with transaction.atomic():
        with on("2026-02-09"):
            city = cities.found()
        with on("2026-02-12"):
            cities.connect(city, home)
        with on("2026-02-24"):
            for organisation in story.OFFICERS:
                batch = story.hand_in_workbook(city, organisation)
                if batch.error_count:
                    raise story.NotAsTold(f"{organisation}: {batch.errors[:3]}")
        with on("2026-03-03"):
            for key in PUBLISHED:
                story.publish(city, key)
        _under_review(city)
        _granted(city)
        with on("2026-03-12"):
            grant = Grant.objects.get(mode=SharingMode.INTERFACE.value)
            earlier.announce(city)
            earlier.earlier_calls(city, home, grant, PURPOSE)
        _under_way(city)
    cities.write_cast(city, home)


def _under_review(city: City) -> None:
    """One entry before the department, one before the head; the others stay drafts."""
    from jinqiao.catalogue import actions as catalogue

    with on("2026-03-16"):
        catalogue.submit(story.complete(city, "canbao"), by=city.post("anning"))
        version = catalogue.submit(story.complete(city, "juzhuzheng"), by=city.post("gongping", Role.OPERATOR))
        catalogue.review_as_department(version, by=city.post("gongzhi"), approved=True, opinion="内容完整。")


def _granted(city: City) -> None:
    """The story's three grants: marriages and deaths as daily exchanges, deaths as a query service; and one of 工商局's."""
    wanted: list[tuple[str, SharingMode, list[str], dict[str, Mask]]] = [
        ("hunyin", SharingMode.BATCH, ["djbh", "nfxm", "nfsfzh", "vfxm", "vfsfzh", "djlx", "djrq", "djjg", "gxsj"], {}),
        ("siwang", SharingMode.BATCH, ["djbh", "xm", "sfzh", "swrq", "hhrq", "gxsj"], {}),
        ("siwang", SharingMode.INTERFACE, ["xm", "sfzh", "swrq", "hhrq"], {"xm": Mask.NAME}),
    ]
    for key, mode, items, masks in wanted:
        with on("2026-03-05"):
            request = story.ask(
                city, key, mode=mode, items=items, purposes=[PURPOSE], since=date(2026, 3, 5), until=YEAR_END
            )
        with on("2026-03-06"):
            request = story.approve(city, request)
        with on("2026-03-12"):
            story.grant(city, request, provider="mzj", masks=masks)


def _under_way(city: City) -> None:
    """One request in each of the other states."""

    def ask(key: str, consumer: str, items: list[str], scenario: str, basis: str) -> SharingRequest:
        return story.ask(
            city, key, mode=SharingMode.INTERFACE, items=items, purposes=["业务办理核验"], since=date(2026, 3, 20), until=YEAR_END,
            consumer=consumer, scenario=scenario, basis=basis,
        )  # fmt: skip

    with on("2026-03-11"):
        waiting = ask(
            "renkou", "gsj", ["gmsfhm", "xm", "ryzt"], "企业设立登记时核验法定代表人身份。", "《市场主体登记管理条例》"
        )
        papers = ask(
            "hunyin", "gaj", ["nfsfzh", "vfsfzh", "djlx", "djrq"], "户籍婚姻状况变更登记核验。", "《户口登记条例》"
        )
        refused = ask("renkou", "mzj", ["gmsfhm", "xm", "hjdz"], "社会组织负责人住址核验。", "《社会团体登记管理条例》")
    with on("2026-03-12"):
        waiting = story.approve(city, waiting, "gsj")
        papers = story.approve(city, papers, "gaj")
        refused = story.approve(city, refused, "mzj")
    with on("2026-03-13"):
        replying = ask("yanglao", "mzj", ["sfzh", "dylb", "ffzt"], "低保家庭收入核对。", "《社会救助暂行办法》")
        replying = story.approve(city, replying, "mzj")
        sharing.ask_for_papers(
            papers, by=city.post("minxin"), missing="请补充户籍业务办理规程中核验婚姻状况的条款原文。"
        )
    with on("2026-03-16"):
        sharing.draft_decision(
            refused,
            by=city.post("gongping", Role.OPERATOR),
            agrees=False,
            article="article-25",
            reason="所列依据不包含核验个人户籍地址的职责，超出最小必要范围。",
        )
        sharing.approve_decision(refused, by=city.post("gongchang"), approved=True, opinion="同意不予提供。")
        sharing.draft_decision(
            replying,
            by=city.post("anning"),
            agrees=True,
            items=["sfzh", "dylb", "ffzt"],
            valid_until=YEAR_END,
            reason="用途明确。",
        )
    with on("2026-03-17"):
        ask("siwang", "gsj", ["sfzh", "swrq"], "注销已故经营者个体工商户登记。", "《促进个体工商户发展条例》")
        withdrawn = ask("yanglao", "gaj", ["sfzh", "ffzt"], "户籍死亡注销比对。", "《户口登记条例》")
        sharing.withdraw_request(withdrawn, by=city.post("gongping", Role.OPERATOR), reason="改用民政部门数据。")


def settle(say: Say) -> None:
    """With the platform running: sources reached, entries bound, data moved, the gateway asked."""
    home = Path(settings.HOME)
    done = home / "demo" / SETTLED
    if done.exists():
        return
    city = City.load(home)
    say("节点接通四个部门的数据库 Nodes reach the departments' databases…")
    story.reach_sources(city)
    for key in BOUND:
        if not Binding.objects.filter(entry=story.entry_of(key)).exists():
            story.bind(city, key)
    say("首次交换 First exchange…")
    for grant in Grant.objects.filter(mode=SharingMode.BATCH.value).order_by("id"):
        table = "mzj_" + grant.entry.binding.table
        task = story.set_up_task(city, grant, table=table, mode=CopyMode.WATERMARK, schedule="daily 02:30")
        if not Run.objects.filter(task=task, state=RunState.RECONCILED).exists():
            run = story.run_to_end(city, task)
            say(f"  {grant.entry.live_version}: {run.get_state_display()} {run.rows or 0:,} 行 rows")
    say("查询服务 Query service…")
    _ask_gateway(city)
    earlier.look()
    done.touch()


def _ask_gateway(city: City) -> None:
    """The application's first calls: two answered, two refused, all recorded."""
    import sqlite3
    from contextlib import closing

    application = Application.objects.first() or story.register_application(city)
    service = story.open_service(city, Grant.objects.get(mode=SharingMode.INTERFACE.value), application)
    key_id, secret = story.new_key(city, application)
    (Path(settings.HOME) / "demo" / "application.key").touch(mode=0o600)
    (Path(settings.HOME) / "demo" / "application.key").write_text(f"{key_id}\n{secret}\n", encoding="ascii")
    with closing(sqlite3.connect(Path(settings.HOME) / "sources" / "minzheng.db")) as connection:
        people = [row[0] for row in connection.execute("SELECT sfzh FROM swdjxx ORDER BY djbh LIMIT 8")]

    def call(number: int, person: str, items: list[str]) -> bool:
        with GatewayClient(settings.PUBLIC_URL, key_id=key_id, secret=secret) as client:
            try:
                client.query(
                    service.number,
                    by={"sfzh": person},
                    items=items,
                    purpose=PURPOSE,
                    case_number=f"HC-2026-{number:04d}",
                )
            except Refused as refusal:
                return refusal.refusal.startswith("gateway.items")
        return True

    story.wait_until(
        f"service {QueryService.objects.get(pk=service.pk).number}", lambda: call(1, people[0], ["sfzh", "swrq"]), 30
    )
    for number, person in enumerate(people[1:], start=2):
        call(number, person, ["xm", "sfzh", "swrq"] if number % 4 else ["xm", "swyy"])
