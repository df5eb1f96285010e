"""The consumer of an unused grant is asked whether it is still needed; a grant that is used again asks no more."""

from django.db import transaction
from django.db.models import Q

from jinqiao.audit import trail
from jinqiao.exchange.queries.unused import unused_grants, unused_since
from jinqiao.sharing import queries as sharing
from jinqiao.sharing.actions.desk import open_for_grant, staff_role
from jinqiao.sharing.models import Grant
from jinqiao.workflow import actions as workflow
from jinqiao.workflow.models import ToDo

UNUSED = "exchange.grant.unused"


def remind_unused() -> int:
    """Put each unused grant on its consumer's desk (not again within thirty days after it was dealt with), take off what is used again; gives how many are new."""
    unused = {grant.pk: grant for grant in unused_grants().select_related("consumer", "version")}
    waiting = ToDo.objects.filter(kind=UNUSED, done_at=None).values_list("about_id", flat=True)
    for grant in Grant.objects.filter(pk__in={int(pk) for pk in waiting} - unused.keys()).select_related("version"):
        workflow.finish_todos(sharing.about_grant(grant), by=None, kinds=[UNUSED])
    return sum(_remind(grant) for grant in unused.values())


@transaction.atomic
def _remind(grant: Grant) -> bool:
    about = sharing.about_grant(grant)
    lately = Q(done_at=None) | Q(done_at__gte=unused_since())
    if ToDo.objects.filter(lately, kind=UNUSED, about_type=about.type, about_id=about.id).exists():
        return False
    open_for_grant(grant, UNUSED, "核对30天未用的授权", grant.consumer, staff_role(grant.consumer))
    trail.record("exchange.grant.unused", by=trail.SYSTEM, about=about)
    return True
