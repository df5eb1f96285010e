"""How much waits for a post: the figure beside 待办 in the navigation."""

from dataclasses import dataclass

from django.db.models import Count, Q

from jinqiao.accounts.models import Post
from jinqiao.kernel import moments
from jinqiao.workflow.enums import ClockState
from jinqiao.workflow.models import ToDo


@dataclass(frozen=True, slots=True)
class Waiting:
    """Open to-dos of a post, and how many of them are past their date."""

    count: int = 0
    late: int = 0


def open_todos_of(post: Post) -> Q:
    """What waits for whoever holds this role at this organisation, or for this person by name."""
    return Q(organisation=post.organisation_id, role=post.role, done_at__isnull=True) & (
        Q(person__isnull=True) | Q(person=post.person_id)
    )


def waiting_for(post: Post | None) -> Waiting:
    if post is None:
        return Waiting()
    late = Q(clock__state=ClockState.RUNNING, clock__due_on__lt=moments.today())
    found = ToDo.objects.filter(open_todos_of(post)).aggregate(count=Count("pk"), late=Count("pk", filter=late))
    return Waiting(**found)
