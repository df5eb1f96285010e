"""What the page of a run says and offers when it broke off, is held, or set rows aside."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.enums import RunKind, RunState
from jinqiao.exchange.models import NodeCommand, Run
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, Problem, Progress, Stage
from jinqiao.web.exchange.run_acts import acts, whose_turn
from tests.exchange.factories import World
from tests.factories import make_post

pytestmark = pytest.mark.django_db


def page(name: str, run: Run) -> str:
    return reverse(f"exchange:{name}", args=[run.pk])


def text_of(response: Any) -> str:
    return str(response.content.decode())


def broken(world: World, code: str, **details: Any) -> Run:
    """A run that its provider's node gave up with this problem."""
    run = world.run()
    command = world.provider_node.take(CommandKind.EXTRACT)
    problem = Problem(code=code, details=details)
    world.provider_node.answer(
        CommandResult(command_id=command.id, ok=False, problem=problem, finished_at=moments.now())
    )
    run.refresh_from_db()
    return run


def labels(run: Run, post: Post) -> list[str]:
    return [str(act.label) for act in acts(run, post)]


def test_a_changed_source_is_named_with_what_either_side_can_do(enter: Any, world: World) -> None:
    run = broken(world, "source.schema.changed", table="marriage", missing="djjg", retyped="-", added="djjg2")
    text = text_of(enter(world.parties.asker).get(page("run", run)))

    assert "不再有的列 djjg" in text
    assert "没有读取任何数据" in text
    assert labels(run, world.parties.asker) == ["确认新的结构", "改为随结构调整", "重新运行"]
    assert labels(run, world.parties.clerk) == ["重读表结构", "调整挂接", "确认新的结构", "检查来源数据源"]
    assert labels(run, make_post(Role.AUDITOR)) == []


@pytest.mark.parametrize(
    ("code", "consumer", "provider"),
    [
        ("source.connection.authentication", [], ["检查来源数据源"]),
        ("pipeline.target.drift", ["改为随结构调整", "检查目标数据源"], []),
        ("checks.quarantine.exceeded", ["看检查规则"], ["看检查规则"]),
        ("pipeline.reconcile.failed", ["比对两侧内容", "申请清空重载", "检查目标数据源"], ["比对两侧内容"]),
        ("pipeline.source.key_not_unique", [], ["调整挂接", "调整转换规则"]),
        ("node.spool.budget", ["看节点"], ["看节点"]),
    ],
)
def test_each_trouble_has_its_buttons(world: World, code: str, consumer: list[str], provider: list[str]) -> None:
    run = broken(world, code)

    def begun(names: list[str]) -> list[str]:
        return ["看节点" if name.startswith("看节点") else name for name in names]

    assert begun(labels(run, world.parties.asker)) == [*consumer, "重新运行"]
    assert begun(labels(run, world.parties.clerk)) == provider


def test_the_side_that_cannot_mend_it_is_told_who_can(enter: Any, world: World) -> None:
    run = broken(world, "source.connection.authentication", source="业务库")
    provider = world.parties.provider.name

    assert f"须由{provider}（提供方）处理" in text_of(enter(world.parties.asker).get(page("run", run)))
    assert "（提供方）处理" not in text_of(enter(world.parties.clerk).get(page("run", run)))


def test_a_connection_lost_at_the_target_is_the_consumers_to_mend(world: World) -> None:
    run = world.run()
    command = world.handed_over(run)
    world.consumer_node.answer(world.consumer_node.failed(command, "source.connection.authentication", retryable=False))
    run.refresh_from_db()

    assert labels(run, world.parties.asker) == ["检查目标数据源", "重新运行"]
    assert labels(run, world.parties.clerk) == []
    assert "（需求方）处理" in whose_turn(run, world.parties.clerk)
    assert whose_turn(run, world.parties.asker) == ""


def test_a_run_is_held_and_goes_on(enter: Any, world: World) -> None:
    run = world.run()
    client = enter(world.parties.clerk)
    client.post(page("run_pause", run))
    run.refresh_from_db()
    assert run.paused_at is not None
    text = text_of(client.get(page("run", run)))
    assert "已暂停" in text
    assert page("run_resume", run) in text
    other = text_of(enter(world.parties.asker).get(page("run", run)))
    assert page("run_resume", run) not in other  # the provider holds it, for its source

    enter(world.parties.clerk).post(page("run_resume", run))
    run.refresh_from_db()
    assert run.paused_at is None


