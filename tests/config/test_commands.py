"""Commands that an operator types."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from jinqiao.accounts.models import Post, Region
from jinqiao.audit import anchor, trail
from jinqiao.audit.models import AuditEvent
from tests.factories import credit_code, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, settings: Any) -> None:
    settings.HOME = tmp_path


def _said(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def test_a_whole_trail_is_said_to_be_whole() -> None:
    for number in range(3):
        trail.record("test.thing.do", by=trail.SYSTEM, number=number)

    assert "3 条" in _said("audit_verify")


def test_a_changed_event_is_named() -> None:
    for number in range(5):
        trail.record("test.thing.do", by=trail.SYSTEM, number=number)
    AuditEvent.objects.filter(number=4).update(actor_name="somebody else")

    with pytest.raises(SystemExit) as ended:
        _said("audit_verify")
    assert ended.value.code == 1


def test_a_cut_tail_shows_against_the_seal_until_its_loss_is_explained() -> None:
    for number in range(5):
        trail.record("test.thing.do", by=trail.SYSTEM, number=number)
    anchor.seal_head()
    AuditEvent.objects.filter(number__gt=3).delete()

    with pytest.raises(SystemExit):
        _said("audit_verify")

    assert "#4" in _said("audit_seal")
    assert "4 条" in _said("audit_verify")
    assert AuditEvent.objects.filter(action="audit.head.seal_anew").exists()


def test_a_password_is_reset_from_the_console_and_recorded() -> None:
    person = make_person(username="rizhi")

    password = _said("reset_password", "rizhi").strip()

    person.refresh_from_db()
    assert person.check_password(password)
    assert person.must_change_password
    event = AuditEvent.objects.get(action="accounts.password.reset")
    assert password not in str(event.details)


def test_a_name_that_nobody_has_is_said() -> None:
    with pytest.raises(CommandError, match="没有这个登录名"):
        _said("reset_password", "nobody")


FOUND = ("--region", "620300", "金昌市", "--organisation", credit_code(7), "金昌市数据局", "市数据局")


def test_a_city_is_founded_with_three_separated_administrators_and_a_bureau() -> None:
    said = _said("found", *FOUND)

    posts = {post.person.username: post for post in Post.objects.select_related("person", "organisation")}
    assert {name: post.role for name, post in posts.items()} == {
        "system": "system_administrator",
        "security": "security_administrator",
        "audit": "audit_administrator",
        "bureau": "bureau",
    }
    assert all(post.organisation.is_authority and post.person.must_change_password for post in posts.values())
    for line in said.splitlines()[1:]:
        username, password = line.split("　")[0].split()
        assert posts[username].person.check_password(password)


def test_a_city_is_founded_once() -> None:
    _said("found", *FOUND)

    with pytest.raises(CommandError, match="已有机构"):
        _said("found", *FOUND)


def test_a_wrong_credit_code_founds_nothing() -> None:
    with pytest.raises(CommandError, match="identifier"):
        _said(
            "found", "--region", "620300", "金昌市", "--organisation", "11620300013900010X", "金昌市数据局", "市数据局"
        )
    assert not Region.objects.exists()
