"""Pages of oversight: searching calls, counting them, anomalies, samples, a person's right of access, unused grants."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.dataplane.verify import main
from jinqiao.exchange import actions
from jinqiao.exchange.actions.subjects import commitments_of
from jinqiao.exchange.enums import AnomalyKind
from jinqiao.exchange.models import Anomaly, Call, EvidenceAnchor, SampledCall, Sampling
from jinqiao.kernel import moments
from jinqiao.sharing.enums import GrantState
from jinqiao.web.exchange.views import calls as call_views
from tests.exchange.factories import Served, call_record, evidence_batches
from tests.exchange.oversight import at, keep
from tests.exchange.test_anchors import anchor_of, offer
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db
DAY = date(2026, 3, 18)
NUMBER = "11010519491231002X"


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> None:
    settings.HOME = tmp_path


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda day: monkeypatch.setenv("JINQIAO_FIXED_DATE", day)


def page(name: str, *arguments: Any) -> str:
    return reverse(f"exchange:{name}", args=arguments)


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return str(response.content.decode())


def several(served: Served) -> None:
    keep(
        served,
        {"at": at(DAY, 9), "end_user": "zhang"},
        {"at": at(DAY, 10), "outcome": "gateway.source.unreachable", "rows": 0, "items": ()},
        {"at": at(DAY, 11), "operation": "count"},
    )


# ── calls ──


def test_the_folded_filters_narrow_too(enter: Any, served: Served) -> None:
    several(served)
    client = enter(make_post(Role.AUDITOR))
    for query, count in (
        ({"operation": "count"}, 1),
        ({"owner": "provider"}, 1),
        ({"end_user": "zhang"}, 1),
        ({"grant": served.grant.number}, 3),
        ({"application": served.application.number}, 3),
        ({"hour": at(DAY, 9).isoformat()}, 1),
        ({"environment": "sandbox"}, 0),
        ({"hour": "no hour", "anomaly": "x"}, 3),
    ):
        assert client.get(page("calls"), query).context["page"].paginator.count == count, query
    assert client.get(page("calls"), {"anomaly": "99"}).status_code == 404


def test_an_export_that_is_too_long_says_so(enter: Any, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from io import BytesIO

    import openpyxl

    several(served)
    monkeypatch.setattr(call_views, "EXPORT_CAP", 2)
    client = enter(served.world.parties.asker)
    assert "先缩小范围" in text_of(client.get(page("calls")))
    file = b"".join(client.get(page("calls"), {"export": "xlsx"}).streaming_content)
    rows = list(openpyxl.load_workbook(BytesIO(file)).active.iter_rows(values_only=True))

    assert len(rows) == 1 + 2 + 1
    assert "只导出最近的2次" in str(rows[-1][0])


def test_a_call_shows_what_was_asked_its_evidence_and_where_it_leads(enter: Any, served: Served) -> None:
    (record,) = keep(served, {"subjects": ("k:" + "ab" * 16,)})
    call = Call.objects.get(call_id=record.call_id)
    EvidenceAnchor.objects.create(
        gateway=served.gateway.node, lane=record.lane, batch=1, chain="00", at=moments.now(), body={}
    )
    text = text_of(enter(served.world.parties.clerk).get(page("call", call.pk)))

    assert record.call_id in text
    assert "姓名" in text
    assert "第1批的锚" in text
    assert "未收到" in text
    assert reverse("sharing:grant", args=[served.grant.pk]) in text
    assert page("service", served.service.pk) in text
    assert "ab" * 16 not in text
    assert enter(make_post(Role.OPERATOR)).get(page("call", call.pk)).status_code == 404


def test_a_call_whose_record_was_deleted_is_still_shown(enter: Any, served: Served) -> None:
    (record,) = keep(served, {"outcome": "gateway.items.not_granted", "rows": 0})
    Call.objects.update(record=None)
    text = text_of(enter(make_post(Role.AUDITOR)).get(page("call", Call.objects.get(call_id=record.call_id).pk)))

    assert "记录已按保存期限删除" in text


def test_a_calls_proof_is_downloaded_by_both_sides_and_the_auditor(enter: Any, served: Served, tmp_path: Path) -> None:
    (batch,) = evidence_batches([call_record(served, 1), call_record(served, 2)])
    actions.accept_evidence(served.gateway.node, batch)
    call = Call.objects.get(number=2)
    auditor = make_post(Role.AUDITOR)
    assert "还没有被锚定" in text_of(enter(auditor).get(page("call", call.pk)))
    assert enter(auditor).post(page("call_proof", call.pk)).status_code == 404
    offer(served, anchor_of(served, batch, number=2))

    for post in (auditor, served.world.parties.asker, served.world.parties.clerk):
        client = enter(post)
        assert page("call_proof", call.pk) in text_of(client.get(page("call", call.pk)))
        response = client.post(page("call_proof", call.pk))
        file = tmp_path / "proof.json"
        file.write_bytes(response.content)
        assert "attachment" in response["Content-Disposition"]
        assert main([str(file)]) == 0
    assert AuditEvent.objects.filter(action="exchange.evidence.prove").count() == 3
    assert enter(auditor).get(page("call_proof", call.pk)).status_code == 405
    assert enter(make_post(Role.OPERATOR)).post(page("call_proof", call.pk)).status_code == 404
    assert enter(make_post(Role.COUNTER)).post(page("call_proof", call.pk)).status_code == 403


# ── statistics ──


def test_every_figure_leads_to_as_many_calls(enter: Any, served: Served) -> None:
    several(served)
    client = enter(make_post(Role.BUREAU))
    for dimension in ("provider", "consumer", "service", "application", "purpose", "operation", "owner", "day", "hour"):
        response = client.get(page("call_statistics"), {"by": dimension})
        assert response.context["rows"], dimension
        for row in response.context["rows"]:
            assert client.get(row["url"]).context["page"].paginator.count == row["line"].calls, dimension
            refused = client.get(row["refused_url"]).context["page"].paginator.count
            assert refused == row["line"].refused, dimension
    for figure in response.context["figures"][:3]:
        assert client.get(figure.url).context["page"].paginator.count == int(figure.value)


def test_days_of_the_chart_stand_in_its_table(enter: Any, served: Served) -> None:
    several(served)
    response = enter(served.world.parties.asker).get(page("call_statistics"))
    day, answered, _refused = response.context["days"][-1]

    assert len(response.context["days"]) == 30
    assert (day.on, day.answered, day.refused) == (DAY, 2, 1)
    assert response.context["chart"]["series"][0]["values"][-1] == 2
    assert enter(served.world.parties.asker).get(answered).context["page"].paginator.count == 2


@pytest.mark.parametrize("query", [{"since": "x", "until": "2026-13-01"}, {"by": "nothing"}, {"since": "2027-01-01"}])
def test_filters_that_make_no_sense_are_left_out(enter: Any, served: Served, query: dict[str, str]) -> None:
    several(served)

    assert enter(make_post(Role.BUREAU)).get(page("call_statistics"), query).status_code == 200


def test_a_department_counts_its_own_side_only(enter: Any, served: Served) -> None:
    several(served)
    assert enter(make_post(Role.OPERATOR, make_organisation())).get(page("call_statistics")).context["rows"] == []


# ── anomalies ──


def anomaly(served: Served, **changes: Any) -> Anomaly:
    fields: dict[str, Any] = {
        "kind": AnomalyKind.OFF_HOURS,
        "key": "k",
        "rules_version": "2026-11",
        "provider": served.grant.provider,
        "consumer": served.grant.consumer,
        "application": served.application.number,
        "since": at(DAY, 0),
        "until": at(DAY, 23),
        "figures": {"calls": 30, "rows": 30, "is_day_off": False, "limit": 20, "empty_share": 0.5, "usual": 3},
        "found_at": moments.now(),
    }
    return Anomaly.objects.create(**fields | changes)


def test_every_kind_of_anomaly_has_its_words(enter: Any, served: Served) -> None:
    client = enter(make_post(Role.BUREAU))
    for kind in AnomalyKind:
        one = anomaly(served, kind=kind, provider=None if kind == AnomalyKind.SAME_PERSON else served.grant.provider)
        assert str(kind.label) in text_of(client.get(page("anomaly", one.pk)))
    assert "2026-11" in text_of(client.get(page("anomaly_rules")))
    assert client.get(page("anomalies")).context["page"].paginator.count == len(AnomalyKind)


def test_an_anomaly_leads_to_its_calls_and_is_closed_with_a_reason(enter: Any, served: Served) -> None:
    several(served)
    one = anomaly(served)
    client = enter(served.world.provider_admin)
    response = client.get(page("anomaly", one.pk))
    assert response.context["count"] == 3
    assert client.get(response.context["calls_url"]).context["page"].paginator.count == 3
    assert "reason" in client.post(page("anomaly_close", one.pk), {"state": "explained"}).context["form"].errors
    client.post(page("anomaly_close", one.pk), {"state": "explained", "reason": "夜间批量认证"})

    assert "夜间批量认证" in text_of(client.get(page("anomaly", one.pk)))
    assert client.get(page("anomalies"), {"state": "open"}).context["page"].paginator.count == 0
    assert b"".join(client.get(page("anomalies"), {"export": "xlsx"}).streaming_content)[:2] == b"PK"


def test_the_side_that_called_does_not_find_it(enter: Any, served: Served) -> None:
    one = anomaly(served)
    client = enter(served.world.parties.asker)

    assert client.get(page("anomaly", one.pk)).status_code == 404
    assert client.post(page("anomaly_close", one.pk), {"state": "explained", "reason": "x"}).status_code == 404
    assert client.get(page("anomalies")).context["page"].paginator.count == 0


# ── samples ──


def drawn(served: Served, on: Any) -> SampledCall:
    sampling = actions.announce_sampling(by=served.world.parties.bureau, starts_on=DAY, ends_on=DAY, share=1.0, most=5)
    keep(served, {"at": at(DAY)})
    on("2026-03-20")
    actions.draw_period(sampling)
    return SampledCall.objects.get()


def test_a_sample_is_justified_with_a_paper_and_judged(enter: Any, served: Served, on: Any) -> None:
    sample = drawn(served, on)
    parties = served.world.parties
    client = enter(parties.asker)
    assert "说明理由" in text_of(client.get(page("sample", sample.pk)))
    empty = client.post(page("sample_justify", sample.pk), {"case_reference": ""})
    assert "justification" in empty.context["justify_form"].errors
    paper = SimpleUploadedFile("受理单.pdf", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF\n")
    wanted = {"case_reference": "永房审12号", "justification": "审核公租房申请", "papers": paper}
    assert client.post(page("sample_justify", sample.pk), wanted).status_code == 302
    shown = client.get(page("sample", sample.pk))
    (attachment,) = shown.context["papers"]
    assert b"".join(client.get(page("sample_paper", sample.pk, attachment.pk)).streaming_content)[:4] == b"%PDF"
    assert not shown.context["may_judge"]

    client = enter(parties.clerk)
    refused = client.post(page("sample_judge", sample.pk), {"accepted": "no"})
    assert "opinion" in refused.context["judge_form"].errors
    client.post(page("sample_judge", sample.pk), {"accepted": "yes"})
    sample.refresh_from_db()
    assert sample.state == "accepted"
    assert b"".join(client.get(page("samples"), {"export": "xlsx"}).streaming_content)[:2] == b"PK"
    assert client.get(page("samples"), {"state": "accepted"}).context["page"].paginator.count == 1


def test_a_late_answer_is_judged_by_the_authority_and_the_grant_goes_on(enter: Any, served: Served, on: Any) -> None:
    sample = drawn(served, on)
    on("2026-04-20")
    actions.tend_sampling()
    parties = served.world.parties
    client = enter(parties.asker)
    assert "现在已暂停" in text_of(client.get(page("sample", sample.pk)))
    client.post(page("sample_justify", sample.pk), {"case_reference": "永房审12号", "justification": "补充"})
    assert enter(parties.clerk).post(page("sample_judge", sample.pk), {"accepted": "yes"}).status_code == 200
    sample.refresh_from_db()
    assert sample.state == "justified"
    enter(parties.bureau).post(page("sample_judge", sample.pk), {"accepted": "yes"})

    served.grant.refresh_from_db()
    assert served.grant.state == GrantState.ACTIVE


def test_strangers_find_no_sample(enter: Any, served: Served, on: Any) -> None:
    sample = drawn(served, on)
    client = enter(make_post(Role.OPERATOR))

    assert client.get(page("sample", sample.pk)).status_code == 404
    assert client.post(page("sample_justify", sample.pk), {}).status_code == 404


def test_a_period_is_announced_by_its_page_and_says_how_to_draw_again(enter: Any, served: Served, on: Any) -> None:
    client = enter(served.world.parties.bureau)
    wrong = {"starts_on": "2026-03-01", "ends_on": "2026-03-02", "share": "5", "most": "20"}
    assert "ends_on" in client.post(page("sampling_new"), wrong).context["form"].errors
    client.post(page("sampling_new"), {**wrong, "ends_on": "2026-03-25"})
    sampling = Sampling.objects.get()
    text = text_of(client.get(page("sampling", sampling.pk)))

    assert sampling.seed_digest in text
    assert "抽取时公布" in text
    assert sampling.number in text_of(enter(make_post(Role.OPERATOR)).get(page("samplings")))
    assert b"".join(client.get(page("samplings"), {"export": "xlsx"}).streaming_content)[:2] == b"PK"


# ── a person's right of access ──


def test_the_answer_is_without_the_number_and_can_be_exported(enter: Any, served: Served) -> None:
    (own,) = commitments_of(NUMBER)
    keep(served, {"subjects": (own,)}, {"subjects": (own,), "outcome": "gateway.items.not_granted", "rows": 0})
    client = enter(served.world.parties.bureau)
    response = client.post(page("disclosures"), {"number": NUMBER.lower(), "reference": "CY-2026-1"})
    text = text_of(response)
    assert served.grant.consumer.name in text
    assert served.grant.request.basis in text
    assert "另有1次查询被拒绝" in text
    assert NUMBER not in text.upper()
    assert "no-store" in response["Cache-Control"]
    file = client.post(page("disclosures_export"), {"token": response.context["token"]})
    assert b"".join(file.streaming_content)[:2] == b"PK"

    assert [
        event.action for event in AuditEvent.objects.filter(action__startswith="exchange.disclosure").order_by("number")
    ] == [
        "exchange.disclosure.tell",
        "exchange.disclosure.export",
    ]
    assert NUMBER not in str(list(AuditEvent.objects.values()))


@pytest.mark.parametrize("number", ["110105194912310021", "1101051949", "x"])
def test_a_wrong_number_is_refused_without_being_repeated(enter: Any, served: Served, number: str) -> None:
    response = enter(served.world.parties.bureau).post(
        page("disclosures"), {"number": number, "reference": "CY-2026-1"}
    )

    assert "number" in response.context["form"].errors
    assert f'value="{number}"' not in text_of(response)
    assert not AuditEvent.objects.filter(action__startswith="exchange.disclosure").exists()


def test_a_token_of_ones_own_making_exports_nothing(enter: Any, served: Served) -> None:
    client = enter(served.world.parties.bureau)

    assert client.post(page("disclosures_export"), {"token": "forged"}).status_code == 400


def test_a_bureau_that_is_not_the_authority_is_refused(enter: Any, served: Served) -> None:
    assert enter(make_post(Role.BUREAU, make_organisation())).get(page("disclosures")).status_code == 403


# ── unused grants ──


def test_unused_grants_are_listed_and_exported(enter: Any, served: Served, on: Any) -> None:
    on("2026-04-28")
    client = enter(served.world.parties.asker)
    assert client.get(page("unused")).context["page"].paginator.count == 1
    assert client.get(page("unused"), {"mode": "batch"}).context["page"].paginator.count == 0
    assert "从未使用" in text_of(client.get(page("unused")))
    assert b"".join(client.get(page("unused"), {"export": "xlsx"}).streaming_content)[:2] == b"PK"


def test_queries_do_not_grow_with_the_rows(
    enter: Any, served: Served, on: Any, django_assert_max_num_queries: Any
) -> None:
    drawn(served, on)
    anomaly(served)
    client = enter(make_post(Role.BUREAU))
    names = ("calls", "call_statistics", "anomalies", "samples", "samplings", "unused")
    counts = {}
    for name in names:
        client.get(page(name))
        with CaptureQueriesContext(connection) as few:
            client.get(page(name))
        counts[name] = len(few)
    for number in range(4):
        anomaly(served, key=str(number))
        keep(served, {"at": at(DAY, number)})
        sampling = actions.announce_sampling(
            by=served.world.parties.bureau, starts_on=DAY, ends_on=date(2026, 3, 20), share=1.0, most=5
        )
        Sampling.objects.filter(pk=sampling.pk).update(ends_on=DAY)
        actions.draw_period(sampling)
    for name, count in counts.items():
        with django_assert_max_num_queries(count + (1 if name in ("samples", "samplings") else 0)):
            client.get(page(name))


def test_counts_of_a_period_lead_to_as_many_samples(enter: Any, served: Served, on: Any) -> None:
    drawn(served, on)
    client = enter(served.world.parties.bureau)
    (sampling,) = client.get(page("samplings")).context["page"]
    for state, count in (("open", sampling.open), ("judged", sampling.judged), ("", sampling.asked)):
        found = client.get(page("samples"), {"period": sampling.number, "state": state})
        assert found.context["page"].paginator.count == count, state


def test_an_anomaly_stands_among_the_alerts_and_its_rule_among_theirs(enter: Any, served: Served) -> None:
    bureau = make_post(Role.BUREAU, make_organisation(is_authority=True))
    client = enter(bureau)
    assert page("alert_rule", "calls_off_hours") in text_of(client.get(page("anomaly_rules")))
    form = client.get(page("alert_rule", "calls_off_hours"))
    assert "夜间自（时）" in text_of(form)
    assert "全部查询服务" in text_of(form)
    given = {"is_on": "on", "severity": "serious", "from_hour": "20", "until_hour": "7", "least_calls": "2"}
    assert client.post(page("alert_rule", "calls_off_hours"), given).status_code == 302
    keep(served, *[{"at": at(DAY, 20)}] * 2)
    assert actions.watch_calls(DAY) == 1
    anomaly = Anomaly.objects.get()

    listed = text_of(client.get(page("alerts"), {"kind": "calls_off_hours"}))
    assert page("anomaly", anomaly.pk) in listed
    assert served.service.number in listed
    (alert,) = anomaly.alerts.all()
    shown = text_of(client.get(page("alert", alert.pk)))
    assert "夜间或休息日有较多查询" in shown
    assert "调用次数" in shown
    rules = text_of(client.get(page("anomaly_rules")))
    assert anomaly.rules_version in rules
    provider = enter(served.world.parties.clerk)
    assert page("alert_rule", "calls_off_hours") not in text_of(provider.get(page("anomaly_rules")))
    assert provider.get(page("alert", alert.pk)).status_code == 200
