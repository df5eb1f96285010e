"""Signing in, signing out and failing to, written to the trail."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver

from jinqiao.accounts.actions.acting import person_actor
from jinqiao.accounts.models import Person
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.kernel import moments

# Django's own receiver writes the machine's time; ours keeps to the business date.
user_logged_in.disconnect(dispatch_uid="update_last_login")


@receiver(user_logged_in, dispatch_uid="accounts.signed_in")
def signed_in(sender: Any, user: Person, **_: Any) -> None:
    user.last_login = moments.now()
    user.save(update_fields=["last_login"])
    trail.record("accounts.session.open", by=person_actor(user), about=trail.subject(user))


@receiver(user_logged_out, dispatch_uid="accounts.signed_out")
def signed_out(sender: Any, user: Person | None, **_: Any) -> None:
    if user is not None:
        trail.record("accounts.session.close", by=person_actor(user), about=trail.subject(user))


@receiver(user_login_failed, dispatch_uid="accounts.sign_in_failed")
def sign_in_failed(sender: Any, credentials: dict[str, Any], **_: Any) -> None:
    """An unknown login name is not written down: people type passwords into the wrong box."""
    person = Person.objects.filter(username=str(credentials.get("username", ""))).first()
    trail.record(
        "accounts.session.open",
        by=trail.Actor("", "未登录者", "", "", ""),
        about=trail.subject(person) if person else None,
        outcome=Outcome.REFUSED,
        known=person is not None,
    )
