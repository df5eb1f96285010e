"""How a grant comes to be; called by the actions that may make one, inside their transaction."""

from collections.abc import Mapping, Sequence
from datetime import date

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.kernel import moments
from jinqiao.sharing import queries, rules, signals, terms
from jinqiao.sharing.actions import desk
from jinqiao.sharing.errors import ItemsBeyondRequest, ItemsNoLongerPublished, PeriodOver
from jinqiao.sharing.models import Grant, SharingRequest
from jinqiao.sharing.numbers import next_grant_number
from jinqiao.sharing.terms import Condition
from jinqiao.workflow import actions as workflow


def check_still_published(request: SharingRequest, codes: Sequence[str]) -> None:
    """What is granted must still be in the catalogue: the entry stands, and its live version has the items."""
    live = rules.check_published(request.entry)
    if live.pk != request.version_id and (gone := sorted(set(codes) - set(terms.items_of(live)))):
        raise ItemsNoLongerPublished(items="、".join(gone))


def make_grant(
    request: SharingRequest,
    *,
    by: Post,
    items: Sequence[str],
    masks: Mapping[str, str],
    row_filter: Sequence[Condition],
    valid_until: date,
    replaces: Grant | None = None,
) -> Grant:
    """Freeze the agreed terms of a locked request into a grant, start the provider's clock of provision, tell the others."""
    if beyond := sorted(set(items) - set(request.items)):
        raise ItemsBeyondRequest(items="、".join(beyond))
    check_still_published(request, items)
    valid_from = max(request.use_from, moments.today())
    if valid_until < valid_from:
        raise PeriodOver(number=request.number, until=valid_until.isoformat())
    known = terms.items_of(request.version)
    grant = Grant(
        number=next_grant_number(request),
        request=request,
        replaces=replaces,
        entry=request.entry,
        version=request.version,
        provider=request.provider,
        consumer=request.consumer,
        mode=request.mode,
        items=terms.granted_items([code for code in known if code in set(items)], masks, known),
        row_filter=terms.joined_row_filters(request.row_filter, row_filter),
        purposes=request.purposes,
        case_number_required=request.case_number_required,
        valid_from=valid_from,
        valid_until=valid_until,
        created_at=moments.now(),
    )
    grant.digest = terms.grant_digest(grant)
    grant.save(force_insert=True)
    about = queries.about_grant(grant)
    trail.record(
        "sharing.grant.make", by=by.actor, about=about, request=request.number, items=len(items), digest=grant.digest
    )
    rule_set = desk.rule_set_of(request)
    owed = replaces is None or replaces.provided_at is None
    if owed and desk.PROVISION_CLOCK in rule_set.clocks:
        clock = workflow.start_clock(
            key=desk.PROVISION_CLOCK,
            about=about,
            organisation=grant.provider,
            rule_set=rule_set,
            started_on=request.decided_at.astimezone(moments.CHINA).date() if request.decided_at else moments.today(),
        )
        desk.open_for_grant(
            grant, "sharing.grant.provide", "供给数据", grant.provider, desk.staff_role(grant.provider), clock=clock
        )
    signals.grant_made.send(sender=Grant, grant=grant, by=by)
    return grant
