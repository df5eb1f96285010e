"""What looks unusual in calls is found, put on the right desk, and closed with a reason."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions import anomalies as acting
from jinqiao.exchange.enums import ANOMALY_MOVES, AnomalyKind, AnomalyState
from jinqiao.exchange.models import Anomaly
from jinqiao.exchange.oversight_errors import (
    AnomalyClosed,
    AnomalyReasonMissing,
    NotYourAnomaly,
)
from jinqiao.exchange.queries.anomalies import AnomalyRule, anomalies_visible_to, anomaly_rule, anomaly_rules_version
from jinqiao.exchange.queries.conduct import findings_of
from jinqiao.workflow.models import ToDo
from tests.exchange.factories import Served
from tests.exchange.oversight import at, keep
from tests.factories import make_post

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
