"""Pages of nodes, sources and bindings."""

from typing import Any

import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import NodeState
from jinqiao.exchange.models import Binding, DataSource, Node, NodeCommand
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, NodeRegistration, Problem
from jinqiao.kernel.crypto.identity import Identity, fingerprint
from tests.exchange.factories import World, make_node, make_source
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db


def test_a_registered_node_shows_its_code_once_and_the_code_works(enter: Any) -> None:
    admin = make_post(Role.DEPARTMENT_ADMINISTRATOR)
    client = enter(admin)
    response = client.post(
        reverse("exchange:node_new"),
        {"number": "rsj-front-1", "name": "市人社局前置节点", "kind": "front_end", "zone": "extranet"},
    )
    code = response.context["code"]
    assert code in response.content.decode()
    assert "no-store" in response["Cache-Control"]

    node = Node.objects.get(number="rsj-front-1")
    assert node.organisation == admin.organisation
    assert code not in client.get(reverse("exchange:node", args=[node.pk])).content.decode()
    identity = Identity.generate()
    actions.register_node(NodeRegistration(code=code, identity=identity.public.to_json(), name="n", version="0.1.0"))
    approve = reverse("exchange:node_approve", args=[node.pk])
    assert approve in client.get(reverse("exchange:node", args=[node.pk])).content.decode()
    wrong = client.post(approve, {"fingerprint": Identity.generate().key_id})
    assert "fingerprint" in wrong.context["form"].errors

    client.post(approve, {"fingerprint": fingerprint(identity.key_id).upper()})

    node.refresh_from_db()
    assert node.state == NodeState.ACTIVE


def test_the_bureau_chooses_the_department_of_a_node(enter: Any) -> None:
    organisation = make_organisation()
    enter(make_post(Role.BUREAU)).post(
        reverse("exchange:node_new"),
        {"number": "gw-1", "name": "查询网关", "kind": "gateway", "zone": "extranet", "organisation": organisation.pk},
    )

    assert Node.objects.get(number="gw-1").organisation == organisation


def test_a_number_that_is_taken_is_said_at_its_field(enter: Any, world: World) -> None:
    number = world.consumer_node.node.number
    response = enter(world.admin).post(
        reverse("exchange:node_new"), {"number": number, "name": "n", "kind": "front_end", "zone": "extranet"}
    )

    assert "number" in response.context["form"].errors


def test_a_new_code_is_asked_for_on_the_page(enter: Any, world: World) -> None:
    node = Node.objects.get(pk=world.consumer_node.node.pk)
    Node.objects.filter(pk=node.pk).update(state=NodeState.EXPECTED)
    client = enter(world.admin)
    assert "重新生成接入码" in client.get(reverse("exchange:node", args=[node.pk])).content.decode()

    response = client.post(reverse("exchange:node_code", args=[node.pk]))

    assert len(response.context["code"]) > 16


def test_suspending_asks_for_a_reason(enter: Any, world: World) -> None:
    node = world.consumer_node.node
    client = enter(world.admin)
    page = reverse("exchange:node_state", args=[node.pk, "suspend"])
    assert client.post(page, {"reason": ""}).status_code == 200
    client.post(page, {"reason": "检修"})

    node.refresh_from_db()
    assert node.state == NodeState.SUSPENDED
    assert AuditEvent.objects.get(action="exchange.node.suspend").details["reason"] == "检修"


def test_a_busy_node_is_not_retired_and_the_page_says_why(enter: Any, world: World) -> None:
    world.run()
    page = reverse("exchange:node_state", args=[world.provider_node.node.pk, "retire"])
    response = enter(world.provider_admin).post(page, {"reason": "换机"})

    assert "还有1项运行中的交换" in response.content.decode()


def test_a_source_is_registered_on_the_page_without_its_password_coming_back(enter: Any, world: World) -> None:
    client = enter(world.parties.clerk)
    fields = {
        "node": world.provider_node.node.pk,
        "name": "社保业务库",
        "engine": "mysql",
        "host": "10.0.0.9",
        "port": "",
        "database": "shebao",
        "user": "reader",
        "password": "Very-Secret-9",
    }
    broken = client.post(reverse("exchange:source_new"), {**fields, "host": ""})
    assert "host" in broken.context["form"].errors
    assert "Very-Secret-9" not in broken.content.decode()

    response = client.post(reverse("exchange:source_new"), fields, follow=True)

    source = DataSource.objects.get(name="社保业务库")
    assert source.port == 3306
    assert "Very-Secret-9" not in response.content.decode()
    assert NodeCommand.objects.filter(source=source, kind=CommandKind.TEST_CONNECTION).exists()


