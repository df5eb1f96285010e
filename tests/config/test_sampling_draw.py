"""`jinqiao manage sampling_draw`: drawing again what was drawn."""

from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from jinqiao.exchange import actions
from jinqiao.exchange.models import SampledCall, Sampling
from tests.exchange.factories import Served, make_served
from tests.exchange.oversight import at, keep

pytestmark = pytest.mark.django_db
DAY = date(2026, 3, 18)


@pytest.fixture
def served(db: None, settings: Any, tmp_path: Path) -> Served:
    settings.RELAY_ROOT = tmp_path / "relay"
    return make_served()


@pytest.fixture
def sampling(served: Served, monkeypatch: pytest.MonkeyPatch) -> Sampling:
    made = actions.announce_sampling(by=served.world.parties.bureau, starts_on=DAY, ends_on=DAY, share=0.5, most=20)
    keep(served, *[{"at": at(DAY, 9, number)} for number in range(6)])
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-03-20")
    return actions.draw_period(made)


def told(period: str, **options: str) -> str:
    out = StringIO()
    call_command("sampling_draw", period, stdout=out, **options)
    return out.getvalue()


def test_the_same_calls_are_drawn_again(sampling: Sampling) -> None:
    text = told(sampling.number)

    assert "seed fits its digest" in text
    assert "6 → 3" in text
    for sample in SampledCall.objects.all():
        assert f"{sample.score} {sample.number}\n" in text


def test_another_seed_does_not_fit(sampling: Sampling) -> None:
    with pytest.raises(SystemExit):
        told(sampling.number, seed="00" * 32)


def test_a_call_put_in_by_hand_is_found_out(sampling: Sampling) -> None:
    sample = SampledCall.objects.first()
    assert sample is not None
    SampledCall.objects.filter(pk=sample.pk).update(number="put-in")
    with pytest.raises(SystemExit):
        told(sampling.number)


def test_a_period_that_is_not_drawn_or_not_known_is_refused(sampling: Sampling, served: Served) -> None:
    del sampling
    later = actions.announce_sampling(
        by=served.world.parties.bureau, starts_on=DAY, ends_on=date(2026, 3, 30), share=0.5, most=20
    )
    for period in (later.number, "none"):
        with pytest.raises(CommandError):
            told(period)
