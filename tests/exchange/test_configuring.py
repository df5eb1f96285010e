"""What a task, a source and a binding may be set to, and what of it stands in the order."""

from dataclasses import replace
from typing import Any

import pytest

from jinqiao.exchange import actions
from jinqiao.exchange.enums import NetworkZone
from jinqiao.exchange.errors import (
    CheckWrong,
    ColumnUnknown,
    DeliveryNotFitting,
    KeysMissing,
    LogNotPossible,
    NotYourEntry,
    NotYourSource,
    NotYourTask,
    ProtectionWrong,
    ReloadNeedsApproval,
    RunAlreadyLive,
    SettingWrong,
    TargetNamesBroken,
    TransformWrong,
)
from jinqiao.exchange.models import Binding, DataSource, ExchangeTask, Node, Run
from jinqiao.exchange.queries.runs import order_of
from jinqiao.kernel.contracts.exchange import (
    CheckRule,
    CommandKind,
    CopyMode,
    Delivery,
    ExchangeOrder,
    Severity,
    Transform,
    TransformKind,
    Window,
)
from tests.exchange.factories import TABLE, World, make_source


def order_of_a_run(world: World, **configuration: Any) -> ExchangeOrder:
    return order_of(world.run(world.task(**configuration)))


def test_an_order_says_everything_that_the_task_was_set_to(world: World) -> None:
    order = order_of_a_run(
        world,
        mode="watermark",
        delivery="history",
        target_names={"xm": "姓名", "sfzh": "sfzh"},
        create_target=False,
        drift="adapt",
        ledger="node",
        reconcile="content",
        overlap_s=60,
        chunk_rows=5000,
        mb_per_s=2.5,
    )

    assert (order.mode, order.delivery) == (CopyMode.WATERMARK, Delivery.HISTORY)
    assert order.target_names == {"xm": "姓名"}
    assert (order.create_target, order.overlap_s, order.chunk_rows, order.mb_per_s) == (False, 60, 5000, 2.5)
    assert (order.drift, order.ledger, order.reconcile) == ("adapt", "node", "content")
    assert order.expected_columns == TABLE.columns
    assert order.target_engine == "postgresql"


def test_a_watermark_inserts_and_updates_unless_it_is_told_otherwise(world: World) -> None:
    assert order_of_a_run(world, mode="watermark").delivery is Delivery.UPSERT


@pytest.mark.parametrize(
    ("mode", "delivery", "ledger"),
    [("watermark", "mirror", "target"), ("full", "append", "node"), ("diff", "append", "node")],
)
def test_what_does_not_go_together_is_refused(world: World, mode: str, delivery: str, ledger: str) -> None:
    with pytest.raises(DeliveryNotFitting):
        world.task(mode=mode, delivery=delivery, ledger=ledger)


def test_emptying_the_table_is_no_standing_choice(world: World) -> None:
    with pytest.raises(ReloadNeedsApproval):
        world.task(delivery="reload")


@pytest.mark.parametrize("choice", [{"mode": "diff"}, {"mode": "full", "delivery": "upsert"}, {"delivery": "history"}])
def test_rows_that_must_be_told_apart_need_keys(world: World, choice: dict[str, str]) -> None:
    Binding.objects.update(key_columns=[])

    with pytest.raises(KeysMissing):
        world.task(**choice)


def test_a_log_is_read_from_postgresql_only_and_has_a_slot_of_its_own(world: World) -> None:
    task = world.task(mode="log")
    order = order_of(world.run(task))
    DataSource.objects.filter(pk=world.source.pk).update(engine="mysql")

    assert order.slot == task.slot
    assert task.slot.startswith("jinqiao_jh_2026_")
    assert len(task.slot) <= 63
    with pytest.raises(LogNotPossible):
        actions.configure_task(task, by=world.parties.asker, target=world.target, target_table="t", mode="log")


@pytest.mark.parametrize(
    "names", [{"xm": "sfzh"}, {"xm": "a b"}, {"nobody": "x"}, {"xm": "same", "sfzh": "SAME"}, {"xm": 'x"; DROP'}]
)
def test_columns_of_the_target_have_names_and_each_its_own(world: World, names: dict[str, str]) -> None:
    with pytest.raises(TargetNamesBroken):
        world.task(target_names=names)


@pytest.mark.parametrize("setting", [{"overlap_s": -1}, {"chunk_rows": 10}, {"mb_per_s": 0.0}])
def test_numbers_have_their_ranges(world: World, setting: dict[str, Any]) -> None:
    with pytest.raises(SettingWrong):
        world.task(**setting)


