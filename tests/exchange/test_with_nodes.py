"""What people start on the platform, done by two real nodes over HTTP: comparison, correction of rows set aside, a reload, a diff."""

import io
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import openpyxl
import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import ComparisonState, RunState
from jinqiao.exchange.models import Alert, Comparison, ExchangeTask, Run
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CheckRule
from jinqiao.web.exchange.run_acts import acts
from jinqiao.web.exchange.run_view import facts
from tests.dataplane.node.marriages import ROWS, Department
from tests.dataplane.node.marriages import departments as departments

pytestmark = pytest.mark.django_db(transaction=True)
Three = tuple[Department, Department, ExchangeTask]


def post_of(organisation: Any, role: Role) -> Post:
    return Post.objects.filter(organisation=organisation, role=role).order_by("id").first()  # type: ignore[return-value]


def asker(task: ExchangeTask) -> Post:
    return post_of(task.grant.consumer, Role.OPERATOR)


def clerk(task: ExchangeTask) -> Post:
    return post_of(task.grant.provider, Role.OPERATOR)


def execute(department: Department, statement: str) -> None:
    with closing(sqlite3.connect(department.file)) as database, database:
        database.execute(statement)


def fetch(department: Department, statement: str) -> list[Any]:
    with closing(sqlite3.connect(department.file)) as database:
        return database.execute(statement).fetchall()


def carried(run: Run, provider: Department, consumer: Department) -> Run:
    """The run after both nodes have done what there is for them to do."""
    for _ in range(3):
        provider.node.run_once()
        consumer.node.run_once()
    done = Run.objects.get(pk=run.pk)
    assert done.state == RunState.RECONCILED, done.problem
    return done


def compared(task: ExchangeTask, provider: Department, consumer: Department) -> Comparison:
    comparison = actions.compare_contents(task, by=asker(task))
    for _ in range(2):
        provider.node.run_once()
        consumer.node.run_once()
    return Comparison.objects.get(pk=comparison.pk)


def test_contents_are_the_same_until_somebody_changes_a_row_and_after_a_signed_reload(departments: Three) -> None:
    provider, consumer, task = departments
    carried(actions.start_run(task, by=asker(task)), provider, consumer)
    same = compared(task, provider, consumer)
    assert (same.state, same.provider["rows"]) == (ComparisonState.SAME, len(ROWS)), same.problem

    execute(consumer, "UPDATE hunyin SET xm = '改了' WHERE rowid = 5")
    assert compared(task, provider, consumer).state == ComparisonState.DIFFERENT
    assert Alert.objects.filter(kind="content_differs", closed_at=None).exists()

    approval = actions.ask_reload(task, by=asker(task), reason="目标表被误改")
    actions.decide_reload(approval, by=post_of(task.grant.consumer, Role.DEPARTMENT_ADMINISTRATOR), approved=True)
    carried(actions.reload_target(approval, by=asker(task)), provider, consumer)
    assert compared(task, provider, consumer).state == ComparisonState.SAME
    assert not Alert.objects.filter(closed_at=None).exists()


def corrected(run: Run, task: ExchangeTask, provider: Department) -> bytes:
    """The workbook of the one row that the run set aside, its name corrected."""
    actions.ask_quarantine(run, by=clerk(task))
    provider.node.run_once()
    book = openpyxl.load_workbook(io.BytesIO(actions.open_quarantine(run, by=clerk(task))))
    sheet = book.worksheets[0]
    header = next(row for row in sheet.iter_rows() if any(cell.value and "姓名" in str(cell.value) for cell in row))
    column = next(cell.column for cell in header if cell.value and "姓名" in str(cell.value))
    sheet.cell(header[0].row + 1, column).value = "更正人"
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def test_rows_set_aside_are_read_corrected_and_arrive(departments: Three) -> None:
    provider, consumer, task = departments
    execute(provider, "UPDATE marriage SET name = NULL WHERE rowid = 7")
    rule = CheckRule(check="required", item="xm")
    actions.choose_checks(task, by=clerk(task), checks=[rule], quarantine_limit=0.1)
    run = carried(actions.start_run(task, by=asker(task)), provider, consumer)
    assert (run.rows, run.rows_quarantined) == (len(ROWS) - 1, 1)

    new = carried(actions.resubmit(run, by=clerk(task), workbook=corrected(run, task, provider)), provider, consumer)
    assert (new.rows, new.counts["inserted"]) == (1, 1)
    assert fetch(consumer, "SELECT count(*) FROM hunyin") == [(len(ROWS),)]
    assert fetch(consumer, "SELECT xm FROM hunyin WHERE xm = '更正人'") == [("更正人",)]


def test_a_diff_brings_what_changed_and_deletes_what_is_gone(departments: Three) -> None:
    provider, consumer, task = departments
    actions.configure_task(
        task, by=asker(task), target=consumer.source, target_table="hunyin", mode="diff", target_names={"xm": "姓名"}
    )
    carried(actions.start_run(task, by=asker(task)), provider, consumer)
    execute(provider, "DELETE FROM marriage WHERE rowid <= 3")
    execute(provider, "UPDATE marriage SET name = '新名' WHERE rowid = 10")

    run = carried(actions.start_run(task, by=asker(task)), provider, consumer)

    assert (run.rows, run.rows_deleted) == (1, 3)
    assert run.counts["deleted"] == 3
    assert fetch(consumer, "SELECT count(*), sum(姓名 = '新名') FROM hunyin") == [(len(ROWS) - 3, 1)]
    nothing = carried(actions.start_run(task, by=asker(task)), provider, consumer)
    assert (nothing.rows, nothing.rows_deleted, nothing.bytes) == (0, 0, 0)


