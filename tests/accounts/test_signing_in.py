"""Passwords, lockout, sessions."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt

from jinqiao.accounts import actions, errors
from jinqiao.accounts.backends import PersonBackend
from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.kernel import moments
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_person_changes_the_password_with_the_present_one(sign_in):
    person = factories.make_person(username="li.si", must_change_password=True)

    with pytest.raises(errors.PasswordWrong):
        actions.change_password(person, old="not it", new="another-Good-1")
    changed = actions.change_password(person, old=factories.PASSWORD, new="another-Good-1")

    assert changed.must_change_password is False
    assert changed.password_changed_at is not None
    assert sign_in("li.si", "another-Good-1") == person


@pytest.mark.parametrize("new", ["xq7!", "1234567890123", "password1234", "zhangsan-zhangsan", factories.PASSWORD])
def test_weak_and_unchanged_passwords_are_refused_with_reasons(new):
    person = factories.make_person(username="zhangsan-zhangsan")

    with pytest.raises(errors.PasswordWeak) as refused:
        actions.change_password(person, old=factories.PASSWORD, new=new)

    assert refused.value.details["reasons"]
    assert new not in str(refused.value)


def test_a_reset_password_works_once_and_must_be_changed(sign_in):
    system, person = factories.make_post(Role.SYSTEM_ADMINISTRATOR), factories.make_person(username="zhao.liu")

    initial = actions.reset_password(person, by=system)

    person.refresh_from_db()
    assert person.must_change_password
    assert sign_in("zhao.liu", initial) == person
    assert sign_in("zhao.liu", factories.PASSWORD) is None
    assert initial not in str(list(AuditEvent.objects.values()))


@pytest.mark.parametrize("role", [Role.SECURITY_ADMINISTRATOR, Role.AUDIT_ADMINISTRATOR])
def test_the_system_administrator_cannot_take_over_another_administrators_account(role):
    system, other = factories.make_post(Role.SYSTEM_ADMINISTRATOR), factories.make_post(role)

    with pytest.raises(errors.PasswordSeparated):
        actions.reset_password(other.person, by=system)
    assert actions.reset_password(other.person, by=None)


def test_only_the_system_administrator_resets_passwords():
    with pytest.raises(errors.NotAdministrator):
        actions.reset_password(factories.make_person(), by=factories.make_post(Role.BUREAU))


def test_unlocking_forgets_failed_attempts():
    security, person = factories.make_post(Role.SECURITY_ADMINISTRATOR), factories.make_person(username="locked")
    AccessAttempt.objects.create(username="locked", ip_address="10.0.0.9", failures_since_start=5)

    assert actions.unlock(person, by=security) == 1
    assert not AccessAttempt.objects.exists()
    with pytest.raises(errors.NotAdministrator):
        actions.unlock(person, by=factories.make_post(Role.SYSTEM_ADMINISTRATOR))


def test_a_closed_account_is_unknown_even_amid_a_session(sign_in):
    system, person = factories.make_post(Role.SYSTEM_ADMINISTRATOR), factories.make_person(username="qian.qi")
    assert sign_in("qian.qi", factories.PASSWORD) == person

    actions.close_person(person, by=system)

    assert sign_in("qian.qi", factories.PASSWORD) is None
    assert PersonBackend().get_user(person.pk) is None
    actions.reopen_person(person, by=system)
    assert PersonBackend().get_user(person.pk) == person


def test_the_last_valid_day_still_counts(sign_in):
    today = moments.today()
    person = factories.make_person(employer="某公司", valid_until=today, username="vendor")
    assert sign_in("vendor", factories.PASSWORD) == person

    person.valid_until = today - timedelta(days=1)
    person.save()
    assert sign_in("vendor", factories.PASSWORD) is None


def test_signing_in_and_failing_to_are_in_the_trail_without_unknown_names(client, sign_in):
    person = factories.make_person(username="sun.ba")
    client.force_login(person, backend="jinqiao.accounts.backends.PersonBackend")
    sign_in("sun.ba", "wrong")
    sign_in("my-secret-password", "sun.ba")

    opened, refused, unknown = AuditEvent.objects.order_by("number")
    person.refresh_from_db()
    assert person.last_login.astimezone(moments.CHINA).date() == moments.today()
    assert (opened.action, opened.outcome, opened.actor_name) == ("accounts.session.open", Outcome.DONE, person.name)
    assert (refused.outcome, refused.about_id) == (Outcome.REFUSED, str(person.pk))
    assert (unknown.outcome, unknown.about_id, unknown.about_label) == (Outcome.REFUSED, "", "")
    assert "my-secret-password" not in str(list(AuditEvent.objects.values()))
