"""The rules of alerts, looked at on every tick of a worker: what is found is opened, what is over closes itself.

Each kind has one function that gives what it finds now, by key; an open alert of the kind whose key is not among them is closed.
Looking twice, or by two workers at once, changes nothing.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext_noop as _

from jinqiao.audit import trail
from jinqiao.exchange.actions.alerting import close_alert, open_alert, run_key, task_key
from jinqiao.exchange.actions.evidence_alerts import (
    close_of_retired,
    evidence_silent,
    receipts_contradict,
    unwitnessed,
)
from jinqiao.exchange.actions.found import Found, of_node
from jinqiao.exchange.enums import BRING_NEWS, AlertKind, ComparisonState, NodeState, RunKind, RunState, TaskState
from jinqiao.exchange.errors import CronBroken, CronNever, ScheduleBroken
from jinqiao.exchange.models import Alert, Comparison, ExchangeReceipt, ExchangeTask, Node, ReplicationSlot, Run
from jinqiao.exchange.queries.alerts import Rule, RuleBook
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.exchange.schedules import Schedule
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from jinqiao.kernel.moments import CHINA

MAD_TO_SIGMA = 1.4826
"""A median absolute deviation, times this, is the standard deviation of a normal distribution."""


def watch(listening_s: float = math.inf) -> int:
    """Open what is found, close what is over; gives the count of alerts opened. `listening_s` as `RuleBook` has it."""
    book = RuleBook(listening_s)
    close_of_retired()
    return sum(_watch(kind, find, book) for kind, find in FINDERS.items())


def _watch(kind: AlertKind, find: Callable[[RuleBook], Iterator[Found]], book: RuleBook) -> int:
    # before it is looked for: what another process opens meanwhile may be newer than what was found, and stays
    now_open = set(Alert.objects.filter(kind=kind, closed_at=None).values_list("key", flat=True))
    found = list(find(book))
    there = {one.key for one in found}
    for key in sorted(now_open - there):
        close_alert(kind, key)
    opened = 0
    for one in found:
        if one.key not in now_open:
            alert = open_alert(
                kind,
                one.key,
                organisation=one.organisation,
                title=one.title,
                about=one.about,
                rule=one.rule,
                task=one.task,
                run=one.run,
                node=one.node,
                **one.details,
            )
            opened += alert is not None
    return opened


def _tasks() -> QuerySet[ExchangeTask]:
    return ExchangeTask.objects.filter(state=TaskState.ACTIVE).select_related(
        "grant__provider", "grant__consumer", "grant__version", "target"
    )


def _of_task(task: ExchangeTask, rule: Rule, title: str, *, run: Run | None = None, **details: Any) -> Found:
    return Found(
        key=task_key(task),
        rule=rule,
        organisation=task.grant.consumer,
        title=title % {"number": task.number},
        about=trail.subject(task),
        task=task,
        run=run,
        details=details,
    )


def late(book: RuleBook) -> Iterator[Found]:
    """No run that brings what is new reconciled since the last time of the plan, though the tolerance is over. What was planned before the task was set up,
    resumed, or given this plan, or before its grant begins, is not missed."""
    now = moments.now()
    for task in _tasks().exclude(schedule="").exclude(next_run_at=None).order_by("id"):
        rule = book.rule(AlertKind.RUN_LATE, task.pk)
        if not rule.is_on:
            continue
        try:
            schedule = Schedule.parse(task.schedule)
        except (ScheduleBroken, CronBroken, CronNever):
            continue
        if schedule is None:
            continue
        expected = schedule.last_before(now - timedelta(seconds=rule.number("tolerance_s")))
        since = _planned_since(task)
        if since is None or since >= expected:
            continue
        came = task.runs.filter(state=RunState.RECONCILED, kind__in=BRING_NEWS)
        if not came.filter(finished_at__gte=expected).exists():
            yield _of_task(task, rule, _("任务%(number)s逾时没有成功运行"), expected_at=expected.isoformat())


def _planned_since(task: ExchangeTask) -> datetime | None:
    """From when on times of the plan count; of a task planned before this was kept, its first run."""
    since = task.planned_since or task.runs.order_by("id").values_list("queued_at", flat=True).first()
    return max(since, datetime.combine(task.grant.valid_from, time.min, CHINA)) if since is not None else None


def nothing_moved(book: RuleBook) -> Iterator[Found]:
    """The last runs, over at least so many days, brought no row; a deletion is something moved."""
    for task in _tasks().order_by("id"):
        rule = book.rule(AlertKind.NOTHING_MOVED, task.pk)
        if not rule.is_on:
            continue
        count = int(rule.number("runs"))
        last = list(
            task.runs.filter(state=RunState.RECONCILED, kind=RunKind.ORDINARY)
            .order_by("-id")
            .values("rows", "rows_deleted", "counts", "queued_at")[:count]
        )
        if len(last) < count or any(_moved(run) for run in last):
            continue
        days = (last[0]["queued_at"] - last[-1]["queued_at"]) / timedelta(days=1)
        if days >= rule.number("days"):
            since = last[-1]["queued_at"].isoformat()
            yield _of_task(task, rule, _("任务%(number)s连续多次没有数据变化"), runs=count, since=since)


def _moved(run: Mapping[str, Any]) -> bool:
    """Whether a run changed anything at the target; one without counts by what it brought."""
    counts = run["counts"]
    if counts:
        return bool(counts.get("inserted") or counts.get("updated") or counts.get("deleted"))
    return bool(run["rows"] or run["rows_deleted"])


def volume_unusual(book: RuleBook) -> Iterator[Found]:
    """The last run brought far more or fewer rows than those before it."""
    for task in _tasks().order_by("id"):
        rule = book.rule(AlertKind.VOLUME_UNUSUAL, task.pk)
        if not rule.is_on:
            continue
        runs = list(
            task.runs.filter(state=RunState.RECONCILED, kind=RunKind.ORDINARY, rows__isnull=False).order_by("-id")[
                : int(rule.number("history")) + 1
            ]
        )
        if len(runs) <= rule.number("least_history"):
            continue
        low, high = usual_range([run.rows or 0 for run in runs[1:]], rule)
        rows = runs[0].rows or 0
        if not low <= rows <= high:
            yield _of_task(
                task,
                rule,
                _("任务%(number)s的数据量与往常不同"),
                run=runs[0],
                rows=rows,
                usual_low=round(low),
                usual_high=round(high),
            )


def usual_range(rows: list[int], rule: Rule) -> tuple[float, float]:
    """Bounds within which a number of rows is usual, after earlier ones: median ± the wider of factor × scaled median absolute
    deviation and share × median."""
    median = statistics.median(rows)
    deviation = statistics.median(abs(value - median) for value in rows) * MAD_TO_SIGMA
    width = max(rule.number("factor") * deviation, rule.number("least_share") * median)
    return median - width, median + width


def receipt_open(book: RuleBook) -> Iterator[Found]:
    """The provider's side has signed for a batch, the consumer's has not: after some hours, or as soon as the day is over."""
    rule = book.rule(AlertKind.RECEIPT_OPEN)
    if not rule.is_on:
        return
    now = moments.now()
    receipts = ExchangeReceipt.objects.filter(completed_at=None, run__state__in=(*LIVE, RunState.FAILED))
    receipts = receipts.exclude(run__state=RunState.FAILED, run__retry_at=None)  # that one is told as a failure
    for receipt in receipts.select_related("run__task__grant__consumer", "receiver").order_by("id"):
        run = receipt.run
        handed_over = run.commands.filter(kind="deliver").order_by("id").values_list("created_at", flat=True).first()
        if handed_over is None:
            continue
        is_of_today = handed_over.astimezone(CHINA).date() == now.astimezone(CHINA).date()
        if now - handed_over > timedelta(seconds=rule.number("after_s")) or not is_of_today:
            yield Found(
                key=run_key(run),
                rule=rule,
                organisation=run.task.grant.consumer,
                title=_("运行%(number)s的回执缺接收方签名") % {"number": run.number},
                about=trail.subject(run.task),
                task=run.task,
                run=run,
                details={"handed_over_at": handed_over.isoformat(), "receiver": receipt.receiver.number},
            )


def _nodes() -> QuerySet[Node]:
    return Node.objects.filter(state=NodeState.ACTIVE).select_related("organisation").order_by("id")


def silent(book: RuleBook) -> Iterator[Found]:
    rule = book.rule(AlertKind.NODE_SILENT)
    limit = moments.now() - timedelta(seconds=rule.number("after_s"))
    # a node whose words are carried by bundles is not expected every minute
    nodes = _nodes().filter(seen_at__lt=limit, bundles=None)
    if book.listening_s < rule.number("after_s"):  # what is open stays open; who has had no time to call gets it
        nodes = nodes.filter(pk__in=Alert.objects.filter(kind=AlertKind.NODE_SILENT, closed_at=None).values("node"))
    for node in nodes if rule.is_on else ():
        seen = node.seen_at.isoformat() if node.seen_at else ""
        yield of_node(node, rule, _("节点“%(name)s”失去联系"), seen_at=seen)


def clock_off(book: RuleBook) -> Iterator[Found]:
    rule = book.rule(AlertKind.CLOCK_OFF)
    for node in _nodes().filter(clock_offset_s__isnull=False) if rule.is_on else ():
        if abs(node.clock_offset_s or 0) > rule.number("offset_s"):
            yield of_node(node, rule, _("节点“%(name)s”的时钟不准"), offset_s=node.clock_offset_s)


def disk_low(book: RuleBook) -> Iterator[Found]:
    rule = book.rule(AlertKind.DISK_LOW)
    limit = int(rule.number("free_bytes"))
    for node in _nodes().filter(spool_free_bytes__lt=limit) if rule.is_on else ():
        yield of_node(node, rule, _("节点“%(name)s”的暂存空间不足"), free_bytes=node.spool_free_bytes)


def slot_growing(book: RuleBook) -> Iterator[Found]:
    """Also of tasks that are paused or ended: their slot goes on holding the source's log back."""
    slots = ReplicationSlot.objects.select_related("task__grant__provider", "task__grant__consumer")
    for slot in slots.order_by("id"):
        rule = book.rule(AlertKind.SLOT_GROWING, slot.task_id)
        if rule.is_on and slot.retained_bytes > rule.number("retained_bytes"):
            task = slot.task
            yield Found(
                key=task_key(task),
                rule=rule,
                organisation=task.grant.provider,
                title=_("任务%(number)s的复制槽滞留日志过多") % {"number": task.number},
                about=trail.subject(task),
                task=task,
                details={"slot": slot.name, "retained_bytes": slot.retained_bytes, "is_active": slot.is_active},
            )


