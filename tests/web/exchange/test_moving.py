"""The form of a source that is to lead to another place asks how its tasks go on."""

from typing import Any

import pytest
from django.urls import reverse

from jinqiao.exchange.models import DataSource, ExchangeTask
from jinqiao.web.exchange.source_forms import SourceChangeForm
from tests.exchange.factories import World

pytestmark = pytest.mark.django_db


def post(enter: Any, world: World, **changes: Any) -> Any:
    source = DataSource.objects.get(pk=world.source.pk)
    fields = {name: value for name, value in SourceChangeForm.values_of(source).items() if value not in (None, False)}
    return enter(world.parties.clerk).post(reverse("exchange:source_change", args=[source.pk]), {**fields, **changes})


def host() -> str:
    return DataSource.objects.get(name="业务库").host


@pytest.fixture
def task(world: World) -> ExchangeTask:
    """A task that has come through once."""
    task = world.task(mode="watermark")
    world.finished(world.run(task))
    task.refresh_from_db()
    return task


def test_the_form_asks_before_it_saves_and_names_the_tasks(enter: Any, world: World, task: ExchangeTask) -> None:
    url = reverse("exchange:source_change", args=[world.source.pk])
    assert "moved" not in enter(world.parties.clerk).get(url).context["form"].fields

    form = post(enter, world, host="10.9.9.9").context["form"]

    assert list(form.errors) == ["moved"]
    assert task.number in form.fields["moved"].help_text
    assert host() == "10.1.2.3"


def test_tasks_begin_anew_where_that_is_chosen(enter: Any, world: World, task: ExchangeTask) -> None:
    response = post(enter, world, host="10.9.9.9", moved="anew")

    assert (response.status_code, host(), ExchangeTask.objects.get().cursor) == (302, "10.9.9.9", "")
    page = enter(world.parties.clerk).get(response.url)
    assert "任务下次运行从头读取" in page.content.decode()


def test_tasks_go_on_where_the_same_data_is_said_to_be_there(enter: Any, world: World, task: ExchangeTask) -> None:
    response = post(enter, world, host="10.9.9.9", moved="same")

    assert (response.status_code, host(), ExchangeTask.objects.get().cursor) == (302, "10.9.9.9", task.cursor)


def test_nothing_is_asked_where_the_place_stays_or_no_task_knows_of_it(
    enter: Any, world: World, task: ExchangeTask
) -> None:
    assert post(enter, world, user="reader2", moved="anew").status_code == 302
    assert ExchangeTask.objects.get().cursor == task.cursor != ""

    ExchangeTask.objects.update(cursor="")
    assert post(enter, world, host="10.9.9.9").status_code == 302


def test_the_choice_stays_where_another_field_is_wrong(enter: Any, world: World, task: ExchangeTask) -> None:
    form = post(enter, world, host="", moved="same").context["form"]

    assert (list(form.errors), form["moved"].value()) == (["host"], "same")


def test_what_would_double_rows_is_told_at_the_choice(enter: Any, world: World, task: ExchangeTask) -> None:
    ExchangeTask.objects.update(delivery="append")

    form = post(enter, world, host="10.9.9.9", moved="anew").context["form"]

    assert "重复行" in form.errors["moved"][0]
    assert host() == "10.1.2.3"
