"""The doctor finds what is mis-set and names the mend."""

from pathlib import Path
from typing import Any

import pytest
from django.db.migrations.executor import MigrationExecutor

from jinqiao.config import doctor
from jinqiao.config.doctor import Finding, State
from jinqiao.kernel.keystore import KeyStore
from jinqiao.workflow.models import CalendarYear

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    settings.HOME = home
    settings.RELAY_ROOT = home / "relay"
    settings.STATIC_ROOT = home / "static"
    settings.STATIC_ROOT.mkdir()
    (settings.STATIC_ROOT / "staticfiles.json").write_text("{}")
    KeyStore(home / "keys").put("x", b"y")
    return home


def _of(what: str) -> Finding:
    return next(finding for finding in doctor.examine() if what in finding.what)


def test_a_sound_home_has_nothing_bad(home: Path, settings: Any) -> None:
    settings.IS_DEMO = True

    bad = [finding for finding in doctor.examine() if finding.state is State.BAD]

    assert bad == []


def test_a_home_that_others_may_enter_is_bad(home: Path) -> None:
    home.chmod(0o755)

    assert _of("数据目录").state is State.BAD
    assert "700" in _of("数据目录").mend


def test_a_master_key_that_others_may_read_is_bad(home: Path) -> None:
    (home / "keys" / "master.key").chmod(0o644)

    assert _of("主密钥").state is State.BAD


def test_a_master_key_of_another_home_is_found(home: Path, tmp_path: Path) -> None:
    KeyStore(tmp_path / "other").put("x", b"y")
    (tmp_path / "other" / "master.key").replace(home / "keys" / "master.key")

    assert _of("密钥库").state is State.BAD


def test_a_fixed_date_outside_the_demo_is_bad(home: Path, settings: Any) -> None:
    settings.IS_DEMO = False

    assert _of("JINQIAO_FIXED_DATE").state is State.BAD


def test_a_year_without_a_calendar_is_bad_when_it_is_this_one(home: Path) -> None:
    CalendarYear.objects.filter(year=2026).delete()

    assert _of("2026年放假安排").state is State.BAD
    assert _of("2027年放假安排").state is State.WARNING, "next year's notice comes in autumn"


def test_pending_migrations_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *_: [("step", False)])

    assert _of("数据库结构").state is State.BAD
    assert "migrate" in _of("数据库结构").mend


def test_both_suites_are_tried_with_a_real_signature(home: Path) -> None:
    assert _of("guomi").state is State.GOOD
    assert _of("international").state is State.GOOD


def test_a_platform_without_outgoing_mail_or_allowed_hosts_says_so(
    home: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_BACKEND = ""
    monkeypatch.delenv("JINQIAO_REACHABLE_HOSTS", raising=False)
    assert _of("JINQIAO_MAIL").state is State.WARNING
    assert "JINQIAO_MAIL_FROM" in _of("JINQIAO_MAIL").mend
    assert _of("JINQIAO_REACHABLE_HOSTS").state is State.WARNING

    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    monkeypatch.setenv("JINQIAO_REACHABLE_HOSTS", "api.example.cn")
    told = {finding.what for finding in doctor.examine()}
    assert told.isdisjoint({"JINQIAO_MAIL", "JINQIAO_REACHABLE_HOSTS"})