def test_the_stricter_of_both_sides_limits_holds(world: World) -> None:
    actions.protect_source(
        world.source,
        by=world.parties.clerk,
        rows_per_s=1000,
        mb_per_s=8,
        windows=[Window(since="22:00", until="06:00")],
        parallel=3,
        statement_timeout_s=900,
    )
    order = order_of_a_run(world, rows_per_s=5000, mb_per_s=2)

    assert (order.rows_per_s, order.mb_per_s) == (1000, 2)
    assert order.windows == (Window(since="22:00", until="06:00"),)
    assert (order.parallel, order.statement_timeout_s) == (3, 900)


def test_the_consumer_does_not_hear_of_the_provider_s_table_and_hours(world: World) -> None:
    actions.protect_source(world.source, by=world.parties.clerk, windows=[Window(since="22:00", until="06:00")])
    command = world.handed_over(world.run())

    assert command.order is not None
    assert (command.order.expected_columns, command.order.windows) == ((), ())


@pytest.mark.parametrize(
    "setting",
    [
        {"rows_per_s": 1},
        {"mb_per_s": 0},
        {"parallel": 0},
        {"parallel": 99},
        {"statement_timeout_s": 1},
        {"windows": [Window(since="25:00", until="06:00")]},
        {"windows": [Window(since="06:00", until="06:00")]},
    ],
)
def test_a_protection_out_of_range_is_named(world: World, setting: dict[str, Any]) -> None:
    with pytest.raises(ProtectionWrong) as caught:
        actions.protect_source(world.source, by=world.parties.clerk, **setting)

    assert caught.value.details["field"] in setting


def test_only_the_provider_protects_its_source_and_says_how_items_are_made(world: World) -> None:
    with pytest.raises(NotYourSource):
        actions.protect_source(world.source, by=world.parties.asker, parallel=4)
    with pytest.raises(NotYourEntry):
        actions.choose_transforms(world.parties.entry, by=world.parties.asker, transforms=[])


TOKEN = Transform(kind=TransformKind.TOKEN, item="sfzh", parameters={"column": "id_card", "scope": "consumer"})


def test_transforms_of_granted_items_stand_in_the_order(world: World) -> None:
    strange = Transform(
        kind=TransformKind.DERIVE, item="yx", parameters={"operation": "substring", "column": "area", "start": 1}
    )
    actions.choose_transforms(world.parties.entry, by=world.parties.clerk, transforms=[TOKEN, strange])
    granted = {item.code for item in order_of_a_run(world).grant.items}

    order = order_of(Run.objects.get())
    assert "yx" not in granted
    assert order.transforms == (TOKEN,)


@pytest.mark.parametrize(
    "transform",
    [
        replace(TOKEN, parameters={}),
        replace(TOKEN, item="nothing"),
        replace(TOKEN, parameters={"column": "id_card", "scope": "everybody"}),
        Transform(kind=TransformKind.DERIVE, item="xm", parameters={"operation": "guess"}),
    ],
)
def test_a_transform_that_the_catalogue_does_not_know_is_refused(world: World, transform: Transform) -> None:
    with pytest.raises(TransformWrong):
        actions.choose_transforms(world.parties.entry, by=world.parties.clerk, transforms=[transform])


def test_a_transform_reads_columns_that_are_there(world: World) -> None:
    with pytest.raises(ColumnUnknown):
        actions.choose_transforms(
            world.parties.entry, by=world.parties.clerk, transforms=[replace(TOKEN, parameters={"column": "gone"})]
        )


def test_binding_anew_keeps_transforms_that_still_fit(world: World) -> None:
    actions.choose_transforms(world.parties.entry, by=world.parties.clerk, transforms=[TOKEN])
    for columns, left in (({"xm": "name", "sfzh": "id_card"}, [TOKEN.to_json()]), ({"xm": "name"}, [])):
        binding = actions.bind_entry(
            world.parties.entry, by=world.parties.clerk, source=world.source, table="marriage", columns=columns
        )
        assert binding.transforms == left


def test_chosen_checks_replace_the_derived_ones_and_keep_their_version(world: World) -> None:
    task = world.task()
    rule = CheckRule(check="length", item="xm", parameters={"max": 20}, severity=Severity.STOP, stop_share=0.1)
    actions.choose_checks(task, by=world.parties.clerk, checks=[rule], quarantine_limit=0.2)

    order = order_of(world.run(task))
    assert [replace(check, version=0) for check in order.checks] == [rule]
    assert order.checks[0].version >= 1
    assert order.quarantine_limit == 0.2


