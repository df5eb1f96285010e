"""People and their posts. Accounts are made by the system administrator, posts given and ended by the security administrator."""

from __future__ import annotations

import re
from datetime import date

from django.db import transaction

from jinqiao.accounts import errors, rules
from jinqiao.accounts.actions.acting import actor_of
from jinqiao.accounts.enums import THREE_ADMINISTRATORS, Role
from jinqiao.accounts.models import Organisation, Person, Post, Section
from jinqiao.accounts.queries import live
from jinqiao.audit import trail
from jinqiao.kernel import moments

_USERNAME = re.compile(r"[\w.\-]{3,60}")


@transaction.atomic
def add_person(
    *,
    by: Post | None,
    username: str,
    name: str,
    password: str | None = None,
    mobile: str = "",
    employer: str = "",
    valid_until: date | None = None,
    must_change_password: bool = True,
) -> Person:
    """Make an account. Without a password nobody can sign in until `reset_password` gives one.

    Raises:
        UsernameMalformed, UsernameTaken, ContractorWithoutEnd.
    """
    rules.check_is(Role.SYSTEM_ADMINISTRATOR, by)
    username = username.strip()
    if not _USERNAME.fullmatch(username):
        raise errors.UsernameMalformed
    if Person.objects.filter(username__iexact=username).exists():
        raise errors.UsernameTaken(username=username)
    rules.check_contract(employer.strip(), valid_until, moments.today())
    person = Person.objects.create_user(
        username,
        name.strip(),
        password,
        mobile=mobile.strip(),
        employer=employer.strip(),
        valid_until=valid_until,
        must_change_password=must_change_password,
        password_changed_at=moments.now() if password else None,
    )
    trail.record(
        "accounts.person.add",
        by=actor_of(by),
        about=trail.subject(person),
        username=username,
        contractor=bool(person.employer),
        valid_until=valid_until,
    )
    return person


@transaction.atomic
def edit_person(
    person: Person, *, by: Post | None, name: str, mobile: str = "", employer: str = "", valid_until: date | None = None
) -> Person:
    """Change what describes a person. The trail names the fields, not their values.

    Raises:
        ContractorWithoutEnd.
    """
    rules.check_is(Role.SYSTEM_ADMINISTRATOR, by)
    person = Person.objects.select_for_update().get(pk=person.pk)
    rules.check_contract(employer.strip(), valid_until, moments.today())
    values = {
        "name": name.strip(),
        "mobile": mobile.strip(),
        "employer": employer.strip(),
        "valid_until": valid_until,
    }
    changed = sorted(field for field, value in values.items() if getattr(person, field) != value)
    for field in changed:
        setattr(person, field, values[field])
    if changed:
        person.save(update_fields=changed)
        trail.record(
            "accounts.person.edit",
            by=actor_of(by),
            about=trail.subject(person),
            fields=changed,
            valid_until=valid_until,
        )
    return person


@transaction.atomic
def close_person(person: Person, *, by: Post | None) -> Person:
    """Close an account; its sessions end with the next request.

    Raises:
        LastAdministrator: nobody else holds an administrator's role that the person holds.
    """
    rules.check_is(Role.SYSTEM_ADMINISTRATOR, by)
    person = Person.objects.select_for_update().get(pk=person.pk)
    for post in list(Post.objects.filter(live(moments.today()), person=person)):
        _lock_holders(Role(post.role))
        _check_not_last(post)
    person.is_active = False
    person.save(update_fields=["is_active"])
    trail.record("accounts.person.close", by=actor_of(by), about=trail.subject(person))
    return person


@transaction.atomic
def reopen_person(person: Person, *, by: Post | None) -> Person:
    """Open a closed account again, with the posts that it still holds."""
    rules.check_is(Role.SYSTEM_ADMINISTRATOR, by)
    person = Person.objects.select_for_update().get(pk=person.pk)
    person.is_active = True
    person.save(update_fields=["is_active"])
    trail.record("accounts.person.reopen", by=actor_of(by), about=trail.subject(person))
    return person


@transaction.atomic
def appoint(
    *,
    by: Post | None,
    person: Person,
    organisation: Organisation,
    role: Role | str,
    section: Section | None = None,
    starts_on: date | None = None,
    ends_on: date | None = None,
) -> Post:
    """Give a person a role at an organisation, from today unless `starts_on` says otherwise.

    A post that ended is opened again for the same person, organisation and role; the trail keeps its earlier terms.

    Raises:
        HoldsAnotherAdministrator, AdministratorHasBusiness: 三员 are separated.
        PostStands, PostDates, SectionElsewhere, PersonCannotSignIn.
    """
    rules.check_is(Role.SECURITY_ADMINISTRATOR, by)
    today = moments.today()
    role = Role(role)
    starts_on = starts_on or today
    rules.check_term(starts_on, ends_on, today)
    # Locking the person queues two appointments that would each be allowed alone.
    person = Person.objects.select_for_update().get(pk=person.pk)
    if not person.may_sign_in_on(today):
        raise errors.PersonCannotSignIn(person=person.name)
    if section is not None and section.organisation_id != organisation.pk:
        raise errors.SectionElsewhere
    held = [post for post in person.posts.all() if post.ends_on is None or post.ends_on > today]
    for post in held:
        if post.organisation_id == organisation.pk and post.role == role:
            raise errors.PostStands(person=person.name, organisation=organisation.short_name, role=role.label)
    rules.check_may_hold(person.name, [post.role for post in held], role)
    appointed, _ = Post.objects.update_or_create(
        person=person,
        organisation=organisation,
        role=role,
        defaults={"section": section, "starts_on": starts_on, "ends_on": ends_on},
    )
    trail.record(
        "accounts.post.appoint",
        by=actor_of(by),
        about=trail.subject(appointed),
        role=role,
        person=person.pk,
        organisation=organisation.pk,
        starts_on=starts_on,
        ends_on=ends_on,
    )
    return appointed


@transaction.atomic
def end_post(post: Post, *, by: Post | None) -> Post:
    """End a post with immediate effect.

    Raises:
        PostEnded: it has ended; LastAdministrator: nobody else holds this administrator's role.
    """
    rules.check_is(Role.SECURITY_ADMINISTRATOR, by)
    today = moments.today()
    _lock_holders(Role(post.role))
    post = Post.objects.select_for_update(of=("self",)).select_related("person", "organisation").get(pk=post.pk)
    if post.ends_on is not None and post.ends_on <= today:
        raise errors.PostEnded
    _check_not_last(post)
    post.ends_on = max(today, post.starts_on)
    post.save(update_fields=["ends_on"])
    trail.record("accounts.post.end", by=actor_of(by), about=trail.subject(post), role=post.role, person=post.person_id)
    return post


def _lock_holders(role: Role) -> None:
    """Lock all posts of an administrator's role, in one order, so that two who end each other's post queue."""
    if role in THREE_ADMINISTRATORS:
        list(Post.objects.select_for_update().filter(role=role).order_by("pk").values_list("pk", flat=True))


def _check_not_last(post: Post) -> None:
    """The platform never stands without one of its three administrators; the last auditing one least of all."""
    role = Role(post.role)
    if role not in THREE_ADMINISTRATORS:
        return
    others = Post.objects.filter(live(moments.today()), role=role).exclude(person_id=post.person_id)
    if not others.exists():
        raise errors.LastAdministrator(role=role.label)
