"""What the people of the demo city do, step by step, by the same actions as the pages: the demo and `--verify` tell it.

The story: 人社局 pays pensions to people who have died, and to surviving spouses who have married again. It asks 民政局 for
death and marriage records: as daily exchanges for its own checks, and as a query service for the counter.
"""

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from django.core.files.base import ContentFile

from jinqiao.accounts import actions as accounts
from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Application
from jinqiao.catalogue import actions as catalogue
from jinqiao.catalogue import workbook as forms
from jinqiao.catalogue.models import CatalogueEntry, ClassificationNode, DataItem, EntryVersion, ImportBatch
from jinqiao.demo import workbook
from jinqiao.demo.city import GATEWAY, City
from jinqiao.exchange import actions as exchange
from jinqiao.exchange.enums import SourceState
from jinqiao.exchange.models import DataSource, ExchangeTask, Node, QueryService, Run
from jinqiao.kernel.contracts.exchange import CopyMode
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.kernel.contracts.tables import Mask
from jinqiao.sharing import actions as sharing
from jinqiao.sharing.models import Grant, SharingRequest

OFFICERS = {
    "mzj": ("minxin", "mingang", "minsheng"),
    "gaj": ("gongping", "gongzhi", "gongchang"),
    "gsj": ("shangyu", "shangli", "shangde"),
    "rsj": ("anning", "renqi", "renzhong"),
}
"""Data officer, department administrator and head of each department that provides."""

T = TypeVar("T")

PERSONAL = {"1": "ordinary", "2": "sensitive"}


class TookTooLong(Exception):
    """Something that processes should have done by now."""


class NotAsTold(Exception):
    """A step of the story came out otherwise."""


def wait_until(what: str, look: Callable[[], T | None], seconds: float = 120.0, pause_s: float = 0.1) -> T:
    """The first answer of `look` that says something. Raises TookTooLong with what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TookTooLong(what)
        time.sleep(pause_s)


# --- the catalogue ---------------------------------------------------------------------------------------------------


def hand_in_workbook(city: City, organisation: str) -> ImportBatch:
    """The department's data officer hands in its workbook; good entries become drafts."""
    officer = city.post(OFFICERS[organisation][0], Role.OPERATOR)
    node = next(entry["node"] for entry in workbook.entries() if entry["provider"] == organisation)
    name = f"{officer.organisation.short_name}政务信息资源目录.xlsx"
    return forms.import_workbook(
        ContentFile(workbook.workbook_of(organisation), name=name),
        file_name=name,
        by=officer,
        node=ClassificationNode.objects.get(code=node),
    )


def described(key: str) -> dict[str, Any]:
    return next(entry for entry in workbook.entries() if entry["key"] == key)


def version_in_work(key: str) -> EntryVersion:
    entry = described(key)
    return EntryVersion.objects.filter(name=entry["name"]).latest("id")


def complete(city: City, key: str) -> EntryVersion:
    """What the form has no column for: codes of items, grading, assessments."""
    entry = described(key)
    version = version_in_work(key)
    officer = city.post(OFFICERS[entry["provider"]][0], Role.OPERATOR)
    flags = "".join(item[4] for item in entry["items"])
    personal = "sensitive" if "2" in flags else "ordinary" if "1" in flags else "none"
    return catalogue.save_draft(
        version,
        by=officer,
        fields={
            "data_class": "公共管理和服务",
            "data_level": "3" if personal == "sensitive" else "2",
            "secrecy_risk_assessed": True,
            "secrecy_risk_conclusion": "经评估，本资源不含国家秘密，汇聚后亦不产生国家秘密。",
            "personal_information": personal,
            "personal_information_assessed": True,
            "personal_information_conclusion": "处理目的明确，限于法定职责，按授权提供最少数据项。"
            if personal != "none"
            else "不含个人信息。",
        },
        items=[_item(*item) for item in entry["items"]],
    )


