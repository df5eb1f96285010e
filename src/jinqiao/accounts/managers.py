"""How people are made."""

from typing import TYPE_CHECKING, Any

from django.contrib.auth.base_user import BaseUserManager

if TYPE_CHECKING:  # the model names its manager, so the manager can only name the model for the type checker
    from jinqiao.accounts.models import Person


class PersonManager(BaseUserManager["Person"]):
    def create_user(self, username: str, name: str, password: str | None = None, **fields: Any) -> "Person":
        person = self.model(username=username, name=name, **fields)
        person.set_password(password)
        person.save(using=self._db)
        return person
