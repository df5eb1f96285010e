"""Reminders as to-dos: the provider's head and the authority hear of what is late, the consumer of a grant about to end."""

from datetime import date

from django.db import transaction

from jinqiao.accounts.enums import Role
from jinqiao.audit import trail
from jinqiao.audit.trail import SYSTEM
from jinqiao.sharing import queries
from jinqiao.sharing.actions import desk
from jinqiao.sharing.models import Grant, SharingRequest
from jinqiao.workflow import queries as workflow_queries
from jinqiao.workflow.enums import ClockState
from jinqiao.workflow.models import ToDo


@transaction.atomic
def remind_late_reply(request: SharingRequest, *, today: date) -> bool:
    """Once per request: its reply clock has run out."""
    request = desk.locked_request(request)
    clock = desk.reply_clock(request)
    if clock is None or clock.state != ClockState.RUNNING or clock.due_on is None or clock.due_on >= today:
        return False
    about = queries.about_request(request)
    if _reminded("sharing.reply.overdue", about):
        return False
    desk.open_for_request(request, "sharing.reply.overdue", "答复已逾期", request.provider, Role.HEAD, clock=clock)
    authority = queries.authority_for(request.provider)
    if authority is not None:
        desk.open_for_request(request, "sharing.reply.overdue", "督办逾期答复", authority, Role.BUREAU, clock=clock)
    trail.record("sharing.request.overdue", by=SYSTEM, about=about, due_on=clock.due_on)
    return True


@transaction.atomic
def remind_late_provision(grant: Grant, *, today: date) -> bool:
    """Once per grant: data agreed to have not reached the consumer within the clock of provision (第二十二条)."""
    grant = desk.locked_grant(grant)
    about = queries.about_grant(grant)
    clock = workflow_queries.running_clock(about, desk.PROVISION_CLOCK)
    if (
        clock is None
        or clock.due_on is None
        or clock.due_on >= today
        or _reminded("sharing.grant.provision_overdue", about)
    ):
        return False
    desk.open_for_grant(
        grant, "sharing.grant.provision_overdue", "供给数据已逾期", grant.provider, Role.HEAD, clock=clock
    )
    trail.record("sharing.grant.provision_overdue", by=SYSTEM, about=about, due_on=clock.due_on)
    return True


@transaction.atomic
def remind_of_ending(grant: Grant) -> bool:
    """Once per grant: its last day comes near; whoever still needs it asks anew in time."""
    grant = desk.locked_grant(grant)
    about = queries.about_grant(grant)
    if _reminded("sharing.grant.ending", about):
        return False
    desk.open_for_grant(grant, "sharing.grant.ending", "授权即将到期", grant.consumer, desk.staff_role(grant.consumer))
    return True


def _reminded(kind: str, about: trail.Subject) -> bool:
    return ToDo.objects.filter(kind=kind, about_type=about.type, about_id=about.id).exists()
