"""To-do items: opened and finished by the actions of the packages above; the events of those actions tell why."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Person, Post
from jinqiao.audit.trail import Subject
from jinqiao.kernel import moments
from jinqiao.workflow import errors
from jinqiao.workflow.models import Clock, ToDo


@transaction.atomic
def open_todo(
    *,
    kind: str,
    title: str,
    organisation: Organisation,
    role: Role | str,
    about: Subject,
    person: Person | None = None,
    clock: Clock | None = None,
) -> ToDo:
    """Put something on a desk. An open one of the same kind, thing and desk is given back, not doubled."""
    same = ToDo.objects.filter(
        kind=kind,
        organisation=organisation,
        role=role,
        person=person,
        about_type=about.type,
        about_id=about.id,
        done_at__isnull=True,
    ).first()
    if same is not None:
        return same
    return ToDo.objects.create(
        kind=kind,
        title=title[:300],
        organisation=organisation,
        role=role,
        person=person,
        about_type=about.type,
        about_id=about.id,
        clock=clock,
        created_at=moments.now(),
    )


@transaction.atomic
def finish_todos(about: Subject, *, by: Post | None, kinds: Collection[str] | None = None) -> int:
    """Close what is open about a thing, of all kinds or the given ones; how many there were."""
    waiting = ToDo.objects.filter(about_type=about.type, about_id=about.id, done_at__isnull=True)
    if kinds is not None:
        waiting = waiting.filter(kind__in=kinds)
    return waiting.update(done_at=moments.now(), done_by=by)


@transaction.atomic
def finish_todo(todo: ToDo, *, by: Post) -> bool:
    """Tick off one item that only informs; whether it was still open.

    Raises:
        ToDoElsewhere: it waits for another post.
    """
    if todo.organisation_id != by.organisation_id or todo.role != by.role or todo.person_id not in (None, by.person_id):
        raise errors.ToDoElsewhere
    return bool(ToDo.objects.filter(pk=todo.pk, done_at__isnull=True).update(done_at=moments.now(), done_by=by))
