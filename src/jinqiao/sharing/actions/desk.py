"""Who has to act next on a request or a grant, as to-dos; locks on their rows.

Titles are records in the language of the files, Chinese, whoever's page they were opened from.
"""

from jinqiao.accounts import queries as accounts
from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Person
from jinqiao.kernel import moments
from jinqiao.kernel.rulesets import RuleSet, ruleset
from jinqiao.sharing import queries
from jinqiao.sharing.models import Grant, SharingRequest
from jinqiao.workflow import actions as workflow
from jinqiao.workflow import queries as desk
from jinqiao.workflow.models import Clock, ToDo

REPLY_CLOCKS = ("request.reply.unconditional", "request.reply.conditional")
PAPERS_CLOCK = "request.papers"
PROVISION_CLOCK = "grant.provision"

_STAFF_IN_ORDER = (Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.COUNTY_CLERK)


def locked_request(request: SharingRequest) -> SharingRequest:
    """The request as it stands now, its row locked until the transaction ends."""
    return (
        SharingRequest.objects.select_for_update(of=("self",))
        .select_related(
            "entry",
            "version",
            "consumer__region",
            "provider__region",
            "created_by__person",
            "edited_by__person",
            "submitted_by__person",
            "approved_by__person",
        )
        .get(pk=request.pk)
    )


def locked_grant(grant: Grant) -> Grant:
    return (
        Grant.objects.select_for_update(of=("self",))
        .select_related("request", "entry", "version", "consumer__region", "provider__region", "replaces")
        .get(pk=grant.pk)
    )


def staff_role(organisation: Organisation) -> Role:
    """The role whose desk a department's casework goes to: the first of its staff roles that somebody holds."""
    return next((role for role in _STAFF_IN_ORDER if accounts.holders(organisation, role).exists()), Role.OPERATOR)


def open_for_request(
    request: SharingRequest,
    kind: str,
    title: str,
    organisation: Organisation,
    role: Role | str,
    *,
    person: Person | None = None,
    clock: Clock | None = None,
) -> ToDo:
    return workflow.open_todo(
        kind=kind,
        title=f"{title} {request.number}：{request.version.name}",
        organisation=organisation,
        role=role,
        about=queries.about_request(request),
        person=person,
        clock=clock,
    )


def open_for_grant(
    grant: Grant, kind: str, title: str, organisation: Organisation, role: Role | str, *, clock: Clock | None = None
) -> ToDo:
    return workflow.open_todo(
        kind=kind,
        title=f"{title} {grant.number}：{grant.version.name}",
        organisation=organisation,
        role=role,
        about=queries.about_grant(grant),
        clock=clock,
    )


def reply_clock(request: SharingRequest) -> Clock | None:
    """The clock that runs (or is paused) on the provider's reply."""
    about = queries.about_request(request)
    for key in REPLY_CLOCKS:
        clock = desk.running_clock(about, key)
        if clock is not None:
            return clock
    return None


def stop_clocks(request: SharingRequest) -> None:
    """The case is closed or goes on without them."""
    about = queries.about_request(request)
    for key in (*REPLY_CLOCKS, PAPERS_CLOCK):
        clock = desk.running_clock(about, key)
        if clock is not None:
            workflow.stop_clock(clock, on=moments.today())


def rule_set_of(request: SharingRequest) -> RuleSet:
    return ruleset(request.rule_set)
