"""What a task is set to: target, mode and delivery, names, columns, checks; when it runs and how it is tried again."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.comparing import check_comparable
from jinqiao.exchange.actions.orders import check_fitting, check_log, merge_keys, usual_delivery
from jinqiao.exchange.actions.ranges import (
    FEWEST_CHUNK_ROWS,
    LONGEST_BACK_OFF_S,
    LONGEST_OVERLAP_S,
    MOST_ATTEMPTS,
    MOST_CHUNK_ROWS,
    SHORTEST_BACK_OFF_S,
    check_rate,
    check_speed,
    within,
)
from jinqiao.exchange.actions.reloads import lapse_reloads
from jinqiao.exchange.actions.runs import locked_task
from jinqiao.exchange.actions.slots import drop_slot_of, new_slot_name
from jinqiao.exchange.actions.tasks import CONFIGURE, move_task, plan_next, set_schedule
from jinqiao.exchange.enums import NodeState, Priority, RunKind, RunState, SourceState, TaskState
from jinqiao.exchange.errors import (
    BindingMissing,
    CheckWrong,
    ColumnUnknown,
    ItemUnbound,
    PredecessorWrong,
    RunAlreadyLive,
    SourceRetired,
    TableUnknown,
    TargetNameBroken,
    TargetNamesBroken,
    TargetNotWritable,
    TargetOfAnotherOrganisation,
    TaskStateWrong,
    WindowWouldDouble,
)
from jinqiao.exchange.models import DataSource, ExchangeTask
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.exchange.queries.tasks import possible_predecessors
from jinqiao.exchange.queries.terms import BoundTable, binding_of
from jinqiao.exchange.schedules import Schedule
from jinqiao.kernel.catalogues import check_catalogue, wrong_parameter
from jinqiao.kernel.contracts.exchange import (
    CheckRule,
    CopyMode,
    Delivery,
    DriftChoice,
    LedgerPlace,
    Reconcile,
)
from jinqiao.workflow import actions as workflow

_TABLE_NAME = re.compile(
    r"[A-Za-z_\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff]{0,59}(\.[A-Za-z_\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff]{0,59})?"
)
_COLUMN_NAME = re.compile(r"[A-Za-z_\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff]{0,59}")


@transaction.atomic
def configure_task(
    task: ExchangeTask,
    *,
    by: Post,
    target: DataSource,
    target_table: str,
    mode: CopyMode | str = CopyMode.FULL,
    delivery: Delivery | str | None = None,
    target_names: Mapping[str, str] | None = None,
    create_target: bool = True,
    drift: DriftChoice | str = DriftChoice.REFUSE,
    ledger: LedgerPlace | str = LedgerPlace.TARGET,
    reconcile: Reconcile | str = Reconcile.COUNTS,
    overlap_s: int | None = None,
    chunk_rows: int | None = None,
    schedule: str = "",
    rows_per_s: int | None = None,
    mb_per_s: float | None = None,
) -> ExchangeTask:
    """Say where the consumer takes the data, how and when; a task that waited for this becomes active. The columns of the source
    are noted as they are now: a run that finds others stops, or adapts, as `drift` says.

    Without a delivery the usual one of the mode is taken (mirror; of a watermark: insert and update). `target_names` maps codes of
    items to columns of the target where these have other names. Without a number overlap and chunk size stay.

    Raises:
        TargetOfAnotherOrganisation: data is delivered to the consumer of the grant, and through its own node, only.
        WatermarkMissing, KeysMissing, KeyNotGranted, LogNotPossible: the binding or the grant does not allow this mode or delivery.
        DeliveryNotFitting, ReloadNeedsApproval, TargetNamesBroken, SettingWrong.
        TargetNotWritable, TargetNameBroken, ScheduleBroken, CronBroken, CronNever, TaskStateWrong, LimitBroken, SourceRetired.
        RunAlreadyLive: target, table and mode stay while a run is under way.
        WindowWouldDouble: the table has rows that the next run would append once more.
    """
    task = locked_task(task.pk)
    rules.check_may_run(by, task)
    if task.state == TaskState.ENDED:
        raise TaskStateWrong(task=task.number, state=str(task.get_state_display()))
    target = DataSource.objects.select_related("node").get(pk=target.pk)
    consumer = task.grant.consumer_id
    if target.organisation_id != consumer or target.node.organisation_id != consumer:
        raise TargetOfAnotherOrganisation(source=target.number)
    if target.state == SourceState.RETIRED:
        raise SourceRetired(source=target.number)
    if not target.is_writable or target.node.state == NodeState.RETIRED:
        raise TargetNotWritable(source=target.number)
    if not _TABLE_NAME.fullmatch(target_table):
        raise TargetNameBroken(table=target_table)
    copy_mode, place = CopyMode(mode), LedgerPlace(ledger)
    way = Delivery(delivery) if delivery else usual_delivery(copy_mode)
    check_fitting(copy_mode, way, place)
    table = _bound_table(task, copy_mode, way)
    check_speed(rows_per_s)
    check_rate(mb_per_s)
    Schedule.parse(schedule)
    names = checked_names(task, target_names or {})
    if (task.target_id, task.target_table, task.mode) != (target.pk, target_table, copy_mode.value):
        if task.runs.filter(state__in=LIVE).exists():
            raise RunAlreadyLive(task=task.number)  # it would carry part of the rows to where the others are not
        task.cursor = ""  # another target, or another way: it has to get everything once
        lapse_reloads(task, by=by.actor)
    if way is Delivery.APPEND and (task.target_id, task.target_table) == (target.pk, target_table):
        _check_comes_once(task, copy_mode)
    task.target, task.target_table, task.target_names = target, target_table, names
    task.mode, task.delivery, task.ledger = copy_mode.value, way.value, place.value
    task.drift, task.reconcile, task.create_target = DriftChoice(drift).value, Reconcile(reconcile).value, create_target
    set_schedule(task, schedule)
    task.rows_per_s, task.mb_per_s = rows_per_s, mb_per_s
    if overlap_s is not None:
        task.overlap_s = within("overlap_s", overlap_s, 0, LONGEST_OVERLAP_S)
    if chunk_rows is not None:
        task.chunk_rows = within("chunk_rows", chunk_rows, FEWEST_CHUNK_ROWS, MOST_CHUNK_ROWS)
    task.expected_columns = [column.to_json() for column in table.columns.values()] if table is not None else []
    if copy_mode is CopyMode.LOG and not task.slot:
        task.slot = new_slot_name(task)
    if task.state == TaskState.DRAFT and rules.is_live(task.grant):
        move_task(task, TaskState.ACTIVE)
    plan_next(task)
    task.save()
    drop_slot_of(task)
    workflow.finish_todos(trail.subject(task), by=by, kinds=[CONFIGURE])
    trail.record(
        "exchange.task.configure",
        by=by.actor,
        about=trail.subject(task),
        target=target.number,
        table=target_table,
        mode=copy_mode.value,
        delivery=way.value,
        schedule=task.schedule,
    )
    return task


def _check_comes_once(task: ExchangeTask, mode: CopyMode) -> None:
    """A task that is to append from now on what is new since its cursor, into the table that it has filled in another way. Raises
    WindowWouldDouble where rows came there that lie behind the cursor: the next run would bring them again."""
    if mode is CopyMode.FULL or (task.mode, task.delivery) == (mode.value, Delivery.APPEND.value):
        return
    came = task.runs.filter(state=RunState.RECONCILED).exclude(kind=RunKind.RESUBMIT).order_by("-id").first()
    if came is not None and (not task.cursor or came.kind != RunKind.ORDINARY):
        raise WindowWouldDouble(task=task.number)


def _bound_table(task: ExchangeTask, mode: CopyMode, delivery: Delivery) -> BoundTable | None:
    """The provider's table, and whether it allows this. A full copy may be configured before the provider has bound it."""
    try:
        table = BoundTable.of(binding_of(task.grant))
        merge_keys(task.grant, table, mode, delivery)
    except (BindingMissing, TableUnknown, ItemUnbound, ColumnUnknown):
        if mode is not CopyMode.FULL or delivery not in (Delivery.MIRROR, Delivery.APPEND):
            raise
        return None
    if mode is CopyMode.LOG:
        check_log(table.binding.source)
    return table


