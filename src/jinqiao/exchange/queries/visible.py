"""What of movement a post may see: its own department's, as provider or as consumer; the bureau and the auditor see all."""

from datetime import datetime
from typing import Any

from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.catalogue.models import CatalogueEntry
from jinqiao.exchange.models import Call, DataSource, ExchangeTask, Node, QueryService, Run

SEE_ALL: frozenset[Role] = frozenset({Role.BUREAU, Role.AUDITOR})


def sees_all(post: Post) -> bool:
    return post.role in SEE_ALL


def nodes_visible_to(post: Post) -> QuerySet[Node]:
    nodes = Node.objects.select_related("organisation").annotate(source_count=Count("data_sources")).order_by("number")
    return nodes if sees_all(post) else nodes.filter(organisation_id=post.organisation_id)


def sources_visible_to(post: Post) -> QuerySet[Any]:  # data sources with `table_count`
    sources = (
        DataSource.objects.select_related("organisation", "node", "sealed_for_gateway")
        .annotate(table_count=Count("tables"))
        .order_by("number")
    )
    return sources if sees_all(post) else sources.filter(organisation_id=post.organisation_id)


def _party(post: Post, prefix: str) -> Q:
    organisation = post.organisation_id
    return Q(**{f"{prefix}provider_id": organisation}) | Q(**{f"{prefix}consumer_id": organisation})


def tasks_visible_to(post: Post) -> QuerySet[Any]:
    """Tasks with state, start and key of the last run (`last_state`, `last_at`, `last_run`)."""
    last = Run.objects.filter(task=OuterRef("pk")).order_by("-id")
    tasks = (
        ExchangeTask.objects.select_related(
            "grant__provider", "grant__consumer", "grant__entry", "grant__version", "target__node"
        )
        .annotate(
            last_state=Subquery(last.values("state")[:1]),
            last_at=Subquery(last.values("queued_at")[:1]),
            last_run=Subquery(last.values("pk")[:1]),
        )
        .order_by("-id")
    )
    return tasks if sees_all(post) else tasks.filter(_party(post, "grant__"))


def runs_visible_to(post: Post) -> QuerySet[Run]:
    runs = Run.objects.select_related(
        "task__grant__provider", "task__grant__consumer", "task__grant__version", "task__target__node"
    ).order_by("-id")
    return runs if sees_all(post) else runs.filter(_party(post, "task__grant__"))


def services_visible_to(post: Post) -> QuerySet[Any]:
    """Services with `application_count`. A developer sees what his organisation may call, not what it provides."""
    services = (
        QueryService.objects.select_related(
            "grant__provider", "grant__consumer", "grant__entry", "grant__version", "gateway"
        )
        .annotate(application_count=Count("applications", distinct=True))
        .order_by("-id")
    )
    if sees_all(post):
        return services
    if post.role == Role.DEVELOPER:
        return services.filter(grant__consumer_id=post.organisation_id)
    return services.filter(_party(post, "grant__"))


def calls_visible_to(post: Post) -> QuerySet[Call]:
    calls = Call.objects.select_related("gateway").order_by("-at", "-id")
    if sees_all(post):
        return calls
    code = post.organisation.credit_code
    if post.role == Role.DEVELOPER:
        return calls.filter(consumer=code)
    return calls.filter(Q(consumer=code) | Q(provider=code))


def entries_to_bind(post: Post) -> QuerySet[Any]:
    """Published entries of the post's organisation (all for who sees all), with binding, `grants_made` and `item_count`."""
    entries = (
        CatalogueEntry.objects.filter(live_version__isnull=False, withdrawn_at=None)
        .select_related("live_version", "provider", "binding__source")
        .annotate(grants_made=Count("grants", distinct=True), item_count=Count("live_version__items", distinct=True))
        .order_by("code")
    )
    return entries if sees_all(post) else entries.filter(provider_id=post.organisation_id)


def last_call_at(service: QueryService) -> datetime | None:
    """When the service was called last; None where never."""
    at: datetime | None = Call.objects.filter(service=service.number).aggregate(at=Max("at"))["at"]
    return at
