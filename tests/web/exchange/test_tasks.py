"""Pages that set a task up, and acts besides its ordinary runs."""

from datetime import datetime
from typing import Any

import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.exchange.enums import ApprovalState, RunKind
from jinqiao.exchange.models import Comparison, ExchangeTask, ReloadApproval, SourceLimits
from jinqiao.kernel import moments
from tests.exchange.factories import World
from tests.factories import make_post

pytestmark = pytest.mark.django_db


def page(name: str, *arguments: int) -> str:
    return reverse(f"exchange:{name}", args=arguments)


def text_of(response: Any) -> str:
    return str(response.content.decode())


def test_a_task_tells_in_plain_words_what_it_does_and_when(
    enter: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = world.task(mode="watermark", schedule="daily 22:00", drift="adapt")
    client = enter(world.parties.asker)
    morning = datetime(2026, 3, 18, 10, 0, tzinfo=moments.CHINA)
    monkeypatch.setattr(moments, "now", lambda: morning)
    text = text_of(client.get(page("task", task.pk)))

    assert "只读取水位之后新增和改动的行；按主键更新或插入" in text
    assert "随结构调整" in text
    assert "2026-03-18 22:00、2026-03-19 22:00、2026-03-20 22:00" in text
    assert "提供方没有设限" in text


def test_everything_that_a_task_may_be_set_to_is_on_its_form(enter: Any, world: World) -> None:
    task = ExchangeTask.objects.get(grant=world.grant())
    fields = {
        "target": world.target.pk,
        "target_table": "hunyin",
        "mode": "diff",
        "delivery": "history",
        "every": "cron",
        "cron": "30 2 * * 1-5",
        "drift": "adapt",
        "reconcile": "counts",
        "ledger": "node",
        "overlap_s": "60",
        "chunk_rows": "5000",
        "mb_per_s": "2.5",
        "name-xm": "person_name",
    }
    enter(world.parties.asker).post(page("task_configure", task.pk), fields)

    task.refresh_from_db()
    assert (task.mode, task.delivery, task.drift, task.ledger) == ("diff", "history", "adapt", "node")
    assert (task.schedule, task.overlap_s, task.chunk_rows, task.mb_per_s) == ("cron 30 2 * * 1-5", 60, 5000, 2.5)
    assert task.target_names == {"xm": "person_name"}
    assert task.create_target is False


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"every": "cron", "cron": "99 2 * * *"}, "cron"),
        ({"every": "cron", "cron": ""}, "cron"),
        ({"name-xm": "drop table"}, "name-xm"),
        ({"mode": "watermark", "delivery": "mirror"}, "delivery"),
    ],
)
def test_what_cannot_be_so_is_said_at_its_field(enter: Any, world: World, changes: dict[str, str], field: str) -> None:
    task = ExchangeTask.objects.get(grant=world.grant())
    fields = {"target": world.target.pk, "target_table": "t", "mode": "full", "every": "", **changes}
    response = enter(world.parties.asker).post(page("task_configure", task.pk), fields)

    assert list(response.context["form"].errors) == [field]


def test_a_task_may_follow_another_but_not_itself(enter: Any, world: World) -> None:
    task = world.task()
    client = enter(world.parties.asker)
    assert task not in client.get(page("task_plan", task.pk)).context["form"].fields["after_task"].queryset
    fields = {"every": "", "on_arrival": "on", "priority": "3", "max_attempts": "2", "back_off_s": "60"}
    client.post(page("task_plan", task.pk), fields)

    task.refresh_from_db()
    assert (task.on_arrival, task.priority, task.max_attempts, task.back_off_s) == (True, 3, 2, 60)
    assert "来源通知有新数据时" in text_of(client.get(page("task", task.pk)))