def checked_names(task: ExchangeTask, names: Mapping[str, str]) -> dict[str, str]:
    """Columns of the target that are called otherwise than their items. Raises TargetNamesBroken."""
    codes = [str(item["code"]) for item in task.grant.items]
    wanted = {code: name.strip() for code, name in names.items() if name.strip() and name.strip() != code}
    for code, name in wanted.items():
        if code not in codes or not _COLUMN_NAME.fullmatch(name):
            raise TargetNamesBroken(item=code, column=name[:60])
    columns = [wanted.get(code, code).lower() for code in codes]
    for code, column in zip(codes, columns, strict=True):
        if columns.count(column) > 1:
            raise TargetNamesBroken(item=code, column=wanted.get(code, code))
    return wanted


@transaction.atomic
def accept_columns(task: ExchangeTask, *, by: Post) -> ExchangeTask:
    """The table of the source has changed, and that is right: runs go by its columns as they are listed now. Both sides may.

    Raises NotYourTask, BindingMissing, TableUnknown, and what `merge_keys` does where keys are gone.
    """
    task = locked_task(task.pk)
    rules.check_may_watch(by, task)
    table = BoundTable.of(binding_of(task.grant))
    merge_keys(task.grant, table, CopyMode(task.mode), Delivery(task.delivery))
    before = {column["name"] for column in task.expected_columns}
    task.expected_columns = [column.to_json() for column in table.columns.values()]
    task.save(update_fields=["expected_columns"])
    trail.record(
        "exchange.task.accept_columns",
        by=by.actor,
        about=trail.subject(task),
        added=len(set(table.columns) - before),
        removed=len(before - set(table.columns)),
    )
    return task


