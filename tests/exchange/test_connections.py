"""What a data source may be told, what must never stand in it, and how one is dropped."""

from typing import Any

import pytest

from jinqiao.exchange import actions
from jinqiao.exchange.connections import OPTIONS
from jinqiao.exchange.enums import RunState, SourceState
from jinqiao.exchange.errors import (
    ArrivalRefused,
    ConnectionIncomplete,
    NotYourSource,
    OptionUnknown,
    OptionWrong,
    SecretInOptions,
    SourceInUse,
    SourceRetired,
    TargetKindWrong,
)
from jinqiao.exchange.models import Binding, DataSource
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.kernel.hosts import HostNotAllowed
from jinqiao.sharing import actions as sharing_actions
from tests.exchange.factories import World


def add(world: World, **fields: Any) -> DataSource:
    return actions.add_data_source(
        by=world.parties.clerk,
        node=world.provider_node.node,
        **{"name": "库", "engine": "postgresql", "host": "10.0.0.1", "database": "d", "user": "u", **fields},
    )


def test_every_kind_of_source_is_known() -> None:
    assert set(OPTIONS) == set(Engine)


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        ("postgresql", {"sslmode": "verify-full", "sslrootcert": "ca.pem", "connect_timeout_s": "5"}),
        ("mysql", {"tls": True, "ca": "ca.pem"}),
        ("odbc", {"dialect": "dm", "schema": "BIZ", "max_text_bytes": 4096}),
        ("csv", {"encoding": "gb18030", "types": {"t": {"a": "integer"}}}),
        ("excel", {"header_row": 2}),
        ("folder", {"max_file_mb": 10}),
        ("parquet", {}),
        ("jsonl", {}),
    ],
)
def test_options_of_a_source_travel_with_its_connection(world: World, engine: str, options: dict[str, Any]) -> None:
    source = add(world, engine=engine, database="Driver=DM8;Server=db" if engine == "odbc" else "data", options=options)

    given = {name: int(value) if name == "connect_timeout_s" else value for name, value in options.items()}
    assert connection(source).options == given
    assert source.user == ("u" if engine in ("postgresql", "mysql", "odbc") else "")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"options": {"colour": "red"}}, OptionUnknown),
        ({"options": {"sslmode": "sometimes"}}, OptionWrong),
        ({"options": {"connect_timeout_s": 0}}, OptionWrong),
        ({"options": {"connect_timeout_s": "soon"}}, OptionWrong),
        ({"options": {"schema": "a\nb"}}, OptionWrong),
        ({"options": {"password": "x"}}, SecretInOptions),
        ({"engine": "csv", "options": {"types": {"t": {"password": "s3cret"}}}}, SecretInOptions),
        ({"engine": "odbc", "database": "Driver=DM8;PWD=s3cret"}, SecretInOptions),
        ({"engine": "odbc", "database": "Driver=DM8;Uid=me"}, SecretInOptions),
        ({"engine": "http", "database": "https://api.example/", "is_writable": True}, TargetKindWrong),
        ({"engine": "http", "database": "https://api.example/", "is_writable": False}, HostNotAllowed),
        ({"host": ""}, ConnectionIncomplete),
        ({"database": ""}, ConnectionIncomplete),
    ],
)
def test_what_a_source_cannot_be_told_is_refused(world: World, fields: dict[str, Any], error: type[Exception]) -> None:
    count = DataSource.objects.count()

    with pytest.raises(error) as caught:
        add(world, **fields)

    assert "s3cret" not in str(getattr(caught.value, "details", ""))
    assert DataSource.objects.count() == count


def test_a_change_keeps_options_unless_others_are_given(world: World) -> None:
    source = add(world, options={"schema": "a"})
    actions.change_data_source(source, by=world.parties.clerk, name="n", database="d", host="h", user="u")
    source.refresh_from_db()
    assert source.options == {"schema": "a"}

    actions.change_data_source(source, by=world.parties.clerk, name="n", database="d", host="h", user="u", options={})
    source.refresh_from_db()
    assert source.options == {}


def test_a_source_that_nobody_uses_is_dropped_with_its_passwords(world: World) -> None:
    source = add(world, password="s3cret-of-the-source")
    token = actions.give_arrival_token(source, by=world.parties.clerk)
    with pytest.raises(NotYourSource):
        actions.retire_data_source(source, by=world.parties.asker)
    actions.retire_data_source(source, by=world.parties.clerk, reason="系统下线")

    source.refresh_from_db()
    assert (source.state, source.sealed_password) == (SourceState.RETIRED, "")
    for act in (actions.retire_data_source, actions.test_connection, actions.list_tables):
        with pytest.raises(SourceRetired):
            act(source, by=world.parties.clerk)  # type: ignore[operator]
    with pytest.raises(ArrivalRefused):
        actions.arrive_by_token(source.number, token)


def test_a_source_in_use_stays(world: World) -> None:
    task = world.task()
    for source, by in ((world.source, world.parties.clerk), (world.target, world.parties.asker)):
        with pytest.raises(SourceInUse):
            actions.retire_data_source(source, by=by)

    assert world.finished(world.run(task)).state == RunState.RECONCILED


def test_a_source_is_free_again_when_its_grants_are_over(world: World) -> None:
    grant = world.grant()
    world.task(grant)
    sharing_actions.revoke_grant(grant, by=world.parties.provider_head, reason="停止共享")

    actions.retire_data_source(world.source, by=world.parties.clerk)

    assert not Binding.objects.filter(source=world.source).exists()