def _item(name: str, code: str, kind: str, length: int, flags: str) -> dict[str, Any]:
    return {
        "name": name,
        "code": code,
        "data_type": kind,
        "length": length if kind in "CN" else None,
        "scale": 2 if "d" in flags else None,
        "is_key": "k" in flags,
        "is_required": "k" in flags or "r" in flags,
        "personal_information": next((PERSONAL[flag] for flag in flags if flag in PERSONAL), "none"),
    }


def publish(city: City, key: str) -> CatalogueEntry:
    """Submit, department review, head's signature, authority's review."""
    entry = described(key)
    operator, administrator, head = OFFICERS[entry["provider"]]
    version = complete(city, key)
    version = catalogue.submit(version, by=city.post(operator, Role.OPERATOR))
    version = catalogue.review_as_department(
        version, by=_administrator(city, administrator), approved=True, opinion="内容完整。"
    )
    version = catalogue.sign_as_head(version, by=city.post(head, Role.HEAD), approved=True, opinion="同意。")
    version = catalogue.review_as_authority(version, by=city.post("jinhai"), approved=True, opinion="同意发布。")
    return CatalogueEntry.objects.get(pk=version.entry_id)


def _administrator(city: City, username: str) -> Any:
    return city.post(username, Role.DEPARTMENT_ADMINISTRATOR)


def entry_of(key: str) -> CatalogueEntry:
    return CatalogueEntry.objects.get(live_version__name=described(key)["name"])


# --- sources ---------------------------------------------------------------------------------------------------------


def reach_sources(city: City, seconds: float = 60.0) -> None:
    """Each department's administrator tests its source and lists its tables; its node does the work."""
    owners = {"minzheng": "mingang", "gongan": "gongzhi", "gongshang": "shangli", "renshe": "renqi"}
    for key, source in city.sources.items():
        post = _administrator(city, owners[key])
        exchange.test_connection(source, by=post)
        exchange.list_tables(source, by=post)
    for source in city.sources.values():
        wait_until(f"data source {source.number}", lambda source=source: _reached(source), seconds)  # type: ignore[misc]


def _reached(source: DataSource) -> bool:
    fresh = DataSource.objects.get(pk=source.pk)
    return fresh.state == SourceState.REACHABLE and fresh.tables_listed_at is not None


def bind(city: City, key: str) -> None:
    """The entry's items stand in columns of the same name."""
    entry = described(key)
    administrator = _administrator(city, OFFICERS[entry["provider"]][1])
    codes = [item[1] for item in entry["items"]]
    exchange.bind_entry(
        entry_of(key),
        by=administrator,
        source=city.sources[entry["source"]],
        table=entry["table"],
        columns={code: code for code in codes},
        key_columns=[item[1] for item in entry["items"] if "k" in item[4]],
        watermark_column="gxsj" if "gxsj" in codes else "",
        lookup_items=entry["lookup"],
    )


# --- asking and deciding ---------------------------------------------------------------------------------------------


def ask(
    city: City,
    key: str,
    *,
    mode: SharingMode,
    items: Iterable[str],
    purposes: Iterable[str],
    until: date,
    since: date,
    consumer: str = "rsj",
    scenario: str = "每月发放养老待遇前核对领取人生存和婚姻状况，停发多发待遇。",
    basis: str = "《社会保险基金行政监督办法》及人社部门养老待遇资格认证职责",
) -> SharingRequest:
    """The consumer's data officer drafts and hands in a request."""
    officer = city.post(OFFICERS[consumer][0], Role.OPERATOR)
    request = sharing.draft_request(
        entry_of(key),
        by=officer,
        fields={
            "basis": basis,
            "scenario": scenario,
            "scope": "限本部门上述业务使用，不向其他单位提供。",
            "mode": mode.value,
            "items": list(items),
            "row_filter": [],
            "row_scope": "全市",
            "purposes": list(purposes),
            "case_number_required": True,
            "use_from": since,
            "use_until": until,
        },
    )
    return sharing.submit_request(request, by=officer)


