"""`jinqiao demo verify`: the platform's main job, end to end, without a person, on SQLite alone.

Starts the whole platform in a home of its own, with real processes on a free port, and walks the way of the data: workbook,
catalogue, request, grant, exchange, query, evidence. One line per step with its figure and its time; exits 0 when every step
held, 1 at the first that did not, and says which.
"""

import argparse
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from jinqiao.kernel.contracts.exchange import CopyMode
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.kernel.contracts.tables import Mask
from jinqiao.kernel.httpsig import HmacSigner, sign_request
from jinqiao.kernel.ports import free_port
from jinqiao.supervisor import DEMO_DATE, Platform

if TYPE_CHECKING:  # these need Django, which is set up after the home is known
    from jinqiao.demo.city import City
    from jinqiao.exchange.models import ExchangeTask, Run
    from jinqiao.sharing.models import Grant, SharingRequest

ROWS = 100_000
NEW, CORRECTED = 40, 60
PURPOSE = "养老待遇资格核查"
MARRIAGE_ITEMS = (
    "djbh",
    "nfxm",
    "nfsfzh",
    "vfxm",
    "vfsfzh",
    "djlx",
    "djrq",
    "djjg",
    "gxsj",
)  # without the telephone number
DEATH_ITEMS = ("xm", "sfzh", "swrq", "hhrq")


class StepFailed(Exception):
    """A step did not hold; the text says what was found instead."""


def need(condition: object, found: str) -> None:
    if not condition:
        raise StepFailed(found)


@dataclass
class Walk:
    """What one step leaves for the next."""

    home: Path
    platform: Platform
    rows: int
    city: "City" = field(init=False)
    requests: dict[str, "SharingRequest"] = field(default_factory=dict)
    grants: dict[str, "Grant"] = field(default_factory=dict)
    services: dict[str, str] = field(default_factory=dict)
    task: "ExchangeTask" = field(init=False)
    key: tuple[str, str] = ("", "")
    person: str = ""

    @property
    def registry(self) -> Path:
        return self.home / "sources" / "minzheng.db"

    @property
    def landing(self) -> Path:
        return self.home / "sources" / "renshe.db"


# --- steps: each does one thing, checks it from outside, and returns its figure ------------------------------------------


def found_city(walk: Walk) -> str:
    from jinqiao.demo import city

    walk.city = city.found()
    city.connect(walk.city, walk.home, {"marriages": walk.rows})
    return f"{len(walk.city.organisations)} 个机构 organisations, {len(walk.city.nodes)} 个节点 nodes"


def start_platform(walk: Walk) -> str:
    walk.platform.start()
    return walk.platform.url


def import_workbook(walk: Walk) -> str:
    from jinqiao.demo import story

    batch = story.hand_in_workbook(walk.city, "mzj")
    need(batch.error_count == 0, f"{batch.error_count} errors, first: {batch.errors[:1]}")
    need(batch.entries_created == 4, f"{batch.entries_created} entries")
    return f"{batch.entries_created} 条目 entries, {batch.rows_read} 行 rows"


def publish(walk: Walk) -> str:
    from jinqiao.demo import story

    codes = [story.publish(walk.city, key).code for key in ("hunyin", "siwang")]
    need(all(codes), f"codes {codes}")
    return "、".join(str(code) for code in codes)


def search(walk: Walk) -> str:
    del walk
    from jinqiao.catalogue import queries
    from jinqiao.demo import story

    wanted = story.entry_of("hunyin").pk
    for text in ("婚姻", "结婚登记", "hydj"):
        found = [entry.pk for entry in queries.search(text).entries[:5]]
        need(wanted in found, f"searching {text} found entries {found}, not {wanted}")
    return "婚姻 · 结婚登记 · hydj"


def request(walk: Walk) -> str:
    from jinqiao.demo import story

    today, year_end = date.fromisoformat(DEMO_DATE), date(2026, 12, 31)
    asked: list[tuple[str, str, SharingMode, tuple[str, ...], date]] = [
        ("exchange", "hunyin", SharingMode.BATCH, MARRIAGE_ITEMS, year_end),
        ("query", "siwang", SharingMode.INTERFACE, DEATH_ITEMS, year_end),
        ("today", "siwang", SharingMode.INTERFACE, DEATH_ITEMS, today),
    ]
    for name, key, mode, items, until in asked:
        walk.requests[name] = story.ask(
            walk.city, key, mode=mode, items=items, purposes=[PURPOSE], since=today, until=until
        )
    return "、".join(made.number for made in walk.requests.values())