def test_a_check_is_chosen_filled_in_and_removed(enter: Any, world: World) -> None:
    task = world.task()
    client = enter(world.parties.asker)
    before = len(task.checks)
    form = f"{page('task_check', task.pk)}?check=code_list&item=xm"
    assert "允许的值" in text_of(client.get(form))
    wrong = client.post(form, {"severity": "stop"})
    assert "至少填其中一项" in text_of(wrong)
    fields = {"p-values": "甲\n乙", "severity": "stop", "stop_percent": "5", "stop_rows": ""}
    client.post(form, fields)

    task.refresh_from_db()
    rule = task.checks[-1]
    assert (rule["check"], rule["item"], rule["severity"]) == ("code_list", "xm", "stop")
    assert rule["parameters"] == {"values": ["甲", "乙"]}
    assert rule["stop_share"] == 0.05
    assert rule["version"] == 1
    text = text_of(client.get(page("task_checks", task.pk)))
    assert "允许的值 甲、乙" in text
    assert "超过5%" in text

    client.post(f"{page('task_check', task.pk)}?position={before}", {**fields, "p-values": "丙"})
    task.refresh_from_db()
    assert task.checks[-1]["parameters"] == {"values": ["丙"]}

    client.post(page("task_check_remove", task.pk, before))
    task.refresh_from_db()
    assert len(task.checks) == before


def test_the_share_that_is_borne_is_kept_with_the_rules(enter: Any, world: World) -> None:
    task = world.task()
    enter(world.parties.clerk).post(page("task_checks", task.pk), {"percent": "2.5"})

    task.refresh_from_db()
    assert task.quarantine_limit == 0.025


@pytest.mark.parametrize("query", ["?check=type&item=xm", "?check=length&item=nothing", "?check=none&item=xm"])
def test_a_rule_that_there_cannot_be_has_no_form(enter: Any, world: World, query: str) -> None:
    task = world.task()

    assert enter(world.parties.asker).get(page("task_check", task.pk) + query).status_code == 404


def test_the_provider_says_how_an_item_is_made(enter: Any, world: World) -> None:
    client = enter(world.parties.clerk)
    entry = world.parties.entry.pk
    form = f"{page('transform', entry)}?item=xm&operation=concat"
    client.post(form, {"p-columns": "name，area", "p-separator": "-", "p-skip_null": "yes"})

    world.binding.refresh_from_db()
    (rule,) = world.binding.transforms
    assert (rule["kind"], rule["item"]) == ("derive", "xm")
    assert rule["parameters"] == {
        "operation": "concat",
        "columns": ["name", "area"],
        "separator": "-",
        "skip_null": True,
    }
    text = text_of(client.get(page("transforms", entry)))
    assert "连接" in text
    assert "name、area" in text
    assert client.get(f"{page('transform', entry)}?item=xm").context["form"]["p-columns"].value() == "name, area"

    wrong = client.post(form, {"p-columns": "no_such_column"})
    assert "no_such_column" in text_of(wrong)
    client.post(page("transform_remove", entry, 0))
    world.binding.refresh_from_db()
    assert world.binding.transforms == []


def test_codes_are_given_pair_by_pair(enter: Any, world: World) -> None:
    form = f"{page('transform', world.parties.entry.pk)}?item=xm&operation=codes"
    enter(world.parties.clerk).post(form, {"p-column": "name", "p-pairs": "1=男\n2=女\n9=", "p-otherwise": "keep"})

    world.binding.refresh_from_db()
    assert world.binding.transforms[0]["parameters"]["pairs"] == {"1": "男", "2": "女", "9": None}


def test_a_source_is_spared_as_its_department_says(enter: Any, world: World) -> None:
    client = enter(world.parties.clerk)
    fields = {
        "rows_per_s": "5000",
        "windows": "22:00-06:00\n12:00–13:30",
        "parallel": "2",
        "statement_timeout_s": "600",
    }
    wrong = client.post(page("source_protect", world.source.pk), {**fields, "windows": "night"})
    assert "windows" in wrong.context["form"].errors
    far = client.post(page("source_protect", world.source.pk), {**fields, "parallel": "99"})
    assert "parallel" in far.context["form"].errors
    client.post(page("source_protect", world.source.pk), fields)

    limits = SourceLimits.objects.get()
    assert (limits.rows_per_s, limits.parallel) == (5000, 2)
    text = text_of(client.get(page("task", world.task().pk)))
    assert "22:00至次日06:00、12:00至13:30" in text


