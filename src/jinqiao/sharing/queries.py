"""Reads of requests and grants that several callers share."""

from datetime import date

from django.db.models import Q, QuerySet

from jinqiao.accounts import queries as accounts
from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.audit.trail import Subject, subject
from jinqiao.kernel import moments
from jinqiao.kernel.rulesets import Article, ruleset
from jinqiao.sharing.enums import GrantState, RequestState
from jinqiao.sharing.errors import GrantMissing, RequestMissing
from jinqiao.sharing.models import Decision, Grant, SharingRequest
from jinqiao.sharing.rules import STAFF
from jinqiao.sharing.terms import grant_digest
from jinqiao.workflow import queries as workflow
from jinqiao.workflow.enums import ClockState

_OWN = STAFF | {Role.HEAD, Role.DEVELOPER}
_ALL = frozenset({Role.BUREAU, Role.AUDITOR})


def about_request(request: SharingRequest) -> Subject:
    return subject(request, f"{request.number} {request.version.name}")


def about_grant(grant: Grant) -> Subject:
    return subject(grant, f"{grant.number} {grant.version.name}")


def requests() -> QuerySet[SharingRequest]:
    return SharingRequest.objects.select_related("entry", "version", "consumer", "provider")


def requests_visible_to(post: Post) -> QuerySet[SharingRequest]:
    """The bureau and the auditor see all that was handed in; a department its own, and what has reached it."""
    if post.role in _ALL:
        return requests().filter(Q(submitted_at__isnull=False) | Q(consumer=post.organisation))
    if post.role in _OWN:
        return requests().filter(
            Q(consumer=post.organisation) | Q(provider=post.organisation, received_at__isnull=False)
        )
    return requests().none()


def request_visible_to(post: Post, pk: int) -> SharingRequest:
    """Raises `RequestMissing` also where it exists but may not be seen: its existence is nobody else's business."""
    found = requests_visible_to(post).filter(pk=pk).first()
    if found is None:
        raise RequestMissing
    return found


def grants() -> QuerySet[Grant]:
    return Grant.objects.select_related("request", "entry", "version", "provider", "consumer")


def grants_visible_to(post: Post) -> QuerySet[Grant]:
    if post.role in _ALL:
        return grants()
    if post.role in _OWN:
        return grants().filter(Q(consumer=post.organisation) | Q(provider=post.organisation))
    return grants().none()


def grant_visible_to(post: Post, pk: int) -> Grant:
    found = grants_visible_to(post).filter(pk=pk).first()
    if found is None:
        raise GrantMissing
    return found


def grants_past_their_end(today: date) -> QuerySet[Grant]:
    """Grants whose last day is over but whose state does not say so yet."""
    return grants().filter(state__in=[GrantState.ACTIVE, GrantState.SUSPENDED], valid_until__lt=today).order_by("id")


def grants_ending(first: date, last: date) -> QuerySet[Grant]:
    """Running grants whose last day lies between the two, both included."""
    return grants().filter(state=GrantState.ACTIVE, valid_until__gte=first, valid_until__lte=last).order_by("id")


def live_grants(on: date) -> QuerySet[Grant]:
    """Grants that let data move on that day."""
    return grants().filter(state=GrantState.ACTIVE, valid_from__lte=on, valid_until__gte=on).order_by("id")


def running_grant(request: SharingRequest) -> Grant | None:
    """The grant that the consumer already holds on the same entry in the same mode, for comparison."""
    return (
        grants()
        .filter(
            entry=request.entry,
            consumer=request.consumer,
            mode=request.mode,
            state__in=[GrantState.ACTIVE, GrantState.SUSPENDED],
        )
        .exclude(request=request)
        .order_by("-id")
        .first()
    )


def is_unaltered(grant: Grant) -> bool:
    """Whether the terms still have the digest they were granted with."""
    return grant_digest(grant) == grant.digest


def unanswered() -> QuerySet[SharingRequest]:
    """Requests whose reply is still owed by the provider."""
    return requests().filter(state__in=[RequestState.AWAITING_REPLY, RequestState.REPLY_APPROVAL]).order_by("id")


def authority_for(provider: Organisation) -> Organisation | None:
    """The authority of the same level as the provider, else of the nearest level above."""
    return accounts.authority_of(provider.region)


def unprovided() -> QuerySet[Grant]:
    """Running grants under which no data have reached the consumer yet."""
    return grants().filter(state=GrantState.ACTIVE, provided_at__isnull=True).order_by("id")


def refusal_article(request: SharingRequest) -> Article | None:
    """The article that the reply's refusal cites; None where nothing is refused."""
    decision = Decision.objects.filter(request=request).first()
    if decision is None or not decision.article:
        return None
    return ruleset(request.rule_set).article(decision.article)


def extension_days_possible(request: SharingRequest) -> int:
    """How many more working days the authority may consent to for the reply; 0 where it cannot be extended (any more)."""
    if request.extension_asked_at is not None:
        return 0
    clock = (
        workflow.clocks_of(about_request(request))
        .filter(key__startswith="request.reply.")
        .exclude(state=ClockState.STOPPED)
        .last()
    )
    if clock is None or (clock.due_on is not None and clock.due_on < moments.today()):
        return 0
    return ruleset(request.rule_set).clock(clock.key).extension_days
