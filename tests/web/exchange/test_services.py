"""Pages of query services and calls."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.exchange import actions
from jinqiao.exchange.models import Binding, QueryService
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.health import ServiceHealth
from jinqiao.sharing import actions as sharing_actions
from jinqiao.web.exchange.service_forms import SECTIONS, ServiceForm
from tests.exchange.factories import Served, call_record, evidence_batches
from tests.factories import make_application, make_post

pytestmark = pytest.mark.django_db


def page_of(served: Served) -> str:
    return reverse("exchange:service", args=[served.service.pk])


def test_the_page_says_how_to_call_and_what_is_shown(enter: Any, served: Served) -> None:
    text = enter(served.developer).get(page_of(served)).content.decode()

    assert f"/gateway/v1/services/{served.service.number}/query" in text
    assert "公租房资格审核" in text
    assert served.application.number in text
    assert served.secret not in text


def test_a_service_that_cannot_be_called_says_why(enter: Any, served: Served) -> None:
    sharing_actions.suspend_grant(served.grant, by=served.world.parties.provider_head, reason="核查用途")

    assert "授权不在有效状态" in enter(served.world.parties.asker).get(page_of(served)).content.decode()


def test_applications_are_attached_and_detached(enter: Any, served: Served) -> None:
    other = make_application(served.world.parties.consumer)
    client = enter(served.world.parties.asker)
    client.post(reverse("exchange:service_attach", args=[served.service.pk]), {"application": other.pk})
    assert other in served.service.applications.all()

    client.post(reverse("exchange:service_detach", args=[served.service.pk, other.pk]))

    assert other not in served.service.applications.all()


def test_anothers_application_is_not_offered_and_not_taken(enter: Any, served: Served) -> None:
    stranger = make_application()
    client = enter(served.world.parties.asker)
    client.post(reverse("exchange:service_attach", args=[served.service.pk]), {"application": stranger.pk})

    assert stranger not in served.service.applications.all()


def test_the_provider_attaches_nothing(enter: Any, served: Served) -> None:
    other = make_application(served.world.parties.consumer)
    response = enter(served.world.parties.clerk).post(
        reverse("exchange:service_attach", args=[served.service.pk]), {"application": other.pk}
    )

    assert response.status_code == 403
    assert other not in served.service.applications.all()


SETTINGS = {
    "operations": ["query", "list"],
    "filter_items": ["djrq"],
    "case_item": "",
    "role_masks": "窗口人员 xm 姓名遮蔽\n\n领导 xm none",
    "row_cap": "5",
    "batch_cap": "20",
    "smallest_count": "10",
    "calls_per_minute": "60",
    "calls_per_day": "",
    "rows_per_day": "900",
    "weekdays": ["1", "2", "3", "4", "5"],
    "first": "08:30",
    "last": "12:00",
    "second_first": "14:30",
    "second_last": "18:00",
    "version": "1",
}


def test_the_provider_sets_the_service_and_both_sides_read_it(enter: Any, served: Served) -> None:
    page = reverse("exchange:service_set", args=[served.service.pk])
    assert enter(served.world.parties.asker).get(page).status_code == 403
    client = enter(served.world.parties.clerk)
    client.post(page, SETTINGS)

    found = actions.settings_of(QueryService.objects.get(pk=served.service.pk))
    assert (found.row_cap, found.filter_items, found.calls_per_day, found.rows_per_day) == (5, ("djrq",), None, 900)
    assert [(span.first, span.last, span.weekdays) for span in found.hours] == [
        ("08:30", "12:00", (1, 2, 3, 4, 5)),
        ("14:30", "18:00", (1, 2, 3, 4, 5)),
    ]
    assert [(mask.role, mask.code) for mask in found.role_masks] == [("窗口人员", "xm"), ("领导", "xm")]
    for reader in (served.developer, served.world.parties.asker, served.world.parties.clerk):
        text = enter(reader).get(page_of(served)).content.decode()
        assert "单条查询、按条件列表" in text
        assert "14:30-18:00" in text
        assert "窗口人员看姓名：姓名遮蔽" in text


def test_the_form_shows_what_is_set_and_saving_it_again_changes_nothing(enter: Any, served: Served) -> None:
    page = reverse("exchange:service_set", args=[served.service.pk])
    client = enter(served.world.parties.clerk)
    client.post(page, SETTINGS)
    before = actions.settings_of(QueryService.objects.get(pk=served.service.pk))

    form = client.get(page).context["form"]
    shown = {name: form[name].value() for name in form.fields}
    client.post(page, {name: "" if value is None else value for name, value in shown.items() if value is not False})

    assert actions.settings_of(QueryService.objects.get(pk=served.service.pk)) == before


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"operations": []}, "operations"),
        ({"row_cap": "0"}, "row_cap"),
        ({"filter_items": ["nobody"]}, "filter_items"),
        ({"role_masks": "窗口人员 xm"}, "role_masks"),
        ({"role_masks": "窗口人员 nobody 姓名遮蔽"}, "role_masks"),
        ({"role_masks": "甲 xm none\n甲 xm none"}, "role_masks"),
        ({"last": ""}, "last"),
        ({"last": "08:00"}, "last"),
        ({"weekdays": []}, "weekdays"),
        ({"version": "0"}, "version"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(enter: Any, served: Served, changes: Any, field: str) -> None:
    response = enter(served.world.parties.clerk).post(
        reverse("exchange:service_set", args=[served.service.pk]), {**SETTINGS, **changes}
    )

    assert list(response.context["form"].errors) == [field]


def test_an_announced_end_is_seen_by_the_consumer(enter: Any, served: Served) -> None:
    page = reverse("exchange:service_end", args=[served.service.pk])
    clerk = enter(served.world.parties.clerk)
    assert "ends_on" in clerk.post(page, {"ends_on": "2026-03-20"}).context["form"].errors
    clerk.post(page, {"ends_on": "2026-06-30"})

    assert "最后服务日2026-06-30" in enter(served.developer).get(page_of(served)).content.decode()
    enter(served.world.parties.clerk).post(page, {"ends_on": ""})
    assert "已公告停用" not in enter(served.developer).get(page_of(served)).content.decode()


def test_a_developer_attaches_his_own_application(enter: Any, served: Served) -> None:
    own = make_application(served.world.parties.consumer, served.developer.person)
    foreign = make_application(served.world.parties.consumer)
    client = enter(served.developer)
    offered = client.get(page_of(served)).context["attach_form"].fields["application"].queryset
    assert list(offered) == [own]

    for application in (own, foreign):
        client.post(reverse("exchange:service_attach", args=[served.service.pk]), {"application": application.pk})

    assert own in served.service.applications.all()
    assert foreign not in served.service.applications.all()


def test_a_service_is_suspended_and_resumed(enter: Any, served: Served) -> None:
    client = enter(served.world.provider_admin)
    client.post(reverse("exchange:service_state", args=[served.service.pk, "suspend"]), {"reason": "源库维护"})
    assert QueryService.objects.get(pk=served.service.pk).is_suspended

    client.post(reverse("exchange:service_state", args=[served.service.pk, "resume"]))

    assert not QueryService.objects.get(pk=served.service.pk).is_suspended


def shipped(served: Served) -> None:
    (batch,) = evidence_batches(
        [
            call_record(served, 1),
            call_record(served, 2, outcome="exchange.grant.not_live", rows=0),
            call_record(served, 3, outcome="nobody.knows.this", rows=0),
        ]
    )
    actions.accept_evidence(served.gateway.node, batch)


def test_calls_are_filtered_and_exported(enter: Any, served: Served) -> None:
    shipped(served)
    client = enter(served.world.parties.asker)
    page = reverse("exchange:calls")
    for query, count in (
        ({}, 3),
        ({"outcome": "ok"}, 1),
        ({"outcome": "refused"}, 2),
        ({"q": "GZF-2"}, 1),
        ({"service": served.service.number}, 3),
        ({"service": "other"}, 0),
        ({"since": "2030-01-01"}, 0),
        ({"until": "2020-01-01"}, 0),
    ):
        assert client.get(page, query).context["page"].paginator.count == count, query
    text = client.get(page).content.decode()
    assert "nobody.knows.this" in text
    assert b"".join(client.get(page, {"export": "xlsx"}).streaming_content)[:2] == b"PK"
    assert b"".join(client.get(reverse("exchange:services"), {"export": "xlsx"}).streaming_content)[:2] == b"PK"


def test_queries_do_not_grow_with_the_rows(enter: Any, served: Served, django_assert_max_num_queries: Any) -> None:
    client = enter(make_post(Role.BUREAU))
    shipped(served)
    counts = {}
    for name in ("services", "calls"):
        client.get(reverse(f"exchange:{name}"))
        with CaptureQueriesContext(connection) as few:
            client.get(reverse(f"exchange:{name}"))
        counts[name] = len(few)
    for _ in range(3):
        served.world.grant(mode="interface")
    more = [call_record(served, number, lane="lane-2") for number in range(1, 6)]
    renamed = [dataclasses.replace(record, call_id=f"second-{record.number}") for record in more]
    actions.accept_evidence(served.gateway.node, evidence_batches(renamed)[0])
    for name, count in counts.items():
        with django_assert_max_num_queries(count):
            client.get(reverse(f"exchange:{name}"))


def test_the_page_says_how_the_http_service_behind_is(enter: Any, served: Served) -> None:
    client = enter(served.world.parties.clerk)
    assert "健康探测" not in client.get(page_of(served)).content.decode()  # a table has none
    source = Binding.objects.get(entry=served.grant.entry).source
    source.engine, source.options = "http", {"tables": {}}
    source.save()
    assert "没有登记探测路径" in client.get(page_of(served)).content.decode()
    source.options = {"tables": {}, "health": {"path": "/health"}}
    source.save()
    assert "还没有探测结果" in client.get(page_of(served)).content.decode()
    now = moments.now()
    word = ServiceHealth(service=served.service.number, is_well=False, problem="status 503", since=now, at=now)
    for told, words in (
        (word, "不正常（status 503）"),
        (dataclasses.replace(word, is_well=True, problem=""), "正常，自"),
        (dataclasses.replace(word, at=now - timedelta(hours=1)), "没有报来更新的"),
    ):
        QueryService.objects.filter(pk=served.service.pk).update(source_health=told.to_json())
        assert words in client.get(page_of(served)).content.decode()
    QueryService.objects.filter(pk=served.service.pk).update(source_health={"_": "ServiceHealth/9"})
    assert "还没有探测结果" in client.get(page_of(served)).content.decode()


def test_the_settings_of_a_service_stand_in_sections_and_none_is_left_out() -> None:
    named = [name for _, fields in SECTIONS for name in fields.split(",")]
    assert sorted(named) == sorted(ServiceForm.base_fields)