def approve(city: City, request: SharingRequest, consumer: str = "rsj") -> SharingRequest:
    return sharing.approve_request(
        request, by=city.post(OFFICERS[consumer][2], Role.HEAD), approved=True, opinion="确属履职需要。"
    )


def grant(
    city: City,
    request: SharingRequest,
    *,
    provider: str,
    masks: Mapping[str, Mask] | None = None,
    items: Iterable[str] | None = None,
) -> Grant:
    """The provider's officer drafts the reply, its head approves it."""
    operator, _administrator_name, head = OFFICERS[provider]
    sharing.draft_decision(
        request,
        by=city.post(operator, Role.OPERATOR),
        agrees=True,
        items=list(items) if items is not None else None,
        masks={code: mask.value for code, mask in (masks or {}).items()},
        valid_until=request.use_until,
        reason="属于有条件共享范围，用途明确。",
    )
    made = sharing.approve_decision(request, by=city.post(head, Role.HEAD), approved=True, opinion="同意提供。")
    if made is None:
        raise NotAsTold("no grant came of an approved decision")
    return made


# --- moving ----------------------------------------------------------------------------------------------------------


def set_up_task(city: City, grant: Grant, *, table: str, mode: CopyMode, schedule: str = "") -> ExchangeTask:
    task = ExchangeTask.objects.get(grant=grant)
    return exchange.configure_task(
        task,
        by=_administrator(city, "renqi"),
        target=city.sources["renshe"],
        target_table=table,
        mode=mode,
        schedule=schedule,
    )


def run_to_end(city: City, task: ExchangeTask, seconds: float = 180.0) -> Run:
    """Starts a run and waits for its end, good or bad."""
    run = exchange.start_run(task, by=_administrator(city, "renqi"))
    return wait_until(f"run {run.number}", lambda: _ended(run), seconds)


def _ended(run: Run) -> Run | None:
    fresh = Run.objects.get(pk=run.pk)
    return fresh if fresh.finished_at is not None else None


def a_working_day_at_the_registry(file: Path, *, marriages: int, corrections: int, at: str) -> None:
    """民政局's own system works on: new marriages are registered, addresses of registries corrected."""
    with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        rows = connection.execute("SELECT * FROM hydjxx ORDER BY djbh LIMIT ?", (marriages + corrections,)).fetchall()
        for number, row in enumerate(rows[:marriages], start=1):
            connection.execute(
                f"INSERT INTO hydjxx VALUES ({', '.join('?' * len(row))})",  # noqa: S608 -- question marks only
                (f"J6203N{secrets.token_hex(3)}{number:04d}", *row[1:-1], at),
            )
        for row in rows[marriages:]:
            connection.execute("UPDATE hydjxx SET djjg = djjg || '（更正）', gxsj = ? WHERE djbh = ?", (at, row[0]))


# --- asking by application -------------------------------------------------------------------------------------------


def register_application(city: City) -> Application:
    return accounts.register_application(
        by=_administrator(city, "renqi"),
        organisation=city.organisations["rsj"],
        name="养老待遇资格核查系统",
        contact=city.post("kaifa").person,
        number="rsj-yanglao-hecha",
    )


def open_service(city: City, grant: Grant, application: Application) -> QueryService:
    service = QueryService.objects.get(grant=grant)
    exchange.attach_application(service, application, by=_administrator(city, "renqi"))
    return QueryService.objects.get(pk=service.pk)


def new_key(city: City, application: Application) -> tuple[str, str]:
    """Key id and secret; the secret is shown this once."""
    key, secret = exchange.issue_key(application, Node.objects.get(number=GATEWAY), by=city.post("kaifa"))
    return key.key_id, secret


def item_codes(key: str) -> list[str]:
    version = entry_of(key).live_version
    return list(DataItem.objects.filter(version=version).values_list("code", flat=True))