def approve(walk: Walk) -> str:
    from jinqiao.demo import story
    from jinqiao.workflow import queries as workflow

    due = None
    for name, made in walk.requests.items():
        walk.requests[name] = story.approve(walk.city, made)
        clocks = list(workflow.clocks_of(_about(made)))
        need(clocks and clocks[0].due_on, "no reply clock runs")
        due = clocks[0].due_on
    return f"答复期限 reply due {due}"


def _about(made: "SharingRequest") -> Any:
    from jinqiao.audit import trail

    return trail.subject(made)


def grant(walk: Walk) -> str:
    from jinqiao.demo import story

    for name, made in walk.requests.items():
        masks = {"xm": Mask.NAME} if name != "exchange" else {"nfxm": Mask.NAME}
        walk.grants[name] = story.grant(walk.city, made, provider="mzj", masks=masks)
    return "、".join(made.number for made in walk.grants.values())


def reach_and_bind(walk: Walk) -> str:
    from jinqiao.demo import story

    story.reach_sources(walk.city)
    for key in ("hunyin", "siwang"):
        story.bind(walk.city, key)
    return f"{len(walk.city.sources)} 个数据源 sources"


def first_run(walk: Walk) -> str:
    from jinqiao.demo import story

    walk.task = story.set_up_task(walk.city, walk.grants["exchange"], table="mzj_hydjxx", mode=CopyMode.WATERMARK)
    run = _reconciled(story.run_to_end(walk.city, walk.task))
    need(run.counts["received"] == run.counts["inserted"] == walk.rows, f"counts {run.counts}")
    _same_content(walk)
    return f"{run.rows:,} 行已对账 rows reconciled, 双方签收 receipt signed twice"


def second_run(walk: Walk) -> str:
    from jinqiao.demo import story

    story.a_working_day_at_the_registry(walk.registry, marriages=NEW, corrections=CORRECTED, at="2026-03-18 09:30:00")
    run = _reconciled(story.run_to_end(walk.city, walk.task))
    need(
        (run.counts["inserted"], run.counts["updated"], run.counts["deleted"]) == (NEW, CORRECTED, 0),
        f"counts {run.counts}",
    )
    # the overlap reads a few rows of the former run again, never the table
    need(run.rows is not None and run.rows <= 2 * (NEW + CORRECTED), f"{run.rows} rows crossed")
    _same_content(walk)
    return f"新增 {NEW} new, 变更 {CORRECTED} changed; 传输 {run.rows} rows crossed"


def _reconciled(run: "Run") -> "Run":
    from jinqiao.exchange.enums import RunState
    from jinqiao.exchange.models import ExchangeReceipt

    need(run.state == RunState.RECONCILED, f"run {run.number} is {run.state}: {run.problem}")
    receipt = ExchangeReceipt.objects.get(run=run)
    need(receipt.sender_signature and receipt.receiver_signature, "the receipt lacks a signature")
    return run


def _same_content(walk: Walk) -> None:
    """Read both databases with SQLite itself: every granted value stands in the target, the ungranted column does not."""
    columns = [name for name in MARRIAGE_ITEMS if name != "nfxm"]
    listed = ", ".join(columns)

    def digest(file: Path, table: str) -> tuple[int, str]:
        total, count = hashlib.sha256(), 0
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            for row in connection.execute(f"SELECT {listed} FROM {table} ORDER BY djbh"):  # noqa: S608 -- names stand in this file
                total.update("\x1f".join(str(value)[:19] for value in row).encode())
                count += 1
        return count, total.hexdigest()

    source, target = digest(walk.registry, "hydjxx"), digest(walk.landing, "mzj_hydjxx")
    need(source == target, f"source {source}, target {target}")
    with closing(sqlite3.connect(f"file:{walk.landing}?mode=ro", uri=True)) as connection:
        names = {row[1] for row in connection.execute("PRAGMA table_info(mzj_hydjxx)")}
        need("lxdh" not in names, "the ungranted column crossed")
        bare = connection.execute("SELECT count(*) FROM mzj_hydjxx WHERE nfxm NOT LIKE '_*%'").fetchone()[0]
        need(bare == 0, f"{bare} names crossed unmasked")


