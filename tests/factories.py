"""Makers of regions, organisations, people, posts and applications. Each call makes a new one; no surprises, no randomness."""

import itertools
from datetime import date
from typing import Any

from jinqiao.accounts.enums import OrganisationKind, RegionLevel, Role
from jinqiao.accounts.models import Application, Organisation, Person, Post, Region, Section
from jinqiao.kernel import moments
from jinqiao.kernel.clocks import published_years
from jinqiao.workflow.models import CalendarDay, CalendarYear

PASSWORD = "correct-horse-42"

_counter = itertools.count(1)
_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_BODY_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


def credit_code(number: int, division: str = "620300") -> str:
    """A valid unified social credit code of a government body (11), by GB 32100 and GB 11714 check digits."""
    body = f"{number:08d}"
    rest = 11 - sum(int(digit) * weight for digit, weight in zip(body, _BODY_WEIGHTS, strict=True)) % 11
    stem = f"11{division}{body}{'X' if rest == 10 else 0 if rest == 11 else rest}"
    total = sum(_ALPHABET.index(sign) * weight for sign, weight in zip(stem, _WEIGHTS, strict=True))
    return stem + _ALPHABET[(31 - total % 31) % 31]


def make_region(
    code: str = "620300", name: str = "金昌市", level: str = RegionLevel.CITY, parent: Region | None = None
) -> Region:
    """The region with that code: made once, then the same one again."""
    region, _ = Region.objects.get_or_create(code=code, defaults={"name": name, "level": level, "parent": parent})
    return region


def make_organisation(name: str | None = None, **fields: Any) -> Organisation:
    number = next(_counter)
    name = name or f"金昌市第{number}局"
    values: dict[str, Any] = {
        "credit_code": credit_code(number),
        "name": name,
        "short_name": name.removeprefix("金昌市"),
        "kind": OrganisationKind.DEPARTMENT,
        "position": number,
        **fields,
    }
    if "region" not in values:
        values["region"] = make_region()
    return Organisation.objects.create(**values)


def make_authority(name: str = "金昌市数据局", **fields: Any) -> Organisation:
    """The body in charge of sharing (政务数据共享主管部门)."""
    return make_organisation(name, is_authority=True, **fields)


def make_section(organisation: Organisation | None = None, name: str | None = None) -> Section:
    return Section.objects.create(
        organisation=organisation or make_organisation(), name=name or f"第{next(_counter)}科"
    )


def make_person(name: str | None = None, **fields: Any) -> Person:
    """Somebody who can sign in with `PASSWORD` and need not change it."""
    number = next(_counter)
    fields.setdefault("must_change_password", False)
    username = fields.pop("username", f"person{number}")
    password = fields.pop("password", PASSWORD)
    return Person.objects.create_user(username, name or f"人员{number}", password, **fields)


def make_post(
    role: Role | str = Role.OPERATOR,
    organisation: Organisation | None = None,
    person: Person | None = None,
    *,
    name: str | None = None,
    section: Section | None = None,
    starts_on: date | None = None,
    ends_on: date | None = None,
) -> Post:
    """A live post; a new person and a new organisation where none is given."""
    return Post.objects.create(
        person=person or make_person(name),
        organisation=organisation or make_organisation(),
        section=section,
        role=role,
        starts_on=starts_on or date(2026, 1, 1),
        ends_on=ends_on,
    )


def make_application(
    organisation: Organisation | None = None, contact: Person | None = None, **fields: Any
) -> Application:
    number = next(_counter)
    organisation = organisation or make_organisation()
    return Application.objects.create(
        organisation=organisation,
        contact=contact or make_post(Role.DEVELOPER, organisation).person,
        number=fields.pop("number", f"app-{number:06d}"),
        name=fields.pop("name", f"应用{number}"),
        created_at=fields.pop("created_at", moments.now()),
        **fields,
    )


def seed_calendar() -> None:
    """The published years, for tests whose database was flushed (transaction=True) and lost what migrations entered."""
    for published in published_years():
        year, made = CalendarYear.objects.get_or_create(
            year=published.year, defaults={"notice": f"{published.year}年放假安排", "entered_at": moments.now()}
        )
        if made:
            CalendarDay.objects.bulk_create(
                CalendarDay(on=day.on, kind=day.kind, name=day.name, year=year) for day in published.days
            )
