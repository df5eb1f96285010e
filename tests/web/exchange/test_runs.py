"""Pages of tasks and runs."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.exchange import actions
from jinqiao.exchange.enums import RunState, TaskState
from jinqiao.exchange.models import ExchangeReceipt, ExchangeTask, Run
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, Finding, Progress, Stage
from jinqiao.sharing import actions as sharing_actions
from tests.exchange.factories import World
from tests.factories import make_post

pytestmark = pytest.mark.django_db


def page_of(run: Run) -> str:
    return reverse("exchange:run", args=[run.pk])


def states(response: Any) -> list[str]:
    return [step.state for step in response.context["steps"]]


def test_a_task_is_configured_started_and_leads_to_its_run(enter: Any, world: World) -> None:
    task = ExchangeTask.objects.get(grant=world.grant())
    client = enter(world.parties.asker)
    page = reverse("exchange:task", args=[task.pk])
    assert "还没有选定交付目标" in client.get(page).content.decode()
    configure = reverse("exchange:task_configure", args=[task.pk])
    fields = {"target": world.target.pk, "target_table": "hunyin", "mode": "full", "every": "weekly", "weekday": "1"}
    assert "at" in client.post(configure, fields).context["form"].errors
    client.post(configure, {**fields, "at": "22:00"})

    task.refresh_from_db()
    assert (task.state, task.schedule) == (TaskState.ACTIVE, "weekly 1 22:00")
    assert "每周一22:00" in client.get(page).content.decode()

    response = client.post(reverse("exchange:task_start", args=[task.pk]))

    assert response["Location"] == page_of(task.runs.get())


def test_what_the_action_refuses_is_said_at_its_field(enter: Any, world: World) -> None:
    task = ExchangeTask.objects.get(grant=world.grant(items=["xm"]))
    fields = {"target": world.target.pk, "target_table": "t", "mode": "watermark", "every": ""}
    response = enter(world.parties.asker).post(reverse("exchange:task_configure", args=[task.pk]), fields)

    assert "mode" in response.context["form"].errors


def test_only_own_writable_sources_are_offered_as_target(enter: Any, world: World) -> None:
    task = ExchangeTask.objects.get(grant=world.grant())
    page = enter(world.parties.asker).get(reverse("exchange:task_configure", args=[task.pk]))

    assert list(page.context["form"].fields["target"].queryset) == [world.target]


def test_the_page_of_a_run_follows_its_stages(enter: Any, world: World) -> None:
    run = world.run()
    client = enter(world.parties.asker)
    response = client.get(page_of(run))
    assert states(response) == ["todo"] * 7
    assert "等节点领取" in response.content.decode()

    command = world.provider_node.take(CommandKind.EXTRACT)
    step = Progress(run_id=run.number, stage=Stage.STAGE, rows_done=2, rows_total=4, chunks_done=1, at=moments.now())
    world.provider_node.poll(progress=(step,))
    response = client.get(page_of(run))
    assert states(response) == ["done", "now", "todo", "todo", "todo", "todo", "todo"]
    assert response.context["meter"].total == 4

    world.provider_node.answer(world.provider_node.extracted(command))
    response = client.get(page_of(run))
    assert states(response) == ["done"] * 4 + ["now", "todo", "todo"]
    assert "等接收方签名" in response.content.decode()

    world.consumer_node.answer(world.consumer_node.delivered(world.consumer_node.take(CommandKind.DELIVER)))
    response = client.get(page_of(run))
    text = response.content.decode()
    assert states(response) == ["done"] * 7
    assert "摘要一致" in text
    assert text.count("Ed25519有效") == 2
    assert "hx-trigger" not in text


def test_the_live_part_refreshes_itself_and_then_the_page(enter: Any, world: World) -> None:
    run = world.run()
    client = enter(world.parties.asker)
    headers = {"HX-Request": "true"}
    part = client.get(page_of(run), headers=headers)
    assert part.content.decode().startswith('<div id="run-live" hx-get=')
    assert "HX-Refresh" not in part

    world.finished(run)

    part = client.get(page_of(run), headers=headers)
    assert part["HX-Refresh"] == "true"
    assert "hx-get" not in part.content.decode()


def test_a_receipt_that_was_altered_shows(enter: Any, world: World) -> None:
    run = world.finished()
    receipt = ExchangeReceipt.objects.get(run=run)
    receipt.body = {**receipt.body, "rows": 4}
    receipt.save()
    text = enter(world.parties.asker).get(page_of(run)).content.decode()

    assert "签名不符" in text
    assert text.count("验签不通过") == 2


def test_a_failed_run_says_what_broke_and_how_to_mend_it(enter: Any, world: World) -> None:
    run = world.run()
    world.consumer_node.answer(world.consumer_node.delivered(world.handed_over(run), target_rows=9))
    response = enter(world.parties.asker).get(page_of(run))
    text = response.content.decode()

    assert "对账不平：交出3行" in text
    assert "触发器" in text
    assert "bad" in states(response)


def test_the_retry_of_a_paused_task_is_said_to_wait_for_it(enter: Any, world: World) -> None:
    run = world.run()
    world.provider_node.answer(world.provider_node.failed(world.provider_node.take(CommandKind.EXTRACT)))
    actions.pause_task(run.task, by=world.parties.asker)

    client = enter(world.parties.asker)
    for page in (page_of(run), reverse("exchange:task", args=[run.task_id])):
        assert "任务恢复后自动重试" in client.get(page).content.decode()


def test_a_problem_that_only_the_node_knows_is_shown_by_its_code(enter: Any, world: World) -> None:
    run = world.run()
    provider = world.provider_node
    provider.answer(provider.failed(provider.take(CommandKind.EXTRACT), "nobody.knows.this", retryable=True))
    text = enter(world.parties.asker).get(page_of(run)).content.decode()

    assert "nobody.knows.this" in text
    assert "自动重试" in text


def test_findings_are_counts_and_row_numbers(enter: Any, world: World) -> None:
    run = world.run()
    provider = world.provider_node
    finding = Finding(check="identity_number", item="公民身份号码", rows=2, sample_rows=(7, 1024))
    provider.answer(
        provider.extracted(
            provider.take(CommandKind.EXTRACT),
            staged=400,
            rows_read=402,
            rows_quarantined=2,
            findings=(finding,),
        )
    )
    text = enter(world.parties.asker).get(page_of(run)).content.decode()

    assert "公民身份号码" in text
    assert "identity_number@1" in text
    assert "7、1,024" in text
    assert "隔离2行" in text


def test_stopping_asks_first_and_then_stops(enter: Any, world: World) -> None:
    run = world.run()
    client = enter(world.parties.clerk)
    page = reverse("exchange:run_stop", args=[run.pk])
    assert "不会出现半批数据" in client.get(page).content.decode()
    client.post(page, {"reason": "源库维护"})

    run.refresh_from_db()
    assert run.state == RunState.STOPPED


def test_a_task_without_a_live_grant_offers_no_start(enter: Any, world: World) -> None:
    task = world.task()
    client = enter(world.parties.asker)
    page = reverse("exchange:task", args=[task.pk])
    assert "现在运行" in client.get(page).content.decode()
    sharing_actions.suspend_grant(task.grant, by=world.parties.provider_head, reason="核查用途")

    text = client.get(page).content.decode()
    assert "现在运行" not in text
    assert "授权不在有效状态" in text
    assert client.post(reverse("exchange:task_start", args=[task.pk])).status_code == 403
    assert not Run.objects.exists()


def test_a_task_is_slowed_paused_and_resumed(enter: Any, world: World) -> None:
    task = world.task()
    provider, consumer = enter, enter
    provider(world.parties.clerk).post(reverse("exchange:task_limit", args=[task.pk]), {"rows_per_s": "500"})
    provider(world.parties.clerk).post(reverse("exchange:task_pause", args=[task.pk]))
    task.refresh_from_db()
    assert (task.rows_per_s, task.state) == (500, TaskState.PAUSED)

    consumer(world.parties.asker).post(reverse("exchange:task_resume", args=[task.pk]))

    task.refresh_from_db()
    assert task.state == TaskState.ACTIVE


def test_the_history_is_filtered_and_exported(enter: Any, world: World) -> None:
    run = world.finished()
    client = enter(world.parties.asker)
    page = reverse("exchange:runs")
    for query, count in (
        ({"state": "reconciled"}, 1),
        ({"state": "failed"}, 0),
        ({"q": run.number}, 1),
        ({"q": "没有这个"}, 0),
        ({"since": moments.today().isoformat(), "until": moments.today().isoformat()}, 1),
        ({"since": "2030-01-01"}, 0),
    ):
        assert client.get(page, query).context["page"].paginator.count == count, query
    assert b"".join(client.get(page, {"export": "xlsx"}).streaming_content)[:2] == b"PK"
    assert b"".join(client.get(reverse("exchange:tasks"), {"export": "xlsx"}).streaming_content)[:2] == b"PK"


def test_queries_do_not_grow_with_the_rows(enter: Any, world: World, django_assert_max_num_queries: Any) -> None:
    world.finished()
    client = enter(make_post(Role.BUREAU))
    counts = {}
    for name in ("tasks", "runs"):
        client.get(reverse(f"exchange:{name}"))
        with CaptureQueriesContext(connection) as few:
            client.get(reverse(f"exchange:{name}"))
        counts[name] = len(few)
    for _ in range(3):
        world.finished(actions.start_run(world.task(), by=world.parties.asker))
    for name, count in counts.items():
        with django_assert_max_num_queries(count):
            client.get(reverse(f"exchange:{name}"))
