"""Regions, organisations and their sections: kept by the system administrator."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q

from jinqiao.accounts import errors, rules
from jinqiao.accounts.actions.acting import actor_of
from jinqiao.accounts.enums import OrganisationKind, RegionLevel, Role
from jinqiao.accounts.models import Organisation, Post, Region, Section
from jinqiao.accounts.queries import live
from jinqiao.audit import trail
from jinqiao.kernel import moments
from jinqiao.kernel.identifiers.credit_code import UnifiedSocialCreditCode
from jinqiao.kernel.identifiers.divisions import DivisionCode


@transaction.atomic
def add_region(
    *, by: Post | None, code: str, name: str, level: RegionLevel | str, parent: Region | None = None
) -> Region:
    """Register an administrative division by its code (6, 9 or 12 digits).

    Raises:
        RegionStands: the code is registered; leaves of `identifier.*` where it is none.
    """
    rules.check_is(Role.SYSTEM_ADMINISTRATOR, by)
    if len(code) == 6:
        DivisionCode.parse(code)
    if Region.objects.filter(code=code).exists():
        raise errors.RegionStands(code=code)
    region = Region.objects.create(code=code, name=name.strip(), level=level, parent=parent)
    trail.record("accounts.region.add", by=actor_of(by), about=trail.subject(region), code=code)
    return region


@transaction.atomic
def add_organisation(
    *,
    by: Post | None,
    credit_code: str,
    name: str,
    short_name: str,
    kind: OrganisationKind | str,
    region: Region,
    parent: Organisation | None = None,
    is_authority: bool = False,
    position: int = 0,
) -> Organisation:
    """Register a body by its unified social credit code (GB 32100).

    Raises:
        OrganisationStands: code or full name is taken; AuthorityStands: the region has an authority;
        leaves of `identifier.*` where the code is none.
    """
    rules.check_is(Role.SYSTEM_ADMINISTRATOR, by)
    code = UnifiedSocialCreditCode.parse(credit_code).value
    name = name.strip()
    taken = Organisation.objects.filter(Q(credit_code=code) | Q(name=name)).first()
    if taken is not None:
        raise errors.OrganisationStands(name=taken.name)
    if is_authority:
        _check_only_authority(region, None)
    organisation = Organisation.objects.create(
        credit_code=code,
        name=name,
        short_name=short_name.strip() or name,
        kind=kind,
        region=region,
        parent=parent,
        is_authority=is_authority,
        position=position,
    )
    trail.record("accounts.organisation.add", by=actor_of(by), about=trail.subject(organisation), credit_code=code)
    return organisation


@transaction.atomic
def edit_organisation(
    organisation: Organisation,
    *,
    by: Post | None,
    name: str,
    short_name: str,
    kind: OrganisationKind | str,
    parent: Organisation | None,
    is_authority: bool,
    position: int,
) -> Organisation:
    """Change what describes a body; its credit code and region stay.

    Raises:
        OrganisationStands, AuthorityStands, ParentRing.
    """
    rules.check_is(Role.SYSTEM_ADMINISTRATOR, by)
    organisation = Organisation.objects.select_for_update(of=("self",)).select_related("region").get(pk=organisation.pk)
    values = {
        "name": name.strip(),
        "short_name": short_name.strip() or name.strip(),
        "kind": str(kind),
        "parent": parent,
        "is_authority": is_authority,
        "position": position,
    }
    if Organisation.objects.filter(name=values["name"]).exclude(pk=organisation.pk).exists():
        raise errors.OrganisationStands(name=values["name"])
    if parent is not None and _stands_above(organisation, parent):
        raise errors.ParentRing(name=organisation.name, parent=parent.name)
    if is_authority:
        _check_only_authority(organisation.region, organisation)
    changed = sorted(field for field, value in values.items() if getattr(organisation, field) != value)
    for field in changed:
        setattr(organisation, field, values[field])
    if changed:
        organisation.save(update_fields=changed)
        trail.record("accounts.organisation.edit", by=actor_of(by), about=trail.subject(organisation), fields=changed)
    return organisation


@transaction.atomic
def close_organisation(organisation: Organisation, *, by: Post | None) -> Organisation:
    """Take a body out of use once nobody holds a post there.

    Raises:
        OrganisationInUse: posts are live.
    """
    rules.check_is(Role.SYSTEM_ADMINISTRATOR, by)
    organisation = Organisation.objects.select_for_update().get(pk=organisation.pk)
    posts = Post.objects.filter(live(moments.today()), organisation=organisation).count()
    if posts:
        raise errors.OrganisationInUse(name=organisation.name, posts=posts)
    organisation.is_active = False
    organisation.save(update_fields=["is_active"])
    trail.record("accounts.organisation.close", by=actor_of(by), about=trail.subject(organisation))
    return organisation


@transaction.atomic
def reopen_organisation(organisation: Organisation, *, by: Post | None) -> Organisation:
    rules.check_is(Role.SYSTEM_ADMINISTRATOR, by)
    organisation = Organisation.objects.select_for_update().get(pk=organisation.pk)
    organisation.is_active = True
    organisation.save(update_fields=["is_active"])
    trail.record("accounts.organisation.reopen", by=actor_of(by), about=trail.subject(organisation))
    return organisation


@transaction.atomic
def add_section(*, by: Post | None, organisation: Organisation, name: str) -> Section:
    """Add an inner section (科室).

    Raises:
        SectionStands: there is one of that name.
    """
    rules.check_is(Role.SYSTEM_ADMINISTRATOR, by)
    name = name.strip()
    if organisation.sections.filter(name=name).exists():
        raise errors.SectionStands(name=name, organisation=organisation.short_name)
    section = Section.objects.create(organisation=organisation, name=name)
    trail.record(
        "accounts.section.add", by=actor_of(by), about=trail.subject(organisation), section=section.pk, name=name
    )
    return section


def _check_only_authority(region: Region, besides: Organisation | None) -> None:
    others = Organisation.objects.filter(region=region, is_authority=True, is_active=True)
    if besides is not None:
        others = others.exclude(pk=besides.pk)
    other = others.first()
    if other is not None:
        raise errors.AuthorityStands(region=region.name, name=other.name)


def _stands_above(organisation: Organisation, parent: Organisation) -> bool:
    """Whether making `parent` the parent would close a ring."""
    above: Organisation | None = parent
    while above is not None:
        if above.pk == organisation.pk:
            return True
        above = above.parent
    return False
