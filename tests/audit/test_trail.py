"""The trail: numbered without gaps, chained, and broken visibly in every way that we can think of."""

import threading
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.db.models import F

from jinqiao.audit import queries, trail
from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.audit.trail import SYSTEM, Actor, Fault, Subject

ANN = Actor("1", "安", "operator", "7", "金昌市教育局")


def _write(count):
    for number in range(count):
        trail.record("test.thing.do", by=ANN, about=Subject("test.thing", str(number), f"第{number}件"), count=number)


@pytest.mark.django_db
def test_an_empty_trail_holds():
    assert trail.verify() == trail.Verdict(True, 0)


@pytest.mark.django_db
def test_events_are_numbered_from_one_and_each_names_the_one_before():
    _write(3)

    events = list(AuditEvent.objects.order_by("number"))
    assert [event.number for event in events] == [1, 2, 3]
    assert [event.previous for event in events] == [trail.ORIGIN, events[0].digest, events[1].digest]
    assert trail.verify() == trail.Verdict(True, 3)


@pytest.mark.django_db
@pytest.mark.parametrize("suite", ["international", "guomi"])
def test_both_suites_chain_also_in_one_trail(suite, settings):
    _write(1)
    settings.CRYPTO_SUITE = suite
    _write(2)

    assert trail.verify() == trail.Verdict(True, 3)
    assert AuditEvent.objects.get(number=3).suite == suite


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"action": "test.thing.undo"},
        {"outcome": Outcome.REFUSED},
        {"actor_name": "别人"},
        {"actor_role": "head"},
        {"organisation_name": "别处"},
        {"about_id": "99"},
        {"about_label": ""},
        {"address": "10.0.0.1"},
        {"details": {"count": 99}},
        {"at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"suite": "guomi"},
        {"suite": "none"},
        {"digest": "0" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_event_is_named(change):
    _write(5)
    AuditEvent.objects.filter(number=3).update(**change)

    assert trail.verify() == trail.Verdict(False, 3, 3, Fault.CHANGED)


@pytest.mark.django_db
def test_a_missing_event_is_named():
    _write(5)
    AuditEvent.objects.filter(number=4).delete()

    assert trail.verify() == trail.Verdict(False, 4, 4, Fault.MISSING)


@pytest.mark.django_db
def test_events_that_changed_places_are_named():
    _write(5)
    AuditEvent.objects.filter(number=2).update(number=100)
    AuditEvent.objects.filter(number=3).update(number=2)
    AuditEvent.objects.filter(number=100).update(number=3)

    assert trail.verify() == trail.Verdict(False, 2, 2, Fault.REORDERED)


@pytest.mark.django_db
def test_dropping_one_and_moving_the_rest_up_is_named():
    _write(5)
    AuditEvent.objects.filter(number=2).delete()
    for number in (3, 4, 5):
        AuditEvent.objects.filter(number=number).update(number=F("number") - 1)

    assert trail.verify() == trail.Verdict(False, 2, 2, Fault.REORDERED)


@pytest.mark.django_db
def test_an_event_rewritten_with_its_digest_shows_at_the_next():
    _write(5)
    event = AuditEvent.objects.get(number=3)
    event.actor_name = "别人"
    event.digest = trail.digest_of({name: getattr(event, name) for name in trail._FIELDS}, event.previous)
    event.save()

    assert trail.verify() == trail.Verdict(False, 4, 4, Fault.REPLACED)


@pytest.mark.django_db
def test_a_cut_tail_shows_only_against_a_known_head():
    _write(5)
    head = (5, AuditEvent.objects.get(number=5).digest)
    AuditEvent.objects.filter(number__gt=3).delete()

    assert trail.verify().ok
    assert trail.verify(head=head) == trail.Verdict(False, 3, 4, Fault.CUT)


@pytest.mark.django_db
def test_details_come_back_from_the_database_as_they_were_digested():
    trail.record(
        "test.thing.do",
        by=SYSTEM,
        ratio=0.1,
        amount=Decimal("1.50"),
        on=date(2026, 3, 18),
        at=datetime(2026, 3, 18, 8, tzinfo=UTC),
        big=2**70,
        role=Outcome.DONE,
        nested={"b": [1, None, True], 2: {"z", "a"}},
        text="零\x00字 \ud800",
    )

    assert trail.verify().ok
    assert AuditEvent.objects.get().details["nested"] == {"b": [1, None, True], "2": ["a", "z"]}


@pytest.mark.django_db
def test_long_and_odd_names_are_fitted():
    trail.record("x" * 200, by=Actor("1", "名" * 300, "r" * 99, "1", "机\x00构"), about=Subject("t", "1", "标" * 900))

    event = AuditEvent.objects.get()
    assert (len(event.action), len(event.actor_name), len(event.about_label)) == (80, 100, 300)
    assert trail.verify().ok


@pytest.mark.django_db
def test_the_callers_address_is_taken_from_the_request():
    token = trail.client_address.set("10.1.2.3")
    try:
        event = trail.record("test.thing.do", by=ANN)
    finally:
        trail.client_address.reset(token)

    assert event.address == "10.1.2.3"


@pytest.mark.django_db
def test_an_event_falls_with_what_was_done():
    _write(1)
    with transaction.atomic():
        _write(2)
        transaction.set_rollback(True)
    _write(1)

    assert list(AuditEvent.objects.order_by("number").values_list("number", flat=True)) == [1, 2]
    assert trail.verify().ok


@pytest.mark.django_db
def test_one_event_can_be_checked_alone():
    _write(3)
    AuditEvent.objects.filter(number=2).update(actor_name="别人")

    assert trail.verify_event(AuditEvent.objects.get(number=1)) is None
    assert trail.verify_event(AuditEvent.objects.get(number=2)) is Fault.CHANGED
    assert trail.verify_event(AuditEvent.objects.get(number=3)) is None


@pytest.mark.django_db(transaction=True)
def test_many_writers_at_once_leave_no_gap_and_no_fork():
    writers, each, problems = 4, 12, []
    begin = threading.Barrier(writers)

    def write(name):
        try:
            begin.wait()
            for number in range(each):
                with transaction.atomic():
                    trail.record("test.thing.do", by=Actor(name, name, "", "", ""), count=number)
        except Exception as problem:  # noqa: BLE001 -- handed to the asserting thread
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(f"w{number}",)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    assert trail.verify() == trail.Verdict(True, writers * each)


@pytest.mark.django_db
def test_verification_reads_the_whole_trail_in_one_query(django_assert_num_queries):
    _write(10)

    with django_assert_num_queries(1):
        assert trail.verify().ok


@pytest.mark.django_db
def test_the_search_combines_its_filters():
    _write(3)
    trail.record("test.thingummy.do", by=SYSTEM, outcome=Outcome.REFUSED)
    day = AuditEvent.objects.get(number=1).at.astimezone(trail.moments.CHINA).date()

    def found(**wanted):
        return [event.number for event in queries.search(queries.Search(**wanted))]

    assert found() == [4, 3, 2, 1]
    assert found(action="test") == [4, 3, 2, 1]
    assert found(action="test.thing") == [3, 2, 1]
    assert found(action="test.thingummy.do") == [4]
    assert found(person="安", text="第1") == [2]
    assert found(organisation="教育") == [3, 2, 1]
    assert found(outcome="refused") == [4]
    assert found(about_type="test.thing", about_id="2") == [3]
    assert found(since=day, until=day) == [4, 3, 2, 1]
    assert found(until=date(2020, 1, 1)) == []
    assert queries.actions_seen() == ["test.thing.do", "test.thingummy.do"]
    assert [event.number for event in queries.events_about(Subject("test.thing", "0", ""))] == [1]
