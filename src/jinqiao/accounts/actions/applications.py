"""Applications: the API clients of organisations."""

from __future__ import annotations

from django.db import transaction

from jinqiao.accounts import errors, rules
from jinqiao.accounts.actions.acting import actor_of
from jinqiao.accounts.enums import ApplicationState
from jinqiao.accounts.models import Application, Organisation, Person, Post
from jinqiao.accounts.queries import live
from jinqiao.audit import trail
from jinqiao.kernel import moments


@transaction.atomic
def register_application(
    *, by: Post | None, organisation: Organisation, name: str, contact: Person, number: str | None = None
) -> Application:
    """Register an application of an organisation; its number is given by the platform unless set-up brings one.

    Raises:
        NotAdministrator: another organisation's; ContactElsewhere: the contact holds no post there.
    """
    rules.check_may_keep_applications(by, organisation)
    if not Post.objects.filter(live(moments.today()), person=contact, organisation=organisation).exists():
        raise errors.ContactElsewhere(person=contact.name, organisation=organisation.short_name)
    # Locking the organisation queues two registrations, so that they get two numbers.
    Organisation.objects.select_for_update().get(pk=organisation.pk)
    application = Application.objects.create(
        number=number or _next_number(organisation),
        organisation=organisation,
        name=name.strip(),
        contact=contact,
        created_at=moments.now(),
    )
    trail.record(
        "accounts.application.register",
        by=actor_of(by),
        about=trail.subject(application),
        number=application.number,
        organisation=organisation.pk,
    )
    return application


@transaction.atomic
def change_application_state(
    application: Application, *, by: Post | None, state: ApplicationState | str
) -> Application:
    """Suspend, resume or retire an application.

    Raises:
        NotAdministrator; ApplicationMoveImpossible: a retired one stays retired.
    """
    application = (
        Application.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=application.pk)
    )
    rules.check_may_keep_applications(by, application.organisation)
    present, wanted = ApplicationState(application.state), ApplicationState(state)
    if wanted not in rules.APPLICATION_MOVES[present]:
        raise errors.ApplicationMoveImpossible(state=present.label, wanted=wanted.label)
    application.state = wanted
    application.save(update_fields=["state"])
    trail.record(
        "accounts.application.change_state",
        by=actor_of(by),
        about=trail.subject(application),
        before=present,
        after=wanted,
    )
    return application


def _next_number(organisation: Organisation) -> str:
    """`APP-<organisation's code body>-<sequence>`: names its owner, never reused."""
    stem = f"APP-{organisation.credit_code[8:17]}-"
    taken = Application.objects.filter(number__startswith=stem).values_list("number", flat=True)
    last = max((int(number.removeprefix(stem)) for number in taken if number.removeprefix(stem).isdigit()), default=0)
    return f"{stem}{last + 1:03d}"