def test_the_live_part_of_a_source_asks_again_until_the_node_has_answered(enter: Any, world: World) -> None:
    client = enter(world.parties.clerk)
    page = reverse("exchange:source", args=[world.source.pk])
    assert "hx-trigger" not in client.get(page).content.decode()
    client.post(reverse("exchange:source_test", args=[world.source.pk]))
    assert "hx-trigger" in client.get(page).content.decode()

    command = world.provider_node.take(CommandKind.TEST_CONNECTION)
    problem = Problem(code="source.connection.authentication")
    world.provider_node.answer(
        CommandResult(command_id=command.id, ok=False, problem=problem, finished_at=moments.now())
    )

    part = client.get(page, headers={"HX-Request": "true"}).content.decode()
    assert part.startswith('<div id="source-live">')
    assert "连接失败" in part


def test_tables_are_listed_and_asked_for_anew(enter: Any, world: World) -> None:
    client = enter(world.parties.clerk)
    assert "marriage" in client.get(reverse("exchange:source", args=[world.source.pk])).content.decode()
    client.post(reverse("exchange:source_tables", args=[world.source.pk]))

    assert world.provider_node.take(CommandKind.LIST_TABLES).data_source == world.source.number


def test_a_password_is_changed_on_its_page(enter: Any, world: World) -> None:
    before = world.source.sealed_password
    page = reverse("exchange:source_password", args=[world.source.pk])
    enter(world.parties.clerk).post(page, {"password": "Another-1"})

    world.source.refresh_from_db()
    assert world.source.sealed_password != before


def test_a_source_is_changed_on_its_page(enter: Any, world: World) -> None:
    client = enter(world.parties.clerk)
    page = reverse("exchange:source_change", args=[world.source.pk])
    fields = {"name": "新库", "host": "10.9.9.9", "port": "", "database": "biz", "user": "reader"}
    assert "host" in client.post(page, {**fields, "host": ""}).context["form"].errors
    client.post(page, fields)

    world.source.refresh_from_db()
    assert (world.source.name, world.source.host, world.source.port) == ("新库", "10.9.9.9", 5432)


def test_an_entry_is_bound_column_by_column(enter: Any, world: World) -> None:
    Binding.objects.all().delete()
    client = enter(world.parties.clerk)
    page = reverse("exchange:bind", args=[world.parties.entry.pk])
    assert "看它的列" in client.get(page).content.decode()
    chosen = f"{page}?source={world.source.pk}&table=marriage"
    form = client.get(chosen).context["form"]
    assert "photo" not in dict(form.fields["column-xm"].choices)  # a binary column does not fit a text item

    wrong = client.post(chosen, {"column-xm": "name", "lookup_items": ["sfzh"]})
    assert "没有挂接到列" in wrong.content.decode()
    client.post(
        chosen,
        {
            "column-xm": "name",
            "column-sfzh": "id_card",
            "key_columns": ["id_card"],
            "watermark_column": "updated_at",
            "lookup_items": ["sfzh"],
        },
    )

    binding = Binding.objects.get()
    assert binding.columns == {"xm": "name", "sfzh": "id_card"}
    assert (binding.key_columns, binding.watermark_column, binding.lookup_items) == (
        ["id_card"],
        "updated_at",
        ["sfzh"],
    )


def test_the_consumer_does_not_bind_the_providers_entry(enter: Any, world: World) -> None:
    page = reverse("exchange:bind", args=[world.parties.entry.pk])

    assert enter(world.parties.asker).get(page).status_code == 404


def test_entries_are_listed_with_their_binding(enter: Any, world: World) -> None:
    client = enter(world.parties.clerk)
    page = reverse("exchange:bindings")
    assert "已挂接" in client.get(page).content.decode()
    assert client.get(page, {"state": "open"}).context["page"].paginator.count == 0
    assert client.get(page, {"state": "bound"}).context["page"].paginator.count == 1


@pytest.mark.parametrize("name", ["nodes", "sources", "bindings"])
def test_lists_are_exported(enter: Any, world: World, name: str) -> None:
    response = enter(world.parties.clerk).get(reverse(f"exchange:{name}"), {"export": "xlsx"})

    assert response["Content-Type"].endswith("spreadsheetml.sheet")
    assert b"".join(response.streaming_content)[:2] == b"PK"


def test_queries_do_not_grow_with_the_rows(enter: Any, world: World, django_assert_max_num_queries: Any) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = enter(make_post(Role.BUREAU))
    counts = {}
    for name in ("nodes", "sources", "bindings"):
        client.get(reverse(f"exchange:{name}"))
        with CaptureQueriesContext(connection) as few:
            client.get(reverse(f"exchange:{name}"))
        counts[name] = len(few)
    for _ in range(3):
        organisation = make_organisation()
        make_source(make_node(organisation), make_post(Role.OPERATOR, organisation))
    for name, count in counts.items():
        with django_assert_max_num_queries(count):
            client.get(reverse(f"exchange:{name}"))
