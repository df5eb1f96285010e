"""How a person is known at sign-in."""

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from jinqiao.accounts.models import Person
from jinqiao.kernel import moments


class PersonBackend(BaseBackend):
    """Login name and password. Who was deactivated, or whose account ran out, is unknown at once, also amid a session."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> Person | None:
        if not username or not password:
            return None
        person = Person.objects.filter(username=username).first()
        if person is None:
            Person().set_password(password)  # so that an unknown name takes as long as a known one
            return None
        return person if person.check_password(password) and person.may_sign_in_on(moments.today()) else None

    def get_user(self, user_id: int) -> Person | None:
        person = Person.objects.filter(pk=user_id).first()
        return person if person is not None and person.may_sign_in_on(moments.today()) else None