def put_back(consumer: Department) -> Callable[[], None]:
    """Keeps the target as it is now; gives what puts it back."""
    kept = consumer.file.with_suffix(".kept")
    shutil.copy(consumer.file, kept)
    return lambda: [shutil.copy(kept, consumer.file)].clear()


def broken_off(run: Run, provider: Department, consumer: Department) -> Run:
    """The run after its first attempt, which failed at the target."""
    for _ in range(2):
        provider.node.run_once()
        consumer.node.run_once()
    failed = Run.objects.get(pk=run.pk)
    assert failed.state == RunState.FAILED
    return failed


def test_a_target_that_was_put_back_gets_everything_once_more_and_the_page_says_why(departments: Three) -> None:
    provider, consumer, task = departments
    actions.configure_task(task, by=asker(task), target=consumer.source, target_table="hunyin", mode="diff")
    carried(actions.start_run(task, by=asker(task)), provider, consumer)
    older = put_back(consumer)
    execute(provider, "DELETE FROM marriage WHERE rowid <= 3")
    carried(actions.start_run(task, by=asker(task)), provider, consumer)
    execute(provider, "UPDATE marriage SET name = '新名' WHERE rowid = 10")
    ordinary = carried(actions.start_run(task, by=asker(task)), provider, consumer)

    older()
    run = broken_off(actions.start_run(task, by=asker(task)), provider, consumer)
    assert (run.problem["code"], run.retry_at is not None) == ("pipeline.target.restored", True)
    assert AuditEvent.objects.filter(action="exchange.task.start_over", details__run=run.number).exists()
    Run.objects.filter(pk=run.pk).update(retry_at=moments.now())
    assert actions.retry_due_runs() == 1
    done = carried(run, provider, consumer)

    assert (done.rows, done.counts["deleted"], done.counts["updated"]) == (len(ROWS) - 3, 3, 1)
    assert fetch(consumer, "SELECT count(*), sum(xm = '新名') FROM hunyin") == [(len(ROWS) - 3, 1)]
    said = {str(pair.label): str(pair.value) for pair in facts(done, None)}
    assert "恢复到较早的状态" in said["从头读取"]
    nothing = carried(actions.start_run(task, by=asker(task)), provider, consumer)
    assert nothing.rows == 0
    for other in (ordinary, nothing):
        assert "从头读取" not in {str(pair.label) for pair in facts(other, None)}
    assert not Alert.objects.filter(closed_at=None).exists()


def test_an_append_to_a_target_that_was_put_back_is_refused_and_told_to_the_consumer(departments: Three) -> None:
    provider, consumer, task = departments
    actions.configure_task(
        task, by=asker(task), target=consumer.source, target_table="hunyin", mode="diff", delivery="append"
    )
    older = put_back(consumer)
    carried(actions.start_run(task, by=asker(task)), provider, consumer)
    task.refresh_from_db()
    cursor = task.cursor

    older()
    run = broken_off(actions.start_run(task, by=asker(task)), provider, consumer)
    task.refresh_from_db()

    assert (run.problem["code"], run.retry_at) == ("pipeline.target.restored_append", None)
    assert (task.cursor, fetch(consumer, "SELECT count(*) FROM sqlite_master")) == (cursor, [(0,)])
    assert Alert.objects.filter(kind="run_failed", organisation=task.grant.consumer, closed_at=None).exists()
    offered = [act.url for act in acts(run, asker(task))]
    assert reverse("exchange:task_configure", args=[task.pk]) in offered

    actions.configure_task(
        task, by=asker(task), target=consumer.source, target_table="hunyin", mode="diff", delivery="upsert"
    )
    again = broken_off(actions.start_run(task, by=asker(task)), provider, consumer)
    Run.objects.filter(pk=again.pk).update(retry_at=moments.now())
    actions.retry_due_runs()
    carried(again, provider, consumer)
    assert fetch(consumer, "SELECT count(*) FROM hunyin") == [(len(ROWS),)]


def test_corrected_rows_that_were_lost_with_their_target_are_missed_by_the_next_run(departments: Three) -> None:
    """The batch that the cursor names is there; the part that came after it is not. Everything comes, and the faulty row is set aside
    once more for its people."""
    provider, consumer, task = departments
    actions.configure_task(task, by=asker(task), target=consumer.source, target_table="hunyin", mode="diff")
    execute(provider, "UPDATE marriage SET name = NULL WHERE rowid = 7")
    actions.choose_checks(task, by=clerk(task), checks=[CheckRule(check="required", item="xm")], quarantine_limit=0.1)
    first = carried(actions.start_run(task, by=asker(task)), provider, consumer)
    older = put_back(consumer)
    book = corrected(first, task, provider)
    carried(actions.resubmit(first, by=clerk(task), workbook=book), provider, consumer)

    older()
    run = broken_off(actions.start_run(task, by=asker(task)), provider, consumer)
    assert run.problem["code"] == "pipeline.target.restored"
    Run.objects.filter(pk=run.pk).update(retry_at=moments.now())
    actions.retry_due_runs()
    done = carried(run, provider, consumer)
    assert (done.rows, done.rows_quarantined) == (len(ROWS) - 1, 1)
    carried(actions.start_run(task, by=asker(task)), provider, consumer)