def content_differs(book: RuleBook) -> Iterator[Found]:
    """The last comparison of a task found two sides that differ, and no run that replaces the whole target has been reconciled since;
    one that brings changes alone leaves the difference as it was."""
    newer = Comparison.objects.filter(
        task=OuterRef("task"), pk__gt=OuterRef("pk"), state__in=(ComparisonState.SAME, ComparisonState.DIFFERENT)
    )
    whole = Run.objects.filter(
        Q(kind=RunKind.RELOAD) | Q(kind=RunKind.ORDINARY, mode=CopyMode.FULL, task__delivery=Delivery.MIRROR),
        task=OuterRef("task"),
        state=RunState.RECONCILED,
        queued_at__gt=OuterRef("asked_at"),
    )
    last = Comparison.objects.filter(~Exists(newer), ~Exists(whole), state=ComparisonState.DIFFERENT)
    last = last.exclude(task__state=TaskState.ENDED)
    for comparison in last.select_related("task__grant__consumer", "run").order_by("id"):
        task = comparison.task
        yield _of_task(
            task,
            book.rule(AlertKind.CONTENT_DIFFERS),
            _("任务%(number)s两侧内容不一致，需要核对"),
            run=comparison.run,
            comparison=comparison.number,
        )


FINDERS: dict[AlertKind, Callable[[RuleBook], Iterator[Found]]] = {
    AlertKind.RUN_LATE: late,
    AlertKind.NOTHING_MOVED: nothing_moved,
    AlertKind.VOLUME_UNUSUAL: volume_unusual,
    AlertKind.RECEIPT_OPEN: receipt_open,
    AlertKind.NODE_SILENT: silent,
    AlertKind.CLOCK_OFF: clock_off,
    AlertKind.DISK_LOW: disk_low,
    AlertKind.SLOT_GROWING: slot_growing,
    AlertKind.CONTENT_DIFFERS: content_differs,
    AlertKind.ANCHOR_UNWITNESSED: unwitnessed,
    AlertKind.EVIDENCE_SILENT: evidence_silent,
    AlertKind.RECEIPTS_CONTRADICT: receipts_contradict,
}
"""Failed runs are told where they fail, and closed by the next of their kind that comes through; evidence that is refused, where it is refused."""
