"""Random justification: periods are announced with the digest of a seed, calls drawn when they are over, justified, judged.

Who does not answer within the clock of the rule set finds the grant suspended; the authority lifts that when the answer has come.
"""

import calendar
from datetime import date, timedelta
from typing import IO

from django.conf import settings
from django.db import transaction

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import next_number, platform_identity
from jinqiao.exchange.drawing import new_seed, seed_digest
from jinqiao.exchange.enums import SAMPLE_MOVES, SampleState
from jinqiao.exchange.models import Call, SampledCall, Sampling
from jinqiao.exchange.oversight_errors import (
    JustificationMissing,
    OpinionMissing,
    SampleStateWrong,
    SamplingPeriodWrong,
)
from jinqiao.exchange.queries.samples import (
    JUSTIFICATION_CLOCK,
    draw,
    overdue_samples,
    sampling_settings,
)
from jinqiao.kernel import moments
from jinqiao.kernel.rulesets import ruleset_for
from jinqiao.sharing import actions as sharing
from jinqiao.sharing import queries as sharing_queries
from jinqiao.sharing.actions.desk import staff_role
from jinqiao.sharing.enums import GrantState
from jinqiao.sharing.models import Grant
from jinqiao.workflow import actions as workflow
from jinqiao.workflow import queries as workflow_queries

JUSTIFY = "exchange.sample.justify"
JUDGE = "exchange.sample.judge"
SUSPENDED = "exchange.sample.suspended"
TEXT_LIMIT, REFERENCE_LIMIT, OPINION_LIMIT = 2000, 200, 500
AHEAD_DAYS = 366
SUSPENSION_REASON = "抽查的调用逾期未说明理由"


def tend_sampling() -> None:
    """What the worker does again and again: announce the month, draw what is over, suspend for what is overdue. Repeats do nothing."""
    today = moments.today()
    announce_month(today)
    last = today - timedelta(days=sampling_settings().draw_after_days)
    for sampling in Sampling.objects.filter(drawn_at=None, ends_on__lt=last).order_by("id"):
        draw_period(sampling)
    for sample in overdue_samples(today):
        note_overdue(sample)


@transaction.atomic
def announce_month(today: date) -> Sampling | None:
    """The period of this month with the digest of its seed; None where it is announced already."""
    number = f"{today:%Y-%m}"
    if Sampling.objects.filter(number=number).exists():
        return None
    last = today.replace(day=calendar.monthrange(today.year, today.month)[1])
    return _announce(number, today, last, by=None)


@transaction.atomic
def announce_sampling(*, by: Post, starts_on: date, ends_on: date, share: float, most: int) -> Sampling:
    """A period of the authority's own; it must not be over, for the seed is committed to before. Raises SamplingPeriodWrong."""
    rules.check_may_announce_sampling(by)
    today = moments.today()
    in_order = today <= ends_on and starts_on <= ends_on <= today + timedelta(days=AHEAD_DAYS)
    if not in_order or not 0 < share <= 1 or not 1 <= most <= 1000:
        raise SamplingPeriodWrong
    number = next_number(f"ZX-{today:%Y}", digits=3)
    return _announce(number, starts_on, ends_on, by=by, share=share, most=most)


def _announce(
    number: str, starts_on: date, ends_on: date, *, by: Post | None, share: float | None = None, most: int | None = None
) -> Sampling:
    shipped, seed = sampling_settings(), new_seed()
    sampling = Sampling.objects.create(
        number=number,
        starts_on=starts_on,
        ends_on=ends_on,
        share=shipped.share if share is None else share,
        least=shipped.least,
        most=shipped.most if most is None else most,
        settings_version=shipped.version,
        suite=settings.CRYPTO_SUITE,
        seed_digest=seed_digest(seed, settings.CRYPTO_SUITE),
        sealed_seed=platform_identity().public.seal(seed),
        announced_at=moments.now(),
        announced_by=by,
    )
    trail.record(
        "exchange.sampling.announce",
        by=by.actor if by else trail.SYSTEM,
        about=trail.subject(sampling),
        starts_on=starts_on,
        ends_on=ends_on,
        seed_digest=sampling.seed_digest,
        share=sampling.share,
        most=sampling.most,
    )
    return sampling