@pytest.mark.parametrize(
    ("check", "item", "parameters"),
    [
        ("nothing", "xm", {}),
        ("type", "xm", {}),
        ("length", "area", {"max": 3}),
        ("length", "xm", {}),
        ("length", "xm", {"max": "x"}),
    ],
)
def test_a_check_that_cannot_be_is_refused(world: World, check: str, item: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(CheckWrong):
        actions.choose_checks(
            world.task(), by=world.parties.asker, checks=[CheckRule(check=check, item=item, parameters=parameters)]
        )


def test_strangers_choose_no_checks(world: World) -> None:
    with pytest.raises(NotYourTask):
        actions.choose_checks(world.task(), by=world.parties.bureau, checks=[])


def test_columns_of_the_source_are_accepted_as_they_are_now(world: World) -> None:
    task = world.task()
    table = world.source.tables.get()
    table.schema["columns"] = table.schema["columns"][:-1]
    table.save()

    actions.accept_columns(task, by=world.parties.clerk)

    task.refresh_from_db()
    assert [column["name"] for column in task.expected_columns] == [column.name for column in TABLE.columns[:-1]]


def test_chunks_go_directly_only_within_one_network(world: World) -> None:
    task = world.task()
    Node.objects.filter(pk=world.consumer_node.node.pk).update(url="https://node.example:8443")
    with_url = order_of(world.run(task))
    extract = world.provider_node.take(CommandKind.EXTRACT)
    actions.stop_run(Run.objects.get(), by=world.parties.asker)
    Node.objects.filter(pk=world.consumer_node.node.pk).update(zone=NetworkZone.PRIVATE)

    assert with_url.consumer_url == "https://node.example:8443"
    assert extract.transfer is not None
    assert order_of(world.run(task)).consumer_url == ""


def test_chunks_that_went_directly_are_not_asked_of_the_relay(world: World, relay: Any) -> None:
    Node.objects.filter(pk=world.consumer_node.node.pk).update(url="https://node.example:8443")
    run = world.run()
    result = world.provider_node.extracted(world.provider_node.take(CommandKind.EXTRACT))
    run.relay_chunks.all().delete()

    world.provider_node.answer(replace(result, direct=(1,)))

    run.refresh_from_db()
    assert run.state == "delivering"


def test_without_a_listening_node_nothing_is_said_to_have_gone_directly(world: World) -> None:
    run = world.run()
    result = world.provider_node.extracted(world.provider_node.take(CommandKind.EXTRACT))
    run.relay_chunks.all().delete()

    world.provider_node.answer(replace(result, direct=(1,)))

    run.refresh_from_db()
    assert run.problem["code"] == "exchange.run.chunks_missing"


@pytest.mark.parametrize("change", ["target", "target_table", "mode"])
@pytest.mark.parametrize("is_handed_over", [False, True])
def test_the_target_and_the_mode_stay_while_a_run_is_under_way(world: World, change: str, is_handed_over: bool) -> None:
    fresh = make_source(world.consumer_node, world.parties.asker, tables=False, name="新库", is_writable=True)
    changes: dict[str, Any] = {"target": fresh, "target_table": "fresh", "mode": "diff"}
    kept = {"target": world.target, "target_table": "marriage", "mode": "watermark"}
    task = world.task(mode="watermark")
    run = world.run(task)
    if is_handed_over:
        world.handed_over(run)

    with pytest.raises(RunAlreadyLive):
        actions.configure_task(task, by=world.parties.asker, **{**kept, change: changes[change]})
    assert actions.configure_task(task, by=world.parties.asker, **kept, overlap_s=60).overlap_s == 60
    actions.stop_run(run, by=world.parties.asker)
    changed = actions.configure_task(task, by=world.parties.asker, **{**kept, change: changes[change]})
    assert (getattr(changed, change), changed.cursor) == (changes[change], "")


@pytest.mark.parametrize("change", ["target", "target_table", "mode", "cursor"])
def test_a_run_that_was_overtaken_moves_no_cursor(world: World, change: str) -> None:
    task = world.task(mode="watermark")
    run = world.run(task)
    command = world.handed_over(run)
    fresh = make_source(world.consumer_node, world.parties.asker, tables=False, name="新库", is_writable=True)
    changes: dict[str, Any] = {
        "target": fresh,
        "target_table": "fresh",
        "mode": "diff",
        "cursor": "2025-01-01T00:00:00",
    }
    ExchangeTask.objects.filter(pk=task.pk).update(**{change: changes[change]})
    before = ExchangeTask.objects.get(pk=task.pk).cursor

    world.consumer_node.answer(world.consumer_node.delivered(command))

    run.refresh_from_db()
    assert (run.state, ExchangeTask.objects.get(pk=task.pk).cursor) == ("reconciled", before)


@pytest.mark.parametrize("change", ["source", "table", "watermark_column"])
def test_a_run_of_a_table_that_is_bound_no_more_moves_no_cursor(world: World, change: str) -> None:
    run = world.run(world.task(mode="watermark"))
    command = world.handed_over(run)
    other = make_source(world.provider_node, world.parties.clerk, name="新业务库")
    changes: dict[str, Any] = {"source": other, "table": "divorce", "watermark_column": "reg_date"}
    Binding.objects.update(**{change: changes[change]})

    world.consumer_node.answer(world.consumer_node.delivered(command))

    run.refresh_from_db()
    assert (run.state, ExchangeTask.objects.get().cursor) == ("reconciled", "")