def query(walk: Walk) -> str:
    from jinqiao.dataplane.client import GatewayClient
    from jinqiao.demo import story

    application = story.register_application(walk.city)
    for name in ("query", "today"):
        walk.services[name] = story.open_service(walk.city, walk.grants[name], application).number
    walk.key = story.new_key(walk.city, application)
    with closing(sqlite3.connect(walk.registry)) as connection:
        walk.person, died = connection.execute("SELECT sfzh, swrq FROM swdjxx ORDER BY djbh LIMIT 1").fetchone()
    for service in walk.services.values():
        story.wait_until(f"service {service} at the gateway", lambda service=service: _status(walk, service) == 200, 20)  # type: ignore[misc]
    with GatewayClient(walk.platform.url, key_id=walk.key[0], secret=walk.key[1]) as client:
        answer = client.query(
            walk.services["query"],
            by={"sfzh": walk.person},
            items=["xm", "swrq"],
            purpose=PURPOSE,
            case_number="HC-2026-0001",
        )
    need(answer.count == 1 and set(answer.rows[0]) == {"xm", "swrq"}, f"answer {answer.items}, {answer.count} rows")
    need(answer.rows[0]["swrq"] == died, "another person's row was answered")
    need("*" in answer.rows[0]["xm"], "the name came unmasked")
    return "只返回 only granted items: xm, swrq"


def _ask(
    walk: Walk, service: str, *, items: tuple[str, ...] = ("xm", "swrq"), secret: str = "", nonce: str | None = None
) -> httpx.Response:
    url = f"{walk.platform.url}/gateway/v1/services/{service}/query"
    body = json.dumps(
        {"by": {"sfzh": walk.person}, "items": list(items), "purpose": PURPOSE, "case_number": "HC-2026-0002"}
    ).encode()
    headers = {"Content-Type": "application/json"}
    signer = HmacSigner("hmac-sha256", (secret or walk.key[1]).encode())
    headers |= sign_request("POST", url, body, key_id=walk.key[0], signer=signer, headers=headers, nonce=nonce)
    return httpx.post(url, content=body, headers=headers, trust_env=False, timeout=20)


def _status(walk: Walk, service: str) -> int:
    try:
        return _ask(walk, service).status_code
    except httpx.HTTPError:
        return 0


def refusals(walk: Walk) -> str:
    service = walk.services["query"]
    seen = []
    for what, code, response in (
        ("未授权数据项", "gateway.items.not_granted", _ask(walk, service, items=("xm", "swyy"))),
        ("签名不符", "signature.wrong", _ask(walk, service, secret="not-the-secret-of-this-key-at-all")),  # noqa: S106
    ):
        seen.append(_refused(what, code, response))
    nonce = hashlib.sha256(str(time.time_ns()).encode()).hexdigest()[:32]
    first = _ask(walk, service, nonce=nonce)
    need(first.status_code == 200, f"the first call with a nonce was answered {first.status_code}")
    seen.append(_refused("重放", "signature.replayed", _ask(walk, service, nonce=nonce)))
    return " · ".join(seen)


def _refused(what: str, code: str, response: httpx.Response) -> str:
    found = response.json().get("code")
    need(response.status_code >= 400 and found == code, f"{what}: wanted {code}, got {response.status_code} {found}")
    need("rows" not in response.json(), f"{what}: rows came with the refusal")
    return code


def expired(walk: Walk) -> str:
    """The next morning, before the control plane has done anything about it: the gateway's own clock says no."""
    need(_ask(walk, walk.services["today"]).status_code == 200, "the grant of today is not answered today")
    tomorrow = (date.fromisoformat(DEMO_DATE) + timedelta(days=1)).isoformat()
    walk.platform.stop_part("worker")
    parts = [part for part in walk.platform.parts if part.name in ("web", "gateway", "front")]
    for part in reversed(parts):
        walk.platform.stop_part(part.name)
        part.extra["JINQIAO_FIXED_DATE"] = tomorrow
    for part in parts:
        part.start()
    from jinqiao.demo import story

    story.wait_until("the gateway on the next day", lambda: _status(walk, walk.services["query"]) == 200, 30)
    return _refused("授权到期", "gateway.grant.not_live", _ask(walk, walk.services["today"]))


