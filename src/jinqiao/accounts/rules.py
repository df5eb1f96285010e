"""Who may do what with accounts. `by` is None where the platform itself acts (set-up, console, demo)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from jinqiao.accounts import errors
from jinqiao.accounts.enums import THREE_ADMINISTRATORS, ApplicationState, Role
from jinqiao.accounts.models import Organisation, Post

APPLICATION_KEEPERS: frozenset[Role] = frozenset(
    {Role.DEVELOPER, Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.COUNTY_CLERK}
)
"""Who registers applications of their own organisation."""

APPLICATION_MOVES: dict[ApplicationState, frozenset[ApplicationState]] = {
    ApplicationState.ACTIVE: frozenset({ApplicationState.SUSPENDED, ApplicationState.RETIRED}),
    ApplicationState.SUSPENDED: frozenset({ApplicationState.ACTIVE, ApplicationState.RETIRED}),
    ApplicationState.RETIRED: frozenset(),
}


def check_is(role: Role, by: Post | None) -> None:
    """Only this administrator, or the platform itself.

    Raises:
        NotAdministrator: somebody else tries.
    """
    if by is not None and by.role != role:
        raise errors.NotAdministrator(role=role.label)


def check_may_hold(name: str, held: Iterable[Role | str], wanted: Role) -> None:
    """三员: nobody holds two of the three; who holds one has no business role.

    Raises:
        HoldsAnotherAdministrator, AdministratorHasBusiness.
    """
    for role in (Role(value) for value in held):
        both = {role, wanted}
        details: dict[str, Any] = {"person": name, "held": role.label, "wanted": wanted.label}
        if role != wanted and both <= THREE_ADMINISTRATORS:
            raise errors.HoldsAnotherAdministrator(**details)
        if len(both & THREE_ADMINISTRATORS) == 1 and len(both) == 2:
            raise errors.AdministratorHasBusiness(**details)


def may_hold(held: Iterable[Role | str], wanted: Role) -> bool:
    try:
        check_may_hold("", held, wanted)
    except (errors.HoldsAnotherAdministrator, errors.AdministratorHasBusiness):
        return False
    return True


def check_term(starts_on: date, ends_on: date | None, today: date) -> None:
    """An end comes after the beginning and after today.

    Raises:
        PostDates: it does not.
    """
    if ends_on is not None and (ends_on <= starts_on or ends_on <= today):
        raise errors.PostDates(starts_on=starts_on.isoformat(), ends_on=ends_on.isoformat())


def check_contract(employer: str, valid_until: date | None, today: date) -> None:
    """政务数据共享条例 第三十六条: an outsourced person's account is limited in time.

    Raises:
        ContractorWithoutEnd: no end, or one in the past.
    """
    if (employer and valid_until is None) or (valid_until is not None and valid_until < today):
        raise errors.ContractorWithoutEnd


def check_may_reset_password(by: Post | None, roles: Iterable[Role | str]) -> None:
    """The system administrator resets passwords, but never those of the other two administrators.

    Raises:
        NotAdministrator, PasswordSeparated.
    """
    check_is(Role.SYSTEM_ADMINISTRATOR, by)
    if by is not None and {Role(role) for role in roles} & (THREE_ADMINISTRATORS - {Role.SYSTEM_ADMINISTRATOR}):
        raise errors.PasswordSeparated


def check_may_keep_applications(by: Post | None, organisation: Organisation) -> None:
    """Registering and suspending an application: the organisation's own people who work with it.

    Raises:
        NotAdministrator: another organisation's, or a role that does not.
    """
    if by is None or (by.role in APPLICATION_KEEPERS and by.organisation_id == organisation.pk):
        return
    raise errors.NotAdministrator(role=Role.DEVELOPER.label)


def may_keep_applications(by: Post, organisation: Organisation) -> bool:
    return by.role in APPLICATION_KEEPERS and by.organisation_id == organisation.pk
