"""Passwords, lockout and language."""

from __future__ import annotations

import secrets

from axes.utils import reset as forget_failures
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from jinqiao.accounts import errors, rules
from jinqiao.accounts.actions.acting import actor_of, person_actor
from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Person, Post
from jinqiao.accounts.queries import live
from jinqiao.audit import trail
from jinqiao.kernel import moments

_READABLE = "abcdefghjkmnpqrstuvwxyz23456789"


@transaction.atomic
def change_password(person: Person, *, old: str, new: str) -> Person:
    """A person changes their own password. Other sessions end, since they are bound to the password.

    Raises:
        PasswordWrong: `old` is not the present one; PasswordWeak: `new` fails the validators or equals `old`.
    """
    person = Person.objects.select_for_update().get(pk=person.pk)
    if not person.check_password(old):
        raise errors.PasswordWrong
    _check_strength(person, new)
    if person.check_password(new):
        raise errors.PasswordWeak(reasons=_("与现口令相同。"))
    person.set_password(new)
    person.must_change_password = False
    person.password_changed_at = moments.now()
    person.save(update_fields=["password", "must_change_password", "password_changed_at"])
    trail.record("accounts.password.change", by=person_actor(person), about=trail.subject(person))
    return person


@transaction.atomic
def reset_password(person: Person, *, by: Post | None) -> str:
    """Give a new initial password, returned once and kept nowhere; it must be changed at the next sign-in.

    Raises:
        NotAdministrator, PasswordSeparated.
    """
    person = Person.objects.select_for_update().get(pk=person.pk)
    roles = Post.objects.filter(live(moments.today()), person=person).values_list("role", flat=True)
    rules.check_may_reset_password(by, list(roles))
    initial = "-".join("".join(secrets.choice(_READABLE) for _ in range(4)) for _ in range(4))
    person.set_password(initial)
    person.must_change_password = True
    person.password_changed_at = moments.now()
    person.save(update_fields=["password", "must_change_password", "password_changed_at"])
    forget_failures(username=person.username)
    trail.record("accounts.password.reset", by=actor_of(by), about=trail.subject(person))
    return initial


@transaction.atomic
def unlock(person: Person, *, by: Post | None) -> int:
    """Forget the failed attempts that lock a person out; how many there were.

    Raises:
        NotAdministrator.
    """
    rules.check_is(Role.SECURITY_ADMINISTRATOR, by)
    forgotten = int(forget_failures(username=person.username))
    trail.record("accounts.person.unlock", by=actor_of(by), about=trail.subject(person), attempts=forgotten)
    return forgotten


def choose_language(person: Person, language: str) -> None:
    """Remember in which language somebody reads; no matter for the trail."""
    Person.objects.filter(pk=person.pk).update(language=language)


def _check_strength(person: Person, password: str) -> None:
    try:
        validate_password(password, user=person)
    except ValidationError as problem:
        raise errors.PasswordWeak(reasons=" ".join(problem.messages)) from problem
