"""What looks unusual in calls is found, put on the right desk, and closed with a reason."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from django.core import mail

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions import anomalies as acting
from jinqiao.exchange.actions.sending import message_of
from jinqiao.exchange.enums import ANOMALY_MOVES, AlertKind, AnomalyKind, AnomalyState, ChannelKind
from jinqiao.exchange.errors import AlertRuleWrong, NotYourAlert
from jinqiao.exchange.models import Alert, Anomaly, OutboxMessage
from jinqiao.exchange.oversight_errors import (
    AnomalyClosed,
    AnomalyReasonMissing,
    NotYourAnomaly,
)
from jinqiao.exchange.queries.anomalies import AnomalyRule, anomalies_visible_to, anomaly_rule, anomaly_rules_version
from jinqiao.exchange.queries.conduct import Finding, findings_of
from jinqiao.exchange.tasks import work_message
from jinqiao.kernel import moments
from jinqiao.kernel.moments import CHINA
from jinqiao.workflow.models import ToDo
from tests.exchange.factories import Served
from tests.exchange.oversight import at, keep
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db
TUESDAY = date(2026, 3, 17)


def rule(kind: AnomalyKind, **numbers: float) -> AnomalyRule:
    """The shipped rule with smaller thresholds."""
    shipped = anomaly_rule(kind)
    return replace(shipped, numbers={**shipped.numbers, **numbers})


@pytest.fixture
def small_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [
        rule(AnomalyKind.OFF_HOURS, least_calls=2),
        rule(AnomalyKind.ENUMERATION, least_calls=1000, most_persons=1000),
    ]
    monkeypatch.setattr(acting, "anomaly_rules", lambda: rules)
    return


def test_every_kind_has_a_rule_with_a_version() -> None:
    assert anomaly_rules_version()
    for kind in AnomalyKind:
        assert anomaly_rule(kind).is_on


@pytest.mark.parametrize(("hour", "found"), [(5, 1), (6, 0), (21, 0), (22, 1)])
def test_calls_outside_hours_are_found(served: Served, hour: int, found: int) -> None:
    keep(served, {"at": at(TUESDAY, hour)}, {"at": at(TUESDAY, hour)})

    assert len(list(findings_of(TUESDAY, rule(AnomalyKind.OFF_HOURS, least_calls=2)))) == found


def test_refused_sandbox_and_few_calls_outside_hours_are_nothing(served: Served) -> None:
    night = at(TUESDAY, 23)
    keep(served, {"at": night}, {"at": night, "outcome": "gateway.x"}, {"at": night, "environment": "sandbox"})

    assert list(findings_of(TUESDAY, rule(AnomalyKind.OFF_HOURS, least_calls=2))) == []


def test_a_volume_far_from_its_own_history_is_found(served: Served) -> None:
    for back in range(1, 9):
        keep(served, *[{"at": at(TUESDAY - timedelta(days=back))}] * 3)
    keep(served, *[{"at": at(TUESDAY)}] * 12)
    (finding,) = findings_of(TUESDAY, rule(AnomalyKind.VOLUME, least_calls=5))

    assert (finding.service, finding.figures["calls"], finding.figures["usual"]) == (served.service.number, 12, 3)
    assert list(findings_of(TUESDAY, rule(AnomalyKind.VOLUME, least_calls=50))) == []
    assert list(findings_of(TUESDAY, rule(AnomalyKind.VOLUME, least_calls=5, least_history=20))) == []


def test_many_persons_or_many_empty_answers_are_found(served: Served) -> None:
    keep(
        served,
        *[{"at": at(TUESDAY), "rows": 0 if number < 3 else 1, "subjects": (f"k:{number}",)} for number in range(4)],
    )
    found = {
        name: [finding.figures for finding in findings_of(TUESDAY, rule(AnomalyKind.ENUMERATION, **numbers))]
        for name, numbers in {
            "persons": {"most_persons": 3},
            "empty": {"least_calls": 4},
            "none": {},
        }.items()
    }

    assert found["persons"][0]["persons"] == found["empty"][0]["persons"] == 4
    assert found["empty"][0]["empty_share"] == 0.75
    assert found["none"] == []


def test_one_person_asked_for_by_many_is_found(served: Served) -> None:
    keep(served, *[{"at": at(TUESDAY), "subjects": ("k:1",), "end_user": f"u{n}"} for n in range(3)])
    (finding,) = findings_of(TUESDAY, rule(AnomalyKind.SAME_PERSON, most_end_users=2))

    assert (finding.subject, finding.figures["end_users"], finding.figures["applications"]) == ("k:1", 3, 1)
    assert finding.provider == served.grant.provider.credit_code


@pytest.mark.parametrize("kind", [AnomalyKind.BUSY_USER, AnomalyKind.SHARED_CASE])
def test_many_persons_for_one_end_user_or_case_are_found(served: Served, kind: AnomalyKind) -> None:
    same: dict[str, Any] = {"at": at(TUESDAY), "end_user": "zhang", "case_number": "GZF-1"}
    keep(served, *[{**same, "subjects": (f"k:{n}", "k:0")} for n in range(3)])
    (finding,) = findings_of(TUESDAY, rule(kind, most_persons=2))

    assert (finding.figures["persons"], finding.figures["calls"]) == (3, 3)
    assert finding.end_user or finding.case_number


def test_calls_without_end_user_are_nobodys(served: Served) -> None:
    keep(served, *[{"at": at(TUESDAY), "end_user": "", "subjects": (f"k:{n}",)} for n in range(3)])

    assert list(findings_of(TUESDAY, rule(AnomalyKind.BUSY_USER, most_persons=1))) == []


def test_a_finding_goes_to_the_providers_desk_once(served: Served, small_rules: None) -> None:
    keep(served, *[{"at": at(TUESDAY, 23)}] * 2)
    assert actions.watch_calls(TUESDAY) == 1
    keep(served, {"at": at(TUESDAY, 23)})
    assert actions.watch_calls(TUESDAY + timedelta(days=1)) == 0

    anomaly = Anomaly.objects.get()
    assert (anomaly.provider, anomaly.consumer) == (served.grant.provider, served.grant.consumer)
    assert anomaly.figures["calls"] == 3
    todo = ToDo.objects.get(kind=acting.EXPLAIN)
    assert (todo.organisation, todo.role) == (served.grant.provider, Role.DEPARTMENT_ADMINISTRATOR)
    assert AuditEvent.objects.filter(action="exchange.anomaly.find").count() == 1


def opened(served: Served) -> Anomaly:
    keep(served, *[{"at": at(TUESDAY, 23)}] * 2)
    actions.watch_calls(TUESDAY)
    return Anomaly.objects.get()


def test_provider_or_authority_close_it_with_a_reason(served: Served, small_rules: None) -> None:
    anomaly = opened(served)
    for stranger in (served.world.parties.asker, make_post(Role.OPERATOR), make_post(Role.AUDITOR)):
        with pytest.raises(NotYourAnomaly):
            actions.close_anomaly(anomaly, by=stranger, state="explained", reason="夜间批量")
    with pytest.raises(AnomalyReasonMissing):
        actions.close_anomaly(anomaly, by=served.world.provider_admin, state="explained", reason=" ")
    closed = actions.close_anomaly(anomaly, by=served.world.provider_admin, state="explained", reason="夜间批量认证")

    assert closed.state == AnomalyState.EXPLAINED
    assert not ToDo.objects.filter(kind=acting.EXPLAIN, done_at=None).exists()
    with pytest.raises(AnomalyClosed):
        actions.close_anomaly(anomaly, by=served.world.parties.bureau, state="misuse", reason="再查")
    assert actions.watch_calls(TUESDAY) == 0


def test_the_side_that_called_does_not_see_it_listed(served: Served, small_rules: None) -> None:
    opened(served)
    parties = served.world.parties
    seen = {name: anomalies_visible_to(post).count() for name, post in
            {"asker": parties.asker, "clerk": parties.clerk, "bureau": parties.bureau}.items()}  # fmt: skip

    assert seen == {"asker": 0, "clerk": 1, "bureau": 1}


def test_moves_end(served: Served) -> None:
    del served
    assert set(ANOMALY_MOVES) == set(AnomalyState)


def test_a_finding_is_told_by_the_channels_of_provider_and_bureau_until_it_is_closed(
    served: Served, small_rules: None
) -> None:
    bureau = make_organisation(is_authority=True)
    for body, kind in ((served.grant.provider, ChannelKind.MAIL), (bureau, ChannelKind.MAIL)):
        keeper = make_post(Role.BUREAU if body is bureau else Role.DEPARTMENT_ADMINISTRATOR, body)
        actions.add_alert_channel(by=keeper, kind=kind, address=f"alerts-{body.pk}@example.test")
    consumer = make_post(Role.DEPARTMENT_ADMINISTRATOR, served.grant.consumer)
    actions.add_alert_channel(by=consumer, kind=ChannelKind.MAIL, address="consumer@example.test")
    secret = {"end_user": "zhang-san", "case_number": "HC-7"}
    keep(served, *[{"at": at(TUESDAY, 23), **secret}] * 3)

    assert actions.watch_calls(TUESDAY) == 1
    assert actions.watch_calls(TUESDAY) == 0
    alert = Alert.objects.get()
    anomaly = Anomaly.objects.get()
    assert (alert.kind, alert.anomaly, alert.organisation, alert.closed_at) == (
        AlertKind.CALLS_OFF_HOURS,
        anomaly,
        served.grant.provider,
        None,
    )
    assert ToDo.objects.filter(done_at=None).count() == 1  # the anomaly's own, not one more
    deliveries = list(alert.deliveries.order_by("id"))
    assert {delivery.channel.organisation for delivery in deliveries} == {served.grant.provider, bureau}
    message = message_of(deliveries[0])
    assert (message["service"], message["details"]["calls"]) == (served.service.number, 3)
    assert message["url"].endswith(f"/exchange/anomalies/{anomaly.pk}")
    for delivery in deliveries:
        actions.send_alert(delivery.pk)
    assert len(mail.outbox) == 2
    told = str(message) + "".join(f"{sent.subject}\n{sent.body}" for sent in mail.outbox)
    assert served.service.number in mail.outbox[0].subject
    assert "zhang-san" not in told
    assert "HC-7" not in told

    actions.close_anomaly(anomaly, by=served.world.parties.clerk, state="explained", reason="夜间批量核验")
    alert.refresh_from_db()
    assert alert.closed_at is not None
    assert alert.deliveries.filter(is_closing=True).count() == 2
    assert actions.watch_calls(TUESDAY) == 0
    assert Alert.objects.count() == 1


def test_what_goes_across_providers_is_told_to_the_authority(served: Served) -> None:
    finding = Finding(kind=AnomalyKind.SAME_PERSON, day=TUESDAY, subject="k:ab", figures={"calls": 9})
    assert acting.note_finding(finding)
    assert Alert.objects.get().organisation.is_authority


def test_the_bureau_sets_thresholds_where_those_of_other_alerts_are_set(served: Served) -> None:
    keep(served, *[{"at": at(TUESDAY, 23)}] * 3)
    assert actions.watch_calls(TUESDAY) == 0
    version = anomaly_rules_version()
    bureau = make_post(Role.BUREAU, make_organisation(is_authority=True))
    with pytest.raises(NotYourAlert):
        actions.set_alert_rule(AlertKind.CALLS_OFF_HOURS, by=served.world.parties.clerk, parameters={"least_calls": 2})
    with pytest.raises(AlertRuleWrong):
        actions.set_alert_rule(AlertKind.CALLS_OFF_HOURS, by=bureau, parameters={"from_hour": 25})
    actions.set_alert_rule(AlertKind.CALLS_OFF_HOURS, by=bureau, severity="serious", parameters={"least_calls": 2})

    assert actions.watch_calls(TUESDAY) == 1
    anomaly = Anomaly.objects.get()
    assert anomaly.rules_version == anomaly_rules_version() != version
    assert len(anomaly.rules_version) <= 20
    assert Alert.objects.get().severity == "serious"

    actions.set_alert_rule(AlertKind.CALLS_OFF_HOURS, by=bureau, is_on=False)
    assert Alert.objects.get().closed_at is not None  # nobody is to be told any more; the anomaly stays for people
    assert Anomaly.objects.get().state == AnomalyState.OPEN
    keep(served, *[{"at": at(TUESDAY + timedelta(days=1), 23)}] * 3)
    assert actions.watch_calls(TUESDAY + timedelta(days=1)) == 0


def test_calls_that_are_told_late_are_looked_at_too(served: Served, small_rules: None) -> None:
    """A gateway without a line serves on under its last policy, and ships when it is back."""
    day = moments.today() - timedelta(days=3)
    keep(served, *({"at": at(day, 3), "case_number": f"c{number}"} for number in range(4)))
    assert actions.watch_calls() == 0

    (waiting,) = OutboxMessage.objects.filter(topic="calls.late")
    assert work_message(waiting.pk) == "calls.late"

    assert [(found.kind, found.since.astimezone(CHINA).date()) for found in Anomaly.objects.all()] == [
        (AnomalyKind.OFF_HOURS, day)
    ]
