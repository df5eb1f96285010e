"""Data sources: where a department's node finds its databases. Passwords are sealed at entry and never kept otherwise."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Q

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.commanding import cancel_waiting, command_node
from jinqiao.exchange.actions.nodes import gateway_for
from jinqiao.exchange.actions.platform import next_number, node_actor, public_identity
from jinqiao.exchange.actions.rebinding import lock_users, move_source
from jinqiao.exchange.actions.slots import left_slots, way_of
from jinqiao.exchange.connections import (
    DEFAULT_PORTS,
    NOT_WRITABLE,
    SERVERS,
    WITH_ACCOUNT,
    check_fields,
    checked_options,
    place_of,
)
from jinqiao.exchange.enums import NodeKind, NodeState, SourceState, TaskState
from jinqiao.exchange.errors import (
    NodeKindWrong,
    NodeOfAnotherOrganisation,
    NumberTaken,
    SourceInUse,
    SourceRetired,
    TargetKindWrong,
)
from jinqiao.exchange.models import (
    Binding,
    DataSource,
    ExchangeTask,
    Node,
    NodeCommand,
    QueryService,
    ReplicationSlot,
    SourceTable,
)
from jinqiao.exchange.queries.moving import changed_connection, leads_elsewhere
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.sharing.enums import GrantState


@transaction.atomic
def add_data_source(
    *,
    by: Post,
    node: Node,
    name: str,
    engine: Engine | str,
    database: str,
    host: str = "",
    port: int | None = None,
    user: str = "",
    password: str = "",
    is_writable: bool = False,
    number: str = "",
    options: Mapping[str, Any] | None = None,
) -> DataSource:
    """Register a database as its node reaches it, and let the node test it at once.

    Raises:
        NotYourSource, NodeOfAnotherOrganisation, NodeKindWrong: a department reaches its own databases by its own node.
        NodeNotRegistered: there is no key yet that the password could be sealed to.
        ConnectionIncomplete: a server without host or account.
        OptionUnknown, OptionWrong, SecretInOptions, TargetKindWrong, and for an HTTP address what `hosts.check_url` raises.
    """
    rules.check_may_manage_sources(by, by.organisation_id)
    if node.organisation_id != by.organisation_id or node.state == NodeState.RETIRED:
        raise NodeOfAnotherOrganisation(node=node.number)
    if node.kind != NodeKind.FRONT_END:
        raise NodeKindWrong(node=node.number)
    kind = Engine(engine)
    _check_writable(kind, is_writable)
    check_fields(kind, host=host, user=user, database=database)
    if number and DataSource.objects.filter(number=number).exists():
        raise NumberTaken(number=number)
    source = DataSource(
        number=number or next_number("SJY"),
        name=name,
        organisation_id=by.organisation_id,
        node=node,
        engine=kind.value,
        host=host if kind in SERVERS else "",
        port=(port or DEFAULT_PORTS[kind]) if kind in SERVERS else None,
        database=database,
        user=user if kind in WITH_ACCOUNT else "",
        options=checked_options(kind, options or {}),
        is_writable=is_writable,
        created_by=by,
        created_at=moments.now(),
    )
    _seal(source, password)
    source.save()
    trail.record("exchange.source.add", by=by.actor, about=trail.subject(source), engine=kind.value, node=node.number)
    _command(source, CommandKind.TEST_CONNECTION)
    return source


def _check_writable(kind: Engine, is_writable: bool) -> None:
    if is_writable and kind in NOT_WRITABLE:
        raise TargetKindWrong(engine=kind.value)


def _seal(source: DataSource, password: str) -> None:
    """Seal the password to the node and to the gateway that answers for this department, and forget it."""
    identity = public_identity(source.node)
    secret = password.encode()
    source.sealed_password = identity.seal(secret) if secret else ""
    gateway = gateway_for(source.organisation)
    if gateway is not None and not gateway.identity:
        gateway = None
    source.gateway_sealed_password = public_identity(gateway).seal(secret) if gateway and secret else ""
    source.sealed_for_gateway = gateway


def _locked(source: DataSource) -> DataSource:
    return DataSource.objects.select_for_update(of=("self",)).select_related("node", "organisation").get(pk=source.pk)


def _check_in_use(source: DataSource) -> None:
    if source.state == SourceState.RETIRED:
        raise SourceRetired(source=source.number)


@transaction.atomic
def change_password(source: DataSource, *, by: Post, password: str) -> DataSource:
    """A new password, or the same one again for a gateway that came later."""
    source = _locked(source)
    rules.check_may_manage_source(by, source)
    _check_in_use(source)
    _seal(source, password)
    source.state = SourceState.UNTESTED
    source.save(update_fields=["sealed_password", "gateway_sealed_password", "sealed_for_gateway", "state"])
    trail.record("exchange.source.change_password", by=by.actor, about=trail.subject(source))
    _command(source, CommandKind.TEST_CONNECTION)
    return source


_CHANGED = ("name", "database", "is_writable", "host", "port", "user", "options", "state")


@transaction.atomic
def change_data_source(
    source: DataSource,
    *,
    by: Post,
    name: str,
    database: str,
    host: str = "",
    port: int | None = None,
    user: str = "",
    is_writable: bool = False,
    options: Mapping[str, Any] | None = None,
    is_same_data: bool = False,
) -> DataSource:
    """The database moved, or its account changed. Engine and node stay: another engine is another source. Options stay where
    none are given.

    Where the source leads to another place (`connections.place_of`) its tasks begin anew, as where an entry is bound to another source,
    unless the same data has moved along (`is_same_data`); tasks that read the log begin anew in any case. Its tables are listed again.

    Raises NotYourSource, SourceRetired and as `add_data_source`; MoveWouldDouble, RunAlreadyLive where tasks cannot begin anew now.
    """
    rules.check_may_manage_source(by, source)
    lock_users(source)
    source = _locked(source)
    rules.check_may_manage_source(by, source)
    _check_in_use(source)
    kind = Engine(source.engine)
    _check_writable(kind, is_writable)
    check_fields(kind, host=host, user=user, database=database)
    checked = None if options is None else checked_options(kind, options)
    way = changed_connection(source, database=database, host=host, port=port, user=user, options=checked)
    moved: dict[str, Any] = {}
    if leads_elsewhere(source, way):
        anew, on = move_source(source, way, by=by, is_same_data=is_same_data)
        moved = {"is_moved": True, "is_same_data": is_same_data, "tasks_anew": anew, "tasks_going_on": on}
        source.tables_listed_at = None
    source.name, source.is_writable, source.state = name, is_writable, SourceState.UNTESTED
    source.host, source.port, source.database, source.user = way.host, way.port, way.database, way.user
    source.options = dict(way.options)
    source.save(update_fields=[*_CHANGED, "tables_listed_at"])
    trail.record("exchange.source.change", by=by.actor, about=trail.subject(source), **moved)
    _command(source, CommandKind.TEST_CONNECTION)
    return source


@transaction.atomic
def test_connection(source: DataSource, *, by: Post) -> NodeCommand:
    """Ask the node to connect; the answer arrives in `source.state`."""
    source = _locked(source)
    rules.check_may_manage_source(by, source)
    _check_in_use(source)
    trail.record("exchange.source.test", by=by.actor, about=trail.subject(source))
    return _command(source, CommandKind.TEST_CONNECTION)


@transaction.atomic
def list_tables(source: DataSource, *, by: Post) -> NodeCommand:
    """Ask the node for the tables and columns; they arrive in `source.tables`."""
    source = _locked(source)
    rules.check_may_manage_source(by, source)
    _check_in_use(source)
    trail.record("exchange.source.list_tables", by=by.actor, about=trail.subject(source))
    return _command(source, CommandKind.LIST_TABLES)


@transaction.atomic
def retire_data_source(source: DataSource, *, by: Post, reason: str = "") -> DataSource:
    """Drop a source for good: its passwords are forgotten at once, nothing is read from it or delivered to it again. What was
    done with it stays in the books.

    Raises NotYourSource, SourceRetired, SourceInUse while live tasks or services stand on it, or a replication slot is left there.
    """
    source = _locked(source)
    rules.check_may_manage_source(by, source)
    _check_in_use(source)
    users = ExchangeTask.objects.exclude(state=TaskState.ENDED).filter(
        Q(target=source) | Q(grant__entry__binding__source=source)
    )
    services = QueryService.objects.filter(
        grant__entry__binding__source=source, grant__state__in=(GrantState.ACTIVE, GrantState.SUSPENDED)
    )
    slots = ReplicationSlot.objects.filter(task__grant__entry__binding__source=source, task__state=TaskState.ENDED)
    left = left_slots(source)
    is_reachable = source.state == SourceState.REACHABLE  # at a server that is gone nobody can drop them
    in_the_way = sum(is_reachable if slot.is_here else not slot.is_answered for slot in left.values())
    if count := users.distinct().count() + services.distinct().count() + slots.count() + in_the_way:
        raise SourceInUse(source=source.number, count=count)
    source.state, source.retired_at = SourceState.RETIRED, moments.now()
    source.sealed_password = source.gateway_sealed_password = source.arrival_digest = ""
    source.sealed_for_gateway = None
    source.save()
    cancel_waiting(source=source)
    ReplicationSlot.objects.filter(name__in={name for name, _place in left}).delete()
    Binding.objects.filter(source=source).delete()
    SourceTable.objects.filter(source=source).delete()
    trail.record("exchange.source.retire", by=by.actor, about=trail.subject(source), reason=reason)
    return source


def _command(source: DataSource, kind: CommandKind) -> NodeCommand:
    cancel_waiting(source=source, kind=kind)
    return command_node(source.node, kind, source=source, connection=connection(source))


def take_answer(source: DataSource, command: NodeCommand, result: CommandResult) -> None:
    """What the node found out about a source. A reachable one is asked for its tables the first time."""
    source = _locked(source)
    now = moments.now()
    if source.state == SourceState.RETIRED or place_of(way_of(command)) != place_of(connection(source)):
        return  # what a node says of a place that the source has left is not of the present one
    actor, about = node_actor(command.node), trail.subject(source)
    if command.kind == CommandKind.TEST_CONNECTION:
        source.tested_at = now
    if result.problem is not None or not result.ok:
        source.state = SourceState.UNREACHABLE
        source.state_note = result.problem.to_json() if result.problem else {}
        source.save(update_fields=["state", "state_note", "tested_at"])
        code = result.problem.code if result.problem else ""
        trail.record(
            "exchange.source.answer", by=actor, about=about, outcome=Outcome.FAILED, kind=command.kind, code=code
        )
        return
    source.state = SourceState.REACHABLE
    if command.kind == CommandKind.TEST_CONNECTION:
        source.state_note = {"server_version": result.server_version[:200]}
        if source.tables_listed_at is None:
            _command(source, CommandKind.LIST_TABLES)
    else:
        _keep_tables(source, result)
        source.tables_listed_at = now
    source.save(update_fields=["state", "state_note", "tested_at", "tables_listed_at"])
    trail.record("exchange.source.answer", by=actor, about=about, kind=command.kind, tables=len(result.tables))


def _keep_tables(source: DataSource, result: CommandResult) -> None:
    names = {table.name for table in result.tables}
    SourceTable.objects.filter(source=source).exclude(name__in=names).delete()
    SourceTable.objects.bulk_create(
        [
            SourceTable(
                source=source,
                name=table.name[:200],
                comment=table.comment[:500],
                row_estimate=table.row_estimate,
                schema=table.to_json(),
            )
            for table in result.tables
        ],
        update_conflicts=True,
        unique_fields=["source", "name"],
        update_fields=["comment", "row_estimate", "schema"],
        batch_size=500,
    )