def audit(walk: Walk) -> str:
    whole = _audit_verify(walk.home / "control.db", walk)
    need(whole.returncode == 0, whole.stdout.strip())
    return whole.stdout.strip()


def tampered(walk: Walk) -> str:
    """Somebody with the database in hand makes a refusal look like an approval: in a copy, not in the trail itself."""
    copy = walk.home / "tampered.db"
    with closing(sqlite3.connect(walk.home / "control.db")) as live, closing(sqlite3.connect(copy)) as other:
        live.backup(other)
        number = other.execute("SELECT max(number) / 2 FROM audit_auditevent").fetchone()[0]
        other.execute("UPDATE audit_auditevent SET actor_name = '别人' WHERE number = ?", (number,))
        other.commit()
    broken = _audit_verify(copy, walk)
    copy.unlink()
    need(broken.returncode == 1, "the tampered copy was called whole")
    need(f"#{number}" in broken.stdout, f"changed event {number}, found: {broken.stdout.strip()}")
    return broken.stdout.strip()


def _audit_verify(database: Path, walk: Walk) -> "subprocess.CompletedProcess[str]":
    environment = {**walk.platform.environment, "DATABASE_URL": f"sqlite:///{database}"}
    return subprocess.run(
        [sys.executable, "-m", "jinqiao.cli", "audit", "verify"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


STEPS: tuple[tuple[str, Callable[[Walk], str]], ...] = (
    ("建立演示城市 the city is founded", found_city),
    ("启动平台 the platform starts", start_platform),
    ("导入工作簿 workbook imported", import_workbook),
    ("审核发布 published", publish),
    ("检索 found by search", search),
    ("提出申请 requested", request),
    ("本方审批 approved", approve),
    ("答复授权 granted", grant),
    ("接通数据源 sources reached", reach_and_bind),
    ("首次交换 first exchange", first_run),
    ("再次交换 second exchange", second_run),
    ("签名查询 signed query", query),
    ("拒绝 refused", refusals),
    ("授权到期 expired grant refused", expired),
    ("审计完整 audit verified", audit),
    ("篡改可见 tampering found", tampered),
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="jinqiao demo verify", description="The main job end to end, without a person."
    )
    parser.add_argument("--home", type=Path, help="an empty folder to work in and to keep; default: a temporary one")
    parser.add_argument("--rows", type=int, default=ROWS)
    chosen = parser.parse_args(arguments)
    home = (chosen.home or Path(tempfile.mkdtemp(prefix="jinqiao-verify-"))).resolve()
    os.environ.pop("DATABASE_URL", None)
    os.environ |= {"JINQIAO_HOME": str(home), "JINQIAO_FIXED_DATE": DEMO_DATE, "JINQIAO_DEMO": "1"}
    port = free_port()
    os.environ["JINQIAO_PUBLIC_URL"] = f"http://127.0.0.1:{port}"
    platform = Platform(home, port=port, demo=True)
    began = time.monotonic()
    try:
        platform.prepare(build=False)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jinqiao.config.settings")
        import django

        django.setup()
        ok = _walk(Walk(home, platform, chosen.rows))
    finally:
        platform.stop()
    print(f"\n{'全部通过 all steps held' if ok else '未通过 FAILED'}   {time.monotonic() - began:.1f} s")
    if ok and chosen.home is None:
        shutil.rmtree(home, ignore_errors=True)
    elif not ok:
        print(f"现场保留 kept for a look: {home}")
    return 0 if ok else 1


def _walk(walk: Walk) -> bool:
    for number, (title, step) in enumerate(STEPS, start=1):
        began = time.monotonic()
        try:
            figure = step(walk)
        except (Exception, SystemExit) as problem:  # noqa: BLE001 -- whatever went wrong, the step is named and the exit is 1
            print(f"✗ {number:2d} {title}   {type(problem).__name__}: {problem}", flush=True)
            if not isinstance(problem, StepFailed):
                import traceback

                traceback.print_exc()
            return False
        print(f"✓ {number:2d} {title}   {figure}   {time.monotonic() - began:.1f} s", flush=True)
    return True