@transaction.atomic
def plan_task(
    task: ExchangeTask,
    *,
    by: Post,
    schedule: str = "",
    after_task: ExchangeTask | None = None,
    on_arrival: bool = False,
    compare_schedule: str = "",
    priority: Priority | int = Priority.NORMAL,
    max_attempts: int = 5,
    back_off_s: int = 30,
) -> ExchangeTask:
    """When the task runs (by plan, after another task's run is reconciled, when data arrives: any of them starts it), how it stands
    among others, how it is tried again, when contents are compared.

    Raises NotYourTask, TaskStateWrong, ScheduleBroken, CronBroken, CronNever, PredecessorWrong, SettingWrong, ComparisonNotPossible.
    """
    task = locked_task(task.pk)
    rules.check_may_run(by, task)
    if task.state == TaskState.ENDED:
        raise TaskStateWrong(task=task.number, state=str(task.get_state_display()))
    Schedule.parse(schedule)
    if after_task is not None:
        _check_predecessor(task, after_task, by)
    if compare_schedule.strip():
        Schedule.parse(compare_schedule)
        check_comparable(task)
    set_schedule(task, schedule)
    task.compare_schedule = compare_schedule.strip()
    task.after_task, task.on_arrival, task.priority = after_task, on_arrival, Priority(priority)
    task.max_attempts = within("max_attempts", max_attempts, 1, MOST_ATTEMPTS)
    task.back_off_s = within("back_off_s", back_off_s, SHORTEST_BACK_OFF_S, LONGEST_BACK_OFF_S)
    plan_next(task)
    task.save()
    trail.record(
        "exchange.task.plan",
        by=by.actor,
        about=trail.subject(task),
        schedule=task.schedule,
        after=after_task.number if after_task is not None else "",
        on_arrival=on_arrival,
        priority=int(task.priority),
    )
    return task


def _check_predecessor(task: ExchangeTask, before: ExchangeTask, by: Post) -> None:
    """All followers are looked at under the lock of the table's rows, so that two changes at once make no circle."""
    list(ExchangeTask.objects.select_for_update(of=("self",)).order_by("id").values_list("pk", flat=True))
    if not possible_predecessors(task, by).filter(pk=before.pk).exists():
        raise PredecessorWrong(task=before.number)


@transaction.atomic
def choose_checks(
    task: ExchangeTask, *, by: Post, checks: Sequence[CheckRule], quarantine_limit: float = 0.01
) -> ExchangeTask:
    """Which checks the rows pass on their way, and above which share of set-aside rows nothing is delivered. Both sides may.

    Raises NotYourTask, CheckWrong naming item and parameter, SettingWrong.
    """
    task = locked_task(task.pk)
    rules.check_may_watch(by, task)
    catalogue = check_catalogue()
    codes = {str(item["code"]) for item in task.grant.items}
    for rule in checks:
        entry = catalogue.get(rule.check)
        wrong = "item" if rule.item not in codes else None
        if entry is None or entry.get("implicit"):
            wrong = "check"
        elif wrong is None:
            wrong = wrong_parameter(entry, rule.parameters)
        if rule.stop_share is not None and not 0 <= rule.stop_share <= 1:
            wrong = wrong or "stop_share"
        if rule.stop_rows is not None and rule.stop_rows < 0:
            wrong = wrong or "stop_rows"
        if wrong is not None:
            raise CheckWrong(check=rule.check, item=rule.item, parameter=wrong)
    task.checks = [replace(rule, version=int(catalogue[rule.check]["version"])).to_json() for rule in checks]
    task.checks_chosen = True
    task.quarantine_limit = within("quarantine_limit", quarantine_limit, 0, 1)
    task.save(update_fields=["checks", "checks_chosen", "quarantine_limit"])
    trail.record(
        "exchange.task.choose_checks",
        by=by.actor,
        about=trail.subject(task),
        checks=len(checks),
        quarantine_limit=quarantine_limit,
    )
    return task
