"""Which tasks a source concerns that is to lead to another place."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jinqiao.exchange.connections import DEFAULT_PORTS, SERVERS, WITH_ACCOUNT, place_of
from jinqiao.exchange.enums import TaskState
from jinqiao.exchange.models import Binding, DataSource, ExchangeTask
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel.contracts.exchange import CopyMode
from jinqiao.kernel.contracts.tables import Connection


def changed_connection(
    source: DataSource,
    *,
    database: str,
    host: str = "",
    port: int | None = None,
    user: str = "",
    options: Mapping[str, Any] | None = None,
) -> Connection:
    """How the node reaches a source once it is changed so: what its engine does not have, and options that are not given, stay."""
    way = replace(connection(source), database=database)
    if way.engine in SERVERS:
        way = replace(way, host=host, port=port or DEFAULT_PORTS[way.engine])
    if way.engine in WITH_ACCOUNT:
        way = replace(way, user=user)
    return way if options is None else replace(way, options=dict(options))


def reading_from(source: DataSource) -> list[int]:
    """Keys of the tasks that read a source, in their order."""
    tasks = ExchangeTask.objects.filter(grant__entry__binding__source=source)
    return list(tasks.order_by("id").values_list("pk", flat=True))


def delivering_to(source: DataSource) -> list[int]:
    """Keys of the tasks that deliver to a source, in their order."""
    return list(ExchangeTask.objects.filter(target=source).order_by("id").values_list("pk", flat=True))


def leads_elsewhere(source: DataSource, to: Connection) -> bool:
    """Whether it is another place, for one of its tables at least (those of an HTTP source are interfaces of their own)."""
    tables = Binding.objects.filter(source=source).values_list("table", flat=True)
    return any(place_of(connection(source), table) != place_of(to, table) for table in ("", *tables))


def reads_elsewhere(task: ExchangeTask, source: DataSource, to: Connection) -> bool:
    """Whether the table that a task reads at a source is another one at `to`."""
    table = Binding.objects.filter(entry_id=task.grant.entry_id).values_list("table", flat=True).first() or ""
    return place_of(connection(source), table) != place_of(to, table)


def tasks_to_ask_of(source: DataSource, to: Connection) -> list[ExchangeTask]:
    """Tasks for which somebody must say whether the same data stands at the other place: they go on from where they came to."""
    if not leads_elsewhere(source, to):
        return []
    is_moved = place_of(connection(source)) != place_of(to)
    tasks = ExchangeTask.objects.filter(pk__in=[*reading_from(source), *delivering_to(source)])
    tasks = tasks.exclude(state=TaskState.ENDED).select_related("grant").order_by("id")
    return [
        task
        for task in tasks
        if (task.cursor or task.mode == CopyMode.LOG)
        and (is_moved if task.target_id == source.pk else reads_elsewhere(task, source, to))
    ]