def test_contents_are_compared_from_the_page(enter: Any, world: World) -> None:
    task = world.task()
    client = enter(world.parties.asker)
    client.post(page("task_compare", task.pk))

    assert Comparison.objects.get().asked_by == world.parties.asker
    assert "两侧节点正在重读" in text_of(client.get(page("task", task.pk)))


def test_a_window_is_brought_again(enter: Any, world: World) -> None:
    task = world.task(mode="watermark")
    client = enter(world.parties.asker)
    wrong = client.post(page("task_backfill", task.pk), {"since": "nonsense", "until": "2026-03-02T00:00:00"})
    assert "until" in wrong.context["form"].errors
    client.post(page("task_backfill", task.pk), {"since": "", "until": "2026-03-02T00:00:00"})

    assert task.runs.get().kind == RunKind.BACKFILL


def test_a_reload_is_asked_for_signed_and_used(enter: Any, world: World) -> None:
    task = world.task()
    asker = enter(world.parties.asker)
    asker.post(page("task_reload", task.pk), {"reason": "目标表被改乱"})
    assert "等本部门管理员签批" in text_of(asker.get(page("task", task.pk)))
    assert asker.post(page("task_reload_decide", task.pk), {"approved": "yes"}).status_code == 403
    admin = enter(world.admin)
    refused = admin.post(page("task_reload_decide", task.pk), {"approved": "no"})
    assert "opinion" in refused.context["form"].errors
    admin.post(page("task_reload_decide", task.pk), {"approved": "yes"})
    enter(world.parties.asker).post(page("task_reload_use", task.pk))

    assert ReloadApproval.objects.get().state == ApprovalState.USED
    assert task.runs.get().kind == RunKind.RELOAD


def test_a_reload_is_offered_where_its_rows_come_once(enter: Any, world: World) -> None:
    task = world.task(mode="watermark")
    asker = enter(world.parties.asker)
    assert page("task_reload", task.pk) in asker.get(page("task", task.pk)).content.decode()
    task.delivery = "append"
    task.save()
    assert page("task_reload", task.pk) not in asker.get(page("task", task.pk)).content.decode()


def test_the_watermark_is_forgotten_only_after_asking(enter: Any, world: World) -> None:
    task = world.task(mode="watermark")
    world.finished(world.run(task))
    client = enter(world.parties.asker)
    client.get(page("task_start_over", task.pk))
    task.refresh_from_db()
    assert task.cursor
    client.post(page("task_start_over", task.pk))
    task.refresh_from_db()
    assert task.cursor == ""


def test_tasks_are_narrowed_by_both_sides_and_by_alert(enter: Any, world: World) -> None:
    task = world.task()
    client = enter(make_post(Role.BUREAU))
    grant = task.grant
    sides = {"provider": grant.provider_id, "consumer": grant.consumer_id}
    assert client.get(page("tasks"), sides).context["page"].paginator.count == 1
    assert client.get(page("tasks"), {**sides, "alert": "yes"}).context["page"].paginator.count == 0


def test_changed_columns_are_confirmed_from_the_page(enter: Any, world: World) -> None:
    task = world.task()
    ExchangeTask.objects.filter(pk=task.pk).update(
        expected_columns=[{**column, "type": "integer"} for column in task.expected_columns]
    )
    client = enter(world.parties.clerk)
    assert "类型变了的列" in text_of(client.get(page("task", task.pk)))
    client.post(page("task_columns", task.pk))
    assert "类型变了的列" not in text_of(client.get(page("task", task.pk)))


def test_an_unknown_provider_in_the_address_narrows_nothing(enter: Any, world: World) -> None:
    task = world.task()
    response = enter(make_post(Role.BUREAU)).get(page("tasks"), {"provider": str(task.grant.consumer_id)})

    assert response.context["page"].paginator.count == 1
    assert "provider" in response.context["form"].errors
