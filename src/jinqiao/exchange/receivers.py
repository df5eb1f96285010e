"""Movement follows grants, in the transaction that makes or changes them."""

from typing import Any

from django.dispatch import receiver

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange.actions.grants import follow_changed_grant, follow_new_grant
from jinqiao.sharing.models import Grant
from jinqiao.sharing.signals import grant_changed, grant_made


@receiver(grant_made, dispatch_uid="exchange.grant_made")
def on_grant_made(sender: type[Grant], *, grant: Grant, by: Post | None, **_: Any) -> None:
    follow_new_grant(grant, by=by.actor if by else trail.SYSTEM)


@receiver(grant_changed, dispatch_uid="exchange.grant_changed")
def on_grant_changed(sender: type[Grant], *, grant: Grant, by: Post | None, **_: Any) -> None:
    follow_changed_grant(grant, by=by.actor if by else trail.SYSTEM)
