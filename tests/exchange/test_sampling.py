"""Random justification: announced, drawn, justified, judged; a grant stands still where nobody answers."""

from datetime import date
from io import BytesIO
from typing import Any

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions import sampling as acting
from jinqiao.exchange.drawing import seed_digest
from jinqiao.exchange.enums import SampleState
from jinqiao.exchange.models import SampledCall, Sampling
from jinqiao.exchange.oversight_errors import (
    JustificationMissing,
    NotYourSample,
    NotYourSampling,
    OpinionMissing,
    SampleStateWrong,
    SamplingPeriodWrong,
)
from jinqiao.exchange.queries.samples import draw, samples_visible_to
from jinqiao.kernel.contracts.evidence import RECEIPT
from jinqiao.sharing.enums import GrantState
from jinqiao.workflow.models import Clock, ToDo
from tests.exchange.factories import Served
from tests.exchange.oversight import at, keep
from tests.factories import make_post

pytestmark = pytest.mark.django_db
ANNOUNCED, DRAWN, LATE = "2026-03-18", "2026-03-20", "2026-04-20"
DAY = date(2026, 3, 18)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_day(day: str) -> None:
        monkeypatch.setenv("JINQIAO_FIXED_DATE", day)

    return set_day


def announced(served: Served, on: Any, **changes: Any) -> Sampling:
    on(ANNOUNCED)
    wanted = {"starts_on": DAY, "ends_on": DAY, "share": 0.5, "most": 20, **changes}
    return actions.announce_sampling(by=served.world.parties.bureau, **wanted)


def asked(served: Served, on: Any) -> SampledCall:
    sampling = announced(served, on)
    keep(served, {"at": at(DAY)})
    on(DRAWN)
    actions.draw_period(sampling)
    return SampledCall.objects.get()


def answered(served: Served, sample: SampledCall, **changes: Any) -> SampledCall:
    wanted: dict[str, Any] = {"case_reference": "永房审〔2026〕12号", "justification": "审核公租房申请", **changes}
    return actions.justify_sample(sample, by=served.world.parties.asker, **wanted)


def test_the_seed_is_committed_to_before_and_told_with_the_draw(served: Served, on: Any) -> None:
    sampling = announced(served, on)
    digest = sampling.seed_digest
    assert (sampling.seed, AuditEvent.objects.get(action="exchange.sampling.announce").details["seed_digest"]) == (
        "",
        digest,
    )
    with pytest.raises(SamplingPeriodWrong):
        actions.draw_period(sampling)
    keep(served, *[{"at": at(DAY, 9, n)} for n in range(9)])
    on(DRAWN)
    sampling = actions.draw_period(sampling)

    assert seed_digest(bytes.fromhex(sampling.seed), sampling.suite) == digest
    again = [call for one in draw(sampling, bytes.fromhex(sampling.seed)) for call in one.calls]
    assert again == list(SampledCall.objects.order_by("score").values_list("score", "number"))
    assert (sampling.candidates, len(again), sampling.sealed_seed) == (9, 5, "")
    actions.draw_period(sampling)
    assert SampledCall.objects.count() == 5


