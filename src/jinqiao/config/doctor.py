"""What is mis-set on this machine, and how to mend it. Each check looks at the real thing: it opens the database, computes a
vector with the crypto library, writes a file; it does not only read settings.
"""

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from django.conf import settings
from django.core import checks as django_checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from jinqiao.audit import anchor
from jinqiao.exchange.enums import ChannelKind
from jinqiao.exchange.models import AlertChannel
from jinqiao.kernel import hosts, moments
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.keystore import KeyStore
from jinqiao.workflow.models import CalendarYear

LOW_DISK_BYTES = 2 * 1024**3


class State(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what it is, how it stands, and the mend where it does not stand well."""

    what: str
    state: State
    note: str = ""
    mend: str = ""


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Finding(
        "Python", State.GOOD if good else State.BAD, version, "" if good else _("安装 Python 3.11 或更新版本。")
    )


def _home() -> Iterator[Finding]:
    home: Path = settings.HOME
    what = _("数据目录")
    if not home.is_dir():
        yield Finding(what, State.BAD, str(home), _("先启动一次平台，或检查 JINQIAO_HOME。"))
        return
    mode = stat.S_IMODE(home.stat().st_mode)
    if mode & 0o077:
        yield Finding(what, State.BAD, f"{mode:o}", _("其他用户可以进入数据目录：执行 chmod 700。"))
    else:
        yield Finding(what, State.GOOD, f"{mode:o}")
    free = shutil.disk_usage(home).free
    note = f"{free / 1024**3:.1f} GiB"
    yield Finding(
        _("磁盘余量"),
        State.GOOD if free > LOW_DISK_BYTES else State.BAD,
        note,
        "" if free > LOW_DISK_BYTES else _("清理磁盘，至少留出 2 GiB。"),
    )
    relay: Path = settings.RELAY_ROOT
    try:
        relay.mkdir(exist_ok=True, parents=True)
        probe = relay / ".doctor"
        probe.write_bytes(b"x")
        probe.unlink()
        yield Finding(_("中转目录"), State.GOOD)
    except OSError as problem:
        yield Finding(_("中转目录"), State.BAD, problem.strerror or "", _("让运行平台的用户可以写入这个目录。"))


def _database() -> Iterator[Finding]:
    what = _("控制库")
    try:
        connection.ensure_connection()
        pending = MigrationExecutor(connection)
        plan = pending.migration_plan(pending.loader.graph.leaf_nodes())
    except DatabaseError as problem:
        yield Finding(what, State.BAD, type(problem).__name__, _("检查 DATABASE_URL 和数据库服务。"))
        return
    yield Finding(what, State.GOOD, connection.vendor)
    yield Finding(
        _("数据库结构"),
        State.BAD if plan else State.GOOD,
        _("%(count)d 步待执行") % {"count": len(plan)} if plan else "",
        _("执行 jinqiao manage migrate。") if plan else "",
    )
    if plan:
        return
    year = moments.today().year
    for wanted in (year, year + 1):
        known = CalendarYear.objects.filter(year=wanted).exists()
        late = wanted == year or moments.today().month == 12
        state = State.GOOD if known else State.BAD if late else State.WARNING
        yield Finding(
            _("%(year)d年放假安排") % {"year": wanted},
            state,
            "" if known else _("未录入"),
            "" if known else _("国务院办公厅发布后在“规则与日历”中录入；录入前跨入该年的期限显示“期限未定”。"),
        )
    try:
        verdict = anchor.verify()
        whole, note = (
            verdict.ok,
            _("%(count)d 条，链完整") % {"count": verdict.events} if verdict.ok else str(verdict.reason),
        )
    except JinqiaoError as problem:
        whole, note = False, problem.text().message
    yield Finding(
        _("审计记录"),
        State.GOOD if whole else State.BAD,
        note,
        "" if whole else _("保留现场，报告审计管理员；用 jinqiao audit verify 查看第一条不符的记录。"),
    )


def _keys() -> Iterator[Finding]:
    folder: Path = settings.HOME / "keys"
    key = folder / "master.key"
    what = _("主密钥")
    if not key.exists():
        yield Finding(what, State.BAD, "", _("启动一次平台会生成主密钥；如果原来有，请从备份恢复。"))
        return
    mode = stat.S_IMODE(key.stat().st_mode)
    yield Finding(
        what, State.BAD if mode & 0o077 else State.GOOD, f"{mode:o}", _("执行 chmod 600。") if mode & 0o077 else ""
    )
    try:
        store = KeyStore(folder)
        for name in store.names():
            store.get(name)
        yield Finding(_("密钥库"), State.GOOD)
    except (JinqiaoError, ValueError, OSError) as problem:
        yield Finding(
            _("密钥库"), State.BAD, type(problem).__name__, _("主密钥与密钥库不配套：恢复同一份备份中的两个文件。")
        )
    age_days = (time.time() - key.stat().st_mtime) / 86400
    if age_days > 365:
        yield Finding(
            _("主密钥更换"), State.WARNING, _("%(days)d 天未更换") % {"days": age_days}, _("执行 jinqiao keys rotate。")
        )


def _crypto() -> Iterator[Finding]:
    for name in ("international", "guomi"):
        try:
            identity = Identity.generate(name)
            identity.public.verify(b"jinqiao", identity.sign(b"jinqiao"))
            key = bytes(suite(name).key_bytes)
            good = suite(name).decrypt(key, suite(name).encrypt(key, b"jinqiao")) == b"jinqiao"
        except (JinqiaoError, OSError, ValueError) as problem:
            yield Finding(
                _("密码套件 %(name)s") % {"name": name},
                State.BAD,
                type(problem).__name__,
                _("检查 OpenSSL 动态库和 gmssl。"),
            )
            continue
        yield Finding(_("密码套件 %(name)s") % {"name": name}, State.GOOD if good else State.BAD)


def _is_migrated() -> bool:
    try:
        return AlertChannel._meta.db_table in connection.introspection.table_names()
    except DatabaseError:
        return False


def _settings() -> Iterator[Finding]:
    demo = settings.IS_DEMO
    if settings.DEBUG:
        yield Finding("JINQIAO_DEBUG", State.BAD, "yes", _("正式环境不得打开调试：去掉 JINQIAO_DEBUG。"))
    if os.environ.get("JINQIAO_FIXED_DATE") and not demo:
        yield Finding(
            "JINQIAO_FIXED_DATE",
            State.BAD,
            os.environ["JINQIAO_FIXED_DATE"],
            _("固定日期只用于演示和测试：去掉这个变量。"),
        )
    if not settings.PUBLIC_URL.startswith("https://"):
        state = (
            State.WARNING
            if demo or "127.0.0.1" in settings.PUBLIC_URL or "localhost" in settings.PUBLIC_URL
            else State.BAD
        )
        yield Finding(
            "JINQIAO_PUBLIC_URL", state, settings.PUBLIC_URL, _("对外服务前置 HTTPS 反向代理，并把地址写成 https://。")
        )
    if not settings.EMAIL_BACKEND or "smtp" not in settings.EMAIL_BACKEND:
        waiting = AlertChannel.objects.filter(kind=ChannelKind.MAIL, is_active=True).count() if _is_migrated() else 0
        note = _("没有外发邮件；%(count)d个邮件通道发不出去") % {"count": waiting}
        mend = _("设置 JINQIAO_MAIL（邮件服务器的地址）和 JINQIAO_MAIL_FROM，重启后在告警通道页发送测试。")
        yield Finding("JINQIAO_MAIL", State.WARNING, note, mend)
    if not hosts.reachable_hosts():
        mend = _("要登记 HTTP 数据源或网络回调时，列出许可的主机，逗号分开。")
        yield Finding(hosts.SETTING, State.WARNING, _("名单是空的"), mend)
    if "*" in settings.ALLOWED_HOSTS:
        yield Finding("JINQIAO_HOSTS", State.BAD, "*", _("写明平台自己的域名。"))
    if not (settings.ASSETS / "htmx.org").is_dir():
        yield Finding(_("页面资源"), State.BAD, str(settings.ASSETS), _("执行 npm ci，或检查 JINQIAO_ASSETS。"))
    if not (settings.STATIC_ROOT / "staticfiles.json").exists() and not settings.DEBUG:
        yield Finding(_("静态文件"), State.BAD, "", _("执行 jinqiao manage prepare。"))
    for problem in django_checks.run_checks():
        if problem.level >= django_checks.WARNING:
            yield Finding(
                str(problem.id),
                State.BAD if problem.level >= django_checks.ERROR else State.WARNING,
                str(problem.msg),
                str(problem.hint or ""),
            )


def _parts() -> Iterator[Finding]:
    for folder in sorted((settings.HOME / "nodes").glob("*")):
        complete = (folder / "node.toml").exists() and (folder / "master.key").exists()
        yield Finding(
            _("节点 %(name)s") % {"name": folder.name},
            State.GOOD if complete else State.BAD,
            "",
            "" if complete else _("节点目录不完整：重新接入这个节点。"),
        )


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _home, _settings, _database, _keys, _crypto, _parts)


def examine() -> list[Finding]:
    """All findings in the order of CHECKS."""
    return [finding for check in CHECKS for finding in check()]
