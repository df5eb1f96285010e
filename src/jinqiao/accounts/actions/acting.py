"""Who acts, as the trail keeps it."""

from jinqiao.accounts.models import Person, Post
from jinqiao.audit.trail import SYSTEM, Actor


def actor_of(by: Post | None) -> Actor:
    """The post's actor; the platform where nobody acts."""
    return SYSTEM if by is None else by.actor


def person_actor(person: Person) -> Actor:
    """Somebody who acts for themselves, outside any post: signing in, changing a password."""
    return Actor(str(person.pk), person.name, "", "", "")