@transaction.atomic
def draw_period(sampling: Sampling) -> Sampling:
    """Draw the calls of a period that is over, tell its seed, and ask each consumer. Once; a second time changes nothing."""
    sampling = Sampling.objects.select_for_update(of=("self",)).get(pk=sampling.pk)
    if sampling.drawn_at is not None:
        return sampling
    if sampling.ends_on >= moments.today():
        raise SamplingPeriodWrong
    seed = platform_identity().unseal(sampling.sealed_seed)
    total, count = 0, 0
    for one in draw(sampling, seed):
        total += one.candidates
        count += _ask(sampling, one.calls)
    sampling.seed, sampling.sealed_seed = seed.hex(), ""
    sampling.drawn_at, sampling.candidates = moments.now(), total
    sampling.save(update_fields=["seed", "sealed_seed", "drawn_at", "candidates"])
    trail.record(
        "exchange.sampling.draw",
        by=trail.SYSTEM,
        about=trail.subject(sampling),
        seed=sampling.seed,
        candidates=total,
        drawn=count,
    )
    return sampling


def _ask(sampling: Sampling, scored: list[tuple[str, str]]) -> int:
    """Samples with their clocks and to-dos; a call whose grant is not of this platform is asked of nobody."""
    calls = Call.objects.defer("record").in_bulk([call_id for _score, call_id in scored], field_name="call_id")
    grants = {
        grant.number: grant
        for grant in Grant.objects.filter(number__in={call.grant_number for call in calls.values()}).select_related(
            "consumer", "version"
        )
    }
    today = moments.today()
    asked = 0
    for score, call_id in scored:
        call = calls[call_id]
        grant = grants.get(call.grant_number)
        if grant is None:
            continue
        sample = SampledCall.objects.create(sampling=sampling, call=call, number=call_id, score=score, grant=grant)
        about = trail.subject(sample)
        clock = workflow.start_clock(
            key=JUSTIFICATION_CLOCK,
            about=about,
            organisation=grant.consumer,
            rule_set=ruleset_for(today),
            started_on=today,
        )
        workflow.open_todo(
            kind=JUSTIFY,
            title=f"说明抽查的调用 {sampling.number}：{grant.version.name}",
            organisation=grant.consumer,
            role=staff_role(grant.consumer),
            about=about,
            clock=clock,
        )
        asked += 1
    return asked


def _locked(sample: SampledCall) -> SampledCall:
    return (
        SampledCall.objects.select_for_update(of=("self",))
        .select_related("grant__consumer", "grant__provider__region", "grant__version", "sampling")
        .get(pk=sample.pk)
    )


def _move(sample: SampledCall, state: SampleState) -> None:
    if state not in SAMPLE_MOVES[SampleState(sample.state)]:
        raise SampleStateWrong(state=str(sample.get_state_display()))
    sample.state = state


@transaction.atomic
def justify_sample(
    sample: SampledCall,
    *,
    by: Post,
    case_reference: str,
    justification: str,
    papers: list[tuple[str, IO[bytes]]] = (),  # type: ignore[assignment]
) -> SampledCall:
    """The consumer says what the call was for, with a case reference and papers (name and file). Also late.

    Raises NotYourSample, SampleStateWrong, JustificationMissing, and for papers what `workflow.attach` raises.
    """
    sample = _locked(sample)
    rules.check_may_justify(by, sample)
    reference, text = case_reference.strip(), justification.strip()
    if not reference or not text or len(reference) > REFERENCE_LIMIT or len(text) > TEXT_LIMIT:
        raise JustificationMissing(reference_limit=REFERENCE_LIMIT, text_limit=TEXT_LIMIT)
    _move(sample, SampleState.JUSTIFIED)
    about = trail.subject(sample)
    for name, file in papers:
        workflow.attach(about, by=by, name=name, file=file)
    sample.case_reference, sample.justification = reference, text
    sample.answered_at, sample.answered_by = moments.now(), by
    sample.save(update_fields=["state", "case_reference", "justification", "answered_at", "answered_by"])
    clock = workflow_queries.running_clock(about, JUSTIFICATION_CLOCK)
    if clock is not None:
        workflow.stop_clock(clock, on=moments.today(), by=by)
    workflow.finish_todos(about, by=by, kinds=[JUSTIFY, SUSPENDED])
    grant = sample.grant
    authority = sharing_queries.authority_for(grant.provider)
    title = f"审核抽查调用的说明 {sample.sampling.number}：{grant.version.name}"
    if sample.is_late and authority is not None:
        workflow.open_todo(kind=JUDGE, title=title, organisation=authority, role=Role.BUREAU, about=about)
    else:
        role = staff_role(grant.provider)
        workflow.open_todo(kind=JUDGE, title=title, organisation=grant.provider, role=role, about=about)
    trail.record(
        "exchange.sample.justify",
        by=by.actor,
        about=about,
        reference=reference,
        is_late=sample.is_late,
        papers=len(papers),
    )
    return sample


