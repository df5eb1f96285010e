"""谁查了我: what of a person was asked for and disclosed, from the commitments that gateways keep with each call.

A person's number never comes here: `actions.disclosures.disclosures_of` turns it into commitments and forgets it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import QuerySet

from jinqiao.accounts.models import Application, Organisation
from jinqiao.exchange.models import Call
from jinqiao.exchange.queries.calls import midnight
from jinqiao.kernel.contracts.evidence import RECEIPT
from jinqiao.sharing.models import Grant

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Period:
    """Days of China, both included; open where None."""

    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One call about the person. `items` are the names of the data items asked for, `found` whether there was an answer with rows."""

    at: datetime
    call_id: str
    consumer: str
    provider: str
    application: str
    entry: str
    purpose: str
    basis: str
    case_number: str
    items: tuple[str, ...]
    found: bool


@dataclass(frozen=True, slots=True)
class Disclosures:
    """`refused` counts calls that gave nothing away; `more` says that there are more than are listed."""

    commitments: tuple[str, ...]
    period: Period
    calls: tuple[Disclosure, ...]
    refused: int
    more: bool


def disclosed(commitments: Iterable[str], period: Period) -> Disclosures:
    """Calls about whom the commitments stand for: when, which department and application, for what purpose, on which basis, which
    items; newest first."""
    known = tuple(commitments)
    calls = _calls(known, period)
    listed = list(calls.filter(outcome="ok")[: MOST + 1])
    return Disclosures(known, period, _told(listed[:MOST]), calls.exclude(outcome="ok").count(), len(listed) > MOST)


def _calls(commitments: tuple[str, ...], period: Period) -> QuerySet[Call]:
    calls = Call.objects.filter(subjects__commitment__in=commitments, environment="production")
    calls = calls.exclude(operation=RECEIPT)
    if period.since is not None:
        calls = calls.filter(subjects__at__gte=midnight(period.since), at__gte=midnight(period.since))
    if period.until is not None:
        calls = calls.filter(at__lt=midnight(period.until) + timedelta(days=1))
    return calls.distinct().order_by("-at", "-id")


def _told(calls: list[Call]) -> tuple[Disclosure, ...]:
    grants = {
        grant.number: grant
        for grant in Grant.objects.filter(number__in={call.grant_number for call in calls}).select_related(
            "request", "version"
        )
    }
    applications = dict(
        Application.objects.filter(number__in={call.application for call in calls}).values_list("number", "name")
    )
    codes = {code for call in calls for code in (call.consumer, call.provider)}
    names = dict(Organisation.objects.filter(credit_code__in=codes).values_list("credit_code", "name"))
    return tuple(_one(call, grants.get(call.grant_number), applications, names) for call in calls)


def _one(call: Call, grant: Grant | None, applications: dict[str, str], names: dict[str, str]) -> Disclosure:
    return Disclosure(
        at=call.at,
        call_id=call.call_id,
        consumer=names.get(call.consumer, call.consumer),
        provider=names.get(call.provider, call.provider),
        application=applications.get(call.application, call.application),
        entry=grant.version.name if grant else call.service,
        purpose=call.purpose,
        basis=grant.request.basis if grant else "",
        case_number=call.case_number,
        items=item_names(call, grant),
        found=call.rows > 0,
    )


def item_names(call: Call, grant: Grant | None) -> tuple[str, ...]:
    """Names of the items asked for; all granted ones where the record is past its time and only the grant still says."""
    known = {item["code"]: item["name"] for item in grant.items} if grant else {}
    asked = (call.record or {}).get("items")
    if asked is None:
        return tuple(known.values())
    return tuple(known.get(code, code) for code in asked)
