"""Grants that nobody uses: running for thirty days and more, and in the last thirty neither an answered call nor a reconciled run."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, OuterRef, Q, QuerySet, Subquery

from jinqiao.accounts.models import Post
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import Call, Run
from jinqiao.exchange.queries.calls import midnight
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import RECEIPT
from jinqiao.sharing.enums import GrantState
from jinqiao.sharing.models import Grant
from jinqiao.sharing.queries import grants_visible_to

DAYS = 30


def unused_since() -> datetime:
    """Midnight in China, `DAYS` days ago, today included."""
    return midnight(moments.today() - timedelta(days=DAYS - 1))


def unused_grants(since: datetime | None = None) -> QuerySet[Grant]:
    """All of them, by interface and by exchange. Sandbox calls and receipts are no use."""
    first = since or unused_since()
    called = _answered().filter(at__gte=first).values("grant_number")
    moved = Run.objects.filter(finished_at__gte=first, state=RunState.RECONCILED).values("task__grant_id")
    return (
        Grant.objects.filter(state=GrantState.ACTIVE, created_at__lt=first)
        .exclude(number__in=called)
        .exclude(pk__in=moved)
    )


def _answered() -> QuerySet[Call]:
    return Call.objects.filter(outcome="ok", environment="production").exclude(operation=RECEIPT).order_by()


def unused_found(
    post: Post, *, mode: str = "", provider: str = "", consumer: str = "", text: str = ""
) -> QuerySet[Any]:
    """Those that the post may see, the oldest first, with `last_call` and `last_run`: when they were used before, if ever."""
    calls = _answered().filter(grant_number=OuterRef("number")).values("grant_number").annotate(at=Max("at"))
    runs = Run.objects.filter(task__grant=OuterRef("pk"), state=RunState.RECONCILED).order_by()
    last_run = runs.values("task__grant").annotate(at=Max("finished_at")).values("at")
    found = grants_visible_to(post).filter(pk__in=unused_grants().values("pk"))
    exact = {"mode": mode, "provider__credit_code": provider, "consumer__credit_code": consumer}
    found = found.filter(**{name: value for name, value in exact.items() if value})
    if text:
        found = found.filter(Q(number__icontains=text) | Q(version__name__icontains=text))
    return found.annotate(last_call=Subquery(calls.values("at")), last_run=Subquery(last_run)).order_by(
        "created_at", "pk"
    )
