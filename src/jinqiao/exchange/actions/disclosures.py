"""A person's right of access (个人信息保护法 第四十五条), answered by the authority; the trail keeps commitments, never a number."""

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.subjects import commitments_of
from jinqiao.exchange.oversight_errors import (
    DisclosureReferenceMissing,
    PersonNumberWrong,
)
from jinqiao.exchange.queries.disclosures import Disclosures, Period, disclosed
from jinqiao.kernel.identifiers.errors import IdentifierInvalid
from jinqiao.kernel.identifiers.resident_id import ResidentIdentityNumber

REFERENCE_LIMIT = 100


def commitments_for(number: str) -> tuple[str, ...]:
    """Raises PersonNumberWrong, which does not say what was typed."""
    try:
        value = ResidentIdentityNumber.parse(number).value
    except IdentifierInvalid as problem:
        raise PersonNumberWrong from problem
    return tuple(commitments_of(value))


def disclosures_of(number: str, period: Period) -> Disclosures:
    """谁查了我, of a person's number, which is neither kept nor logged nor returned. Whether somebody may ask is the caller's rule: ready
    for a page on which citizens ask about themselves. Raises PersonNumberWrong."""
    return disclosed(commitments_for(number), period)


@transaction.atomic
def tell_disclosures(number: str, period: Period, *, by: Post, reference: str) -> Disclosures:
    """What was asked about a person, for the request `reference` (number of the paper in which the person asked).

    Raises NotTheRightsDesk, PersonNumberWrong, DisclosureReferenceMissing.
    """
    rules.check_may_tell_disclosures(by)
    reference = reference.strip()
    if not reference or len(reference) > REFERENCE_LIMIT:
        raise DisclosureReferenceMissing(limit=REFERENCE_LIMIT)
    found = disclosures_of(number, period)
    _note(found, by, reference, "exchange.disclosure.tell")
    return found


@transaction.atomic
def export_disclosures(commitments: list[str], period: Period, *, by: Post, reference: str) -> Disclosures:
    """The same as a file, by the commitments of the page before it."""
    rules.check_may_tell_disclosures(by)
    found = disclosed(commitments, period)
    _note(found, by, reference, "exchange.disclosure.export")
    return found


def _note(found: Disclosures, by: Post, reference: str, action: str) -> None:
    trail.record(
        action,
        by=by.actor,
        reference=reference,
        commitments=list(found.commitments),
        since=found.period.since,
        until=found.period.until,
        calls=len(found.calls),
        refused=found.refused,
    )