def test_only_answered_production_calls_of_the_period_are_drawn(served: Served, on: Any) -> None:
    sampling = announced(served, on, share=1.0)
    keep(
        served,
        {"at": at(DAY, 0)},
        {"at": at(DAY, 23, 59)},
        {"at": at(date(2026, 3, 17), 23, 59)},
        {"at": at(date(2026, 3, 19), 0)},
        {"at": at(DAY), "environment": "sandbox"},
        {"at": at(DAY), "outcome": "gateway.items.not_granted"},
        {"at": at(DAY), "operation": RECEIPT},
    )
    on(DRAWN)

    assert actions.draw_period(sampling).candidates == SampledCall.objects.count() == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"ends_on": date(2026, 3, 17)},
        {"starts_on": date(2026, 3, 20), "ends_on": date(2026, 3, 19)},
        {"ends_on": date(2028, 1, 1)},
        {"share": 0.0},
        {"share": 1.5},
        {"most": 0},
    ],
)
def test_a_period_that_is_over_or_makes_no_sense_is_refused(served: Served, on: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(SamplingPeriodWrong):
        announced(served, on, **changes)


def test_only_the_authority_announces(served: Served) -> None:
    with pytest.raises(NotYourSampling):
        actions.announce_sampling(by=served.world.provider_admin, starts_on=DAY, ends_on=DAY, share=1, most=1)


def test_the_consumer_is_asked_with_a_clock_of_the_platforms_own(served: Served, on: Any) -> None:
    sample = asked(served, on)
    todo, clock = ToDo.objects.get(kind=acting.JUSTIFY), Clock.objects.get(key="call.justification")

    assert (todo.organisation, todo.role, todo.clock) == (served.grant.consumer, Role.OPERATOR, clock)
    assert (clock.organisation, clock.working_days, clock.about_id) == (served.grant.consumer, 10, str(sample.pk))


def test_a_justification_is_judged_by_the_provider(served: Served, on: Any) -> None:
    sample = asked(served, on)
    parties = served.world.parties
    with pytest.raises(JustificationMissing):
        answered(served, sample, case_reference=" ")
    with pytest.raises(NotYourSample):
        actions.justify_sample(sample, by=parties.clerk, case_reference="x", justification="y")
    paper = ("受理单.pdf", BytesIO(b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF\n"))
    sample = answered(served, sample, papers=[paper])
    with pytest.raises(NotYourSample):
        actions.judge_sample(sample, by=parties.asker, accepted=True)
    with pytest.raises(OpinionMissing):
        actions.judge_sample(sample, by=parties.clerk, accepted=False)
    sample = actions.judge_sample(sample, by=parties.clerk, accepted=True)

    assert (sample.state, Clock.objects.get(key="call.justification").state) == (SampleState.ACCEPTED, "stopped")
    assert not ToDo.objects.filter(kind__startswith="exchange.sample", done_at=None).exists()
    with pytest.raises(SampleStateWrong):
        answered(served, sample)


def test_what_is_not_accepted_is_told_to_the_authority(served: Served, on: Any) -> None:
    sample = answered(served, asked(served, on))
    actions.judge_sample(sample, by=served.world.parties.clerk, accepted=False, opinion="没有这件业务")

    assert ToDo.objects.filter(kind="exchange.sample.rejected", role=Role.BUREAU, done_at=None).exists()
    served.grant.refresh_from_db()
    assert served.grant.state == GrantState.ACTIVE


def test_who_does_not_answer_loses_the_grant_until_the_authority_accepts(served: Served, on: Any) -> None:
    sample = asked(served, on)
    actions.tend_sampling()
    served.grant.refresh_from_db()
    assert served.grant.state == GrantState.ACTIVE
    on(LATE)
    actions.tend_sampling()
    actions.tend_sampling()
    sample.refresh_from_db()
    served.grant.refresh_from_db()
    assert (sample.state, sample.is_late, served.grant.state) == (SampleState.OVERDUE, True, GrantState.SUSPENDED)
    assert AuditEvent.objects.filter(action="sharing.grant.suspend", actor_role="system").count() == 1
    assert ToDo.objects.filter(kind=acting.SUSPENDED, organisation=served.grant.consumer, done_at=None).count() == 1

    sample = answered(served, sample)
    with pytest.raises(NotYourSample):
        actions.judge_sample(sample, by=served.world.parties.clerk, accepted=True)
    actions.judge_sample(sample, by=served.world.parties.bureau, accepted=True)
    served.grant.refresh_from_db()
    assert served.grant.state == GrantState.ACTIVE


def test_the_month_is_announced_once_and_drawn_when_it_is_over(served: Served, on: Any) -> None:
    on(ANNOUNCED)
    actions.tend_sampling()
    actions.tend_sampling()
    sampling = Sampling.objects.get()
    assert (sampling.number, sampling.starts_on, sampling.ends_on) == ("2026-03", DAY, date(2026, 3, 31))
    keep(served, {"at": at(DAY)})
    on("2026-04-01")
    actions.tend_sampling()
    assert Sampling.objects.get(number="2026-03").drawn_at is None
    on("2026-04-02")
    actions.tend_sampling()

    assert SampledCall.objects.filter(sampling__number="2026-03").count() == 1
    assert Sampling.objects.filter(drawn_at=None).count() == 1


def test_both_sides_see_a_sample_and_nobody_else(served: Served, on: Any) -> None:
    asked(served, on)
    parties = served.world.parties
    seen = [samples_visible_to(post).count() for post in (parties.asker, parties.clerk, parties.bureau)]

    assert (seen, samples_visible_to(make_post(Role.OPERATOR)).count()) == ([1, 1, 1], 0)
