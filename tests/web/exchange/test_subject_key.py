"""The page of the city's key of persons: for the security administrator alone, with what a new key means."""

from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions.subjects import commitments_of
from tests.exchange.factories import Served
from tests.factories import make_post

pytestmark = pytest.mark.django_db
NUMBER = "11010519491231002X"
PAGE, RENEW = "exchange:subject_key", "exchange:subject_key_renew"


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> None:
    settings.HOME = tmp_path


def test_a_key_is_renewed_after_its_meaning_was_read_and_gateways_show_which_they_use(
    enter: Any, served: Served
) -> None:
    client = enter(make_post(Role.SECURITY_ADMINISTRATOR))
    policy = served.policy()
    assert policy is not None
    (first,) = actions.subject_keys()
    before = commitments_of(NUMBER)
    text = client.get(reverse(PAGE)).content.decode()
    assert first.key_id in text
    assert "已用当前密钥" in text

    question = client.get(reverse(RENEW)).content.decode()
    assert "换前换后的记录都查得到" in question
    assert "翻页标记失效" in question
    assert [key.key_id for key in actions.subject_keys()] == [first.key_id]  # reading changes nothing

    assert client.post(reverse(RENEW)).url == reverse(PAGE)
    old, new = actions.subject_keys()
    assert old.key_id == first.key_id
    text = client.get(reverse(PAGE)).content.decode()
    assert new.key_id in text
    assert "仍用旧密钥" in text
    served.policy(policy.version)
    assert "仍用旧密钥" not in client.get(reverse(PAGE)).content.decode()
    assert commitments_of(NUMBER)[1:] == before
    assert AuditEvent.objects.filter(action="exchange.subject_key.renew", details__key=new.key_id).count() == 1


@pytest.mark.parametrize("role", [role for role in Role if role != Role.SECURITY_ADMINISTRATOR])
def test_nobody_else_sees_or_renews_it(enter: Any, role: Role) -> None:
    client = enter(make_post(role))
    assert client.get(reverse(PAGE)).status_code == 403
    assert client.post(reverse(RENEW)).status_code == 403


def test_no_secret_stands_on_the_page(enter: Any) -> None:
    import json

    from jinqiao.exchange.actions.subjects import KEYS, _store

    actions.subject_keys()
    kept = json.loads(_store().get(KEYS) or b"[]")
    text = enter(make_post(Role.SECURITY_ADMINISTRATOR)).get(reverse(PAGE)).content.decode()
    assert kept[0]["secret"] not in text