@transaction.atomic
def judge_sample(sample: SampledCall, *, by: Post, accepted: bool, opinion: str = "") -> SampledCall:
    """The provider or the authority judges a justification; not accepting needs an opinion. Where the authority accepts the last late
    answer of a grant, the suspension ends with it. Raises NotYourSample, SampleStateWrong, OpinionMissing."""
    sample = _locked(sample)
    rules.check_may_judge(by, sample)
    opinion = opinion.strip()
    if (not accepted and not opinion) or len(opinion) > OPINION_LIMIT:
        raise OpinionMissing(limit=OPINION_LIMIT)
    _move(sample, SampleState.ACCEPTED if accepted else SampleState.REJECTED)
    sample.opinion, sample.decided_at, sample.decided_by = opinion, moments.now(), by
    sample.save(update_fields=["state", "opinion", "decided_at", "decided_by"])
    about = trail.subject(sample)
    workflow.finish_todos(about, by=by, kinds=[JUDGE])
    trail.record("exchange.sample.judge", by=by.actor, about=about, accepted=accepted, opinion=opinion)
    if accepted and sample.is_late:
        _lift_suspension(sample, by)
    if not accepted:
        _tell_authority(sample, by)
    return sample


def _lift_suspension(sample: SampledCall, by: Post) -> None:
    """By sharing's own action, once nothing of the grant is overdue or waits for judgement any more."""
    grant = sample.grant
    open_states = [SampleState.OVERDUE, SampleState.JUSTIFIED, SampleState.REJECTED]
    others = SampledCall.objects.filter(grant=grant, is_late=True, state__in=open_states).exists()
    fresh = Grant.objects.get(pk=grant.pk)
    is_ours = fresh.state == GrantState.SUSPENDED and fresh.state_reason == SUSPENSION_REASON
    if not others and is_ours and fresh.valid_until >= moments.today():
        sharing.resume_grant(fresh, by=by, reason="抽查的调用已补充说明并经审核")


def _tell_authority(sample: SampledCall, by: Post) -> None:
    authority = sharing_queries.authority_for(sample.grant.provider)
    if authority is not None and authority.pk != by.organisation_id:
        title = f"抽查调用的说明不成立 {sample.sampling.number}：{sample.grant.version.name}"
        workflow.open_todo(
            kind="exchange.sample.rejected",
            title=title,
            organisation=authority,
            role=Role.BUREAU,
            about=trail.subject(sample),
        )


@transaction.atomic
def note_overdue(sample: SampledCall) -> bool:
    """The clock ran out: the grant is suspended until the answer has come. Whether anything was done."""
    sample = _locked(sample)
    if sample.state != SampleState.ASKED:
        return False
    _move(sample, SampleState.OVERDUE)
    sample.is_late = True
    sample.save(update_fields=["state", "is_late"])
    grant, about = sample.grant, trail.subject(sample)
    stopped = sharing.suspend_by_rule(grant, reason=SUSPENSION_REASON)
    trail.record(
        "exchange.sample.overdue",
        by=trail.SYSTEM,
        about=about,
        outcome=Outcome.FAILED,
        grant=grant.number,
        grant_suspended=stopped,
    )
    if stopped:
        title = f"授权因逾期未说明而暂停 {grant.number}：{grant.version.name}"
        workflow.open_todo(
            kind=SUSPENDED, title=title, organisation=grant.consumer, role=staff_role(grant.consumer), about=about
        )
    return True
