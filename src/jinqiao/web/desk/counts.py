"""How much waits for a post: the figure beside 待办 in the navigation."""

from dataclasses import dataclass

from django.db.models import Count, Q

from jinqiao.accounts.models import Post
from jinqiao.kernel import moments
from jinqiao.workflow import queries
from jinqiao.workflow.enums import ClockState


@dataclass(frozen=True, slots=True)
class Waiting:
    """Open to-dos of a post, and how many of them are past their date."""

    count: int = 0
    late: int = 0


def waiting_for(post: Post | None) -> Waiting:
    if post is None:
        return Waiting()
    late = Q(clock__state=ClockState.RUNNING, clock__due_on__lt=moments.today())
    found = queries.desk(post).order_by().aggregate(count=Count("pk"), late=Count("pk", filter=late))
    return Waiting(**found)
