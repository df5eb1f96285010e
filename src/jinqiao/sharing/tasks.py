"""What the worker does each day: grants that are over, and what is owed and late."""

import logging
from datetime import timedelta

from jinqiao.kernel import moments
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.sharing import queries
from jinqiao.sharing.actions import expire_grant
from jinqiao.sharing.actions.reminders import remind_late_provision, remind_late_reply, remind_of_ending

ENDING_WITHIN = timedelta(days=30)
"""How long before its last day the consumer is told that a grant ends."""

_log = logging.getLogger(__name__)


def expire_grants() -> int:
    """Mark every grant whose last day is over; each in its own transaction, so that one failure holds up no other."""
    expired = 0
    for grant in queries.grants_past_their_end(moments.today()):
        try:
            expired += expire_grant(grant) is not None
        except JinqiaoError as problem:
            _log.warning("grant %s could not be expired: %s", grant.number, problem.code)
    return expired


def remind_due() -> int:
    """Open a to-do, once each, for replies and data that are late and for grants about to end; returns how many."""
    today = moments.today()
    opened = sum(remind_late_reply(request, today=today) for request in queries.unanswered())
    opened += sum(remind_late_provision(grant, today=today) for grant in queries.unprovided())
    opened += sum(remind_of_ending(grant) for grant in queries.grants_ending(today, today + ENDING_WITHIN))
    return opened
