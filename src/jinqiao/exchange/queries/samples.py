"""Reading sampling periods and the calls drawn in them; drawing them once more."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from django.db.models import Count, Q, QuerySet

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.exchange.drawing import drawn, sample_size
from jinqiao.exchange.enums import SampleState
from jinqiao.exchange.models import Call, SampledCall, Sampling
from jinqiao.exchange.queries.calls import midnight
from jinqiao.exchange.queries.visible import sees_all
from jinqiao.kernel.contracts.evidence import RECEIPT
from jinqiao.workflow.enums import ClockState
from jinqiao.workflow.models import Clock

JUSTIFICATION_CLOCK = "call.justification"
SAMPLE = "exchange.sampledcall"
GROUPS = {
    "open": (SampleState.ASKED, SampleState.OVERDUE),
    "judged": (SampleState.ACCEPTED, SampleState.REJECTED),
}
"""States that are counted, and asked for, together."""


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """Configuration of the platform, as `exchange/sampling.toml` has it."""

    version: str
    share: float
    least: int
    most: int
    draw_after_days: int


@cache
def sampling_settings() -> SamplingSettings:
    return SamplingSettings(**tomllib.loads((files("jinqiao.exchange") / "sampling.toml").read_text(encoding="utf-8")))


def candidates(sampling: Sampling) -> QuerySet[Call]:
    """The answered production calls of the period that a grant let through."""
    ends = midnight(sampling.ends_on) + timedelta(days=1)
    calls = Call.objects.filter(at__gte=midnight(sampling.starts_on), at__lt=ends)
    return calls.filter(environment="production", outcome="ok").exclude(operation=RECEIPT).order_by()


@dataclass(frozen=True, slots=True)
class Draw:
    """What is drawn of one consumer (credit code): scores and call ids, smallest score first."""

    consumer: str
    candidates: int
    calls: list[tuple[str, str]]


def draw(sampling: Sampling, seed: bytes) -> Iterator[Draw]:
    """The draw of a period, consumer by consumer: the same calls whenever it is done with the same seed."""
    found = candidates(sampling)
    counts = found.values_list("consumer").annotate(n=Count("pk")).order_by("consumer")
    for consumer, count in list(counts):
        size = sample_size(count, share=sampling.share, least=sampling.least, most=sampling.most)
        ids = found.filter(consumer=consumer).values_list("call_id", flat=True).iterator(chunk_size=5000)
        yield Draw(consumer, count, drawn(seed, sampling.number, ids, size, suite_name=sampling.suite))


def periods_visible_to(post: Post) -> QuerySet[Any]:
    """Periods are announced to everybody; counts are of what the post may see: `asked`, `open`, `judged`."""
    own = Q() if sees_all(post) else _own(post, "samples__")
    return (
        Sampling.objects.select_related("announced_by__person")
        .annotate(
            asked=Count("samples", filter=own),
            open=Count("samples", filter=own & Q(samples__state__in=GROUPS["open"])),
            judged=Count("samples", filter=own & Q(samples__state__in=GROUPS["judged"])),
        )
        .order_by("-starts_on", "-id")
    )


def _own(post: Post, prefix: str = "") -> Q:
    mine = Q(**{f"{prefix}grant__consumer_id": post.organisation_id})
    if post.role == Role.DEVELOPER:
        return mine
    return mine | Q(**{f"{prefix}grant__provider_id": post.organisation_id})


def samples_visible_to(post: Post) -> QuerySet[SampledCall]:
    """Drawn calls of the post's department, as consumer and as provider; all for the bureau and the auditor."""
    found = SampledCall.objects.select_related(
        "sampling", "call", "grant__consumer", "grant__provider", "grant__version", "answered_by__person",
        "decided_by__person",
    ).order_by("-id")  # fmt: skip
    return found if sees_all(post) else found.filter(_own(post))


def samples_found(
    post: Post, *, state: str = "", period: str = "", provider: str = "", consumer: str = "", text: str = ""
) -> QuerySet[SampledCall]:
    """By filters that may be left out: a state or one of `GROUPS`, departments by credit code, `text` a call id or a grant's number."""
    exact = {
        "sampling__number": period, "grant__provider__credit_code": provider,
        "grant__consumer__credit_code": consumer,
    }  # fmt: skip
    found = samples_visible_to(post).filter(**{name: value for name, value in exact.items() if value})
    if state:
        found = found.filter(state__in=GROUPS.get(state, (state,)))
    return found.filter(Q(number=text) | Q(grant__number=text)) if text else found


def clocks_by_sample(samples: list[SampledCall]) -> dict[int, Clock]:
    """The clock of each, by the sample's key."""
    clocks = Clock.objects.filter(
        about_type=SAMPLE, about_id__in=[str(sample.pk) for sample in samples], key=JUSTIFICATION_CLOCK
    )
    return {int(clock.about_id): clock for clock in clocks.select_related("organisation")}


def overdue_samples(today: date) -> list[SampledCall]:
    """Asked for, not answered, and past the last day. A clock whose date is not known yet is never past it."""
    late = Clock.objects.filter(
        about_type=SAMPLE, key=JUSTIFICATION_CLOCK, state=ClockState.RUNNING, due_on__lt=today
    ).values_list("about_id", flat=True)
    return list(
        SampledCall.objects.filter(pk__in=[int(pk) for pk in late], state=SampleState.ASKED)
        .select_related("grant__consumer", "grant__provider", "grant__version", "sampling")
        .order_by("pk")
    )