def test_ticked_chunks_are_sent_again(enter: Any, world: World) -> None:
    run = world.run()
    world.handed_over(run)
    client = enter(world.parties.asker)
    assert page("run_resend", run) in text_of(client.get(page("run", run)))
    assert client.post(page("run_resend", run), {}).status_code == 404
    client.post(page("run_resend", run), {"chunk": ["1"]})

    command = NodeCommand.objects.get(run=run, kind=CommandKind.RESEND.value)
    assert command.body["body"]["chunks"] == [1]
    assert "等待重传" in text_of(client.get(page("run", run)))


def test_a_live_run_tells_its_speed_and_what_it_waits_for(enter: Any, world: World) -> None:
    run = world.run()
    world.provider_node.take(CommandKind.EXTRACT)
    step = Progress(run_id=run.number, stage=Stage.EXTRACT, rows_done=9, waiting_for="window", at=moments.now())
    world.provider_node.poll(progress=(step,))
    text = text_of(enter(world.parties.asker).get(page("run", run)))

    assert "等允许读取的时段" in text
    assert "预计还需" in text


def test_a_window_is_replayed_from_its_run(enter: Any, world: World) -> None:
    task = world.task(mode="watermark")
    run = world.finished(world.run(task))
    client = enter(world.parties.asker)
    assert page("run_replay", run) in text_of(client.get(page("run", run)))
    client.post(page("run_replay", run))

    assert task.runs.first().kind == RunKind.REPLAY


def set_aside(world: World) -> Run:
    run = world.run()
    provider = world.provider_node
    provider.answer(
        provider.extracted(provider.take(CommandKind.EXTRACT), staged=400, rows_read=402, rows_quarantined=2)
    )
    world.consumer_node.answer(world.consumer_node.delivered(world.consumer_node.take(CommandKind.DELIVER)))
    run.refresh_from_db()
    assert run.state == RunState.RECONCILED
    return run


def test_rows_set_aside_are_fetched_corrected_and_sent_by_their_provider(enter: Any, world: World) -> None:
    run = set_aside(world)
    client = enter(world.parties.clerk)
    client.post(page("quarantine_ask", run))
    assert "节点正在送来隔离行" in text_of(client.get(page("run", run)))
    command = world.provider_node.take(CommandKind.READ_QUARANTINE)
    sealed = platform_identity().public.seal(b"PK workbook")
    world.provider_node.answer(
        CommandResult(command_id=command.id, ok=True, sealed_payload=sealed, finished_at=moments.now())
    )
    assert "下载隔离行工作簿" in text_of(client.get(page("run", run)))

    answer = client.post(page("quarantine_open", run))
    assert answer.content == b"PK workbook"
    assert "no-store" in answer["Cache-Control"]
    assert f"{run.number}-quarantine.xlsx" in answer["Content-Disposition"]

    upload = SimpleUploadedFile("更正.xlsx", b"PK corrected")
    client.post(page("quarantine_resubmit", run), {"workbook": upload})
    new = Run.objects.order_by("-id").first()
    assert new is not None
    assert (new.kind, new.resubmits) == (RunKind.RESUBMIT, run)


def test_the_consumer_never_gets_rows_that_were_set_aside(enter: Any, world: World) -> None:
    run = set_aside(world)
    client = enter(world.parties.asker)
    assert "由" + world.parties.provider.name + "下载" in text_of(client.get(page("run", run)))
    for name in ("quarantine_ask", "quarantine_open", "quarantine_resubmit"):
        assert client.post(page(name, run)).status_code == 403, name


@pytest.mark.parametrize("what", ["chunks", "findings"])
def test_chunks_and_findings_are_exported(enter: Any, world: World, what: str) -> None:
    run = world.finished()
    response = enter(world.parties.asker).get(page("run", run), {"export": what})

    assert b"".join(response.streaming_content)[:2] == b"PK"
