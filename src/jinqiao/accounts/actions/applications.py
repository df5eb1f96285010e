"""Applications: the API clients of organisations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_network

from django.db import transaction

from jinqiao.accounts import errors, rules
from jinqiao.accounts.actions.acting import actor_of
from jinqiao.accounts.enums import ApplicationState
from jinqiao.accounts.models import Application, Organisation, Person, Post
from jinqiao.accounts.queries import live
from jinqiao.audit import trail
from jinqiao.kernel import moments

MOST_ENTRIES = 50
_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)


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
def change_application_access(
    application: Application,
    *,
    by: Post | None,
    addresses: Iterable[str],
    certificates: Iterable[str],
    national_id: str,
) -> Application:
    """From where the application may call, by which client certificates, and its id in the national calling convention.

    Addresses are networks (CIDR) or single addresses, certificates SHA-256 fingerprints in hex; none of them: no limit.

    Raises:
        NotAdministrator, AddressNotNetwork, FingerprintNotSha256, NationalIdTaken.
    """
    application = (
        Application.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=application.pk)
    )
    rules.check_may_keep_applications(by, application.organisation)
    wanted = {
        "addresses": _networks(addresses),
        "certificates": _fingerprints(certificates),
        "national_id": national_id.strip(),
    }
    others = Application.objects.exclude(pk=application.pk)
    if wanted["national_id"] and others.filter(national_id=wanted["national_id"]).exists():
        raise errors.NationalIdTaken(national_id=wanted["national_id"])
    before = {name: getattr(application, name) for name in wanted}
    for name, value in wanted.items():
        setattr(application, name, value)
    application.save(update_fields=list(wanted))
    trail.record(
        "accounts.application.change_access",
        by=actor_of(by),
        about=trail.subject(application),
        before=before,
        after=wanted,
    )
    return application


def _networks(lines: Iterable[str]) -> list[str]:
    found: list[str] = []
    for line in lines:
        try:
            network = str(ip_network(line.strip()))
        except ValueError as problem:
            raise errors.AddressNotNetwork(address=line.strip()[:50]) from problem
        if network not in found:
            found.append(network)
    if len(found) > MOST_ENTRIES:
        raise errors.AddressNotNetwork(address=found[MOST_ENTRIES])
    return found


def _fingerprints(lines: Iterable[str]) -> list[str]:
    found: list[str] = []
    for line in lines:
        digits = line.strip().replace(":", "").lower()
        if not _FINGERPRINT.fullmatch(digits):
            raise errors.FingerprintNotSha256(fingerprint=line.strip()[:100])
        if digits not in found:
            found.append(digits)
    if len(found) > MOST_ENTRIES:
        raise errors.FingerprintNotSha256(fingerprint=found[MOST_ENTRIES])
    return found


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
