"""The sealed head: what the chain alone cannot show."""

import json

import pytest

from jinqiao.audit import anchor, trail
from jinqiao.audit.errors import SealUnreadable, TrailBroken
from jinqiao.audit.models import AuditEvent
from jinqiao.audit.trail import SYSTEM, Fault

pytestmark = pytest.mark.django_db


def _write(count):
    for number in range(count):
        trail.record("test.thing.do", by=SYSTEM, count=number)


@pytest.fixture(params=["international", "guomi"])
def home(request, tmp_path, settings):
    settings.CRYPTO_SUITE = request.param
    return tmp_path / "keys"


def test_nothing_is_sealed_over_an_empty_trail(home):
    assert anchor.seal_head(home) is None
    assert anchor.sealed_head(home) is None
    assert anchor.verify(home).ok


def test_the_head_is_sealed_and_moves_forward(home):
    _write(2)
    assert anchor.seal_head(home).number == 2

    _write(1)
    assert anchor.verify(home) == trail.Verdict(True, 3)
    assert anchor.sealed_head(home).number == 3


def test_a_cut_tail_is_found_and_not_sealed_over(home):
    _write(4)
    anchor.seal_head(home)
    AuditEvent.objects.filter(number=4).delete()

    assert anchor.verify(home) == trail.Verdict(False, 3, 4, Fault.CUT)
    with pytest.raises(TrailBroken) as refused:
        anchor.seal_head(home)
    assert refused.value.details == {"number": 4, "fault": Fault.CUT.label}
    assert anchor.sealed_head(home).number == 4


def test_a_trail_written_anew_is_found(home):
    _write(3)
    anchor.seal_head(home)
    AuditEvent.objects.all().delete()
    _write(3)

    assert trail.verify().ok
    assert anchor.verify(home) == trail.Verdict(False, 3, 3, Fault.REPLACED)


def test_an_altered_seal_is_not_believed(home):
    _write(3)
    anchor.seal_head(home)
    file = home / anchor.FILE
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "number": 1, "digest": AuditEvent.objects.get(number=1).digest}))

    with pytest.raises(SealUnreadable):
        anchor.verify(home)
    file.write_text("{}")
    with pytest.raises(SealUnreadable):
        anchor.sealed_head(home)


def test_sealing_anew_after_a_restore_is_itself_an_event(home):
    _write(3)
    anchor.seal_head(home)
    AuditEvent.objects.filter(number=3).delete()

    head = anchor.seal_head(home, anew=True)

    assert head.number == 3
    assert AuditEvent.objects.get(number=3).action == "audit.head.seal_anew"
    assert anchor.verify(home).ok
