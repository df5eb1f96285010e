"""Calls of earlier days in the demo city, recorded by its gateway's own log, so that oversight has something to show: ordinary ones of
a week before, of which one is drawn for justification, and a run of calls late in the evening, which the rules find."""

import asyncio
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

from django.conf import settings

from jinqiao.accounts.models import Application
from jinqiao.dataplane.evidence.log import EvidenceLog
from jinqiao.dataplane.gateway.app import LANE
from jinqiao.dataplane.gateway.home import load
from jinqiao.demo import story
from jinqiao.demo.city import City
from jinqiao.exchange import actions as exchange
from jinqiao.exchange.actions.disclosures import commitments_for
from jinqiao.exchange.models import Call, CallSubject, QueryService, Sampling
from jinqiao.kernel.contracts.evidence import CallRecord
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.moments import CHINA
from jinqiao.sharing.models import Grant

SAMPLED = date(2026, 3, 13)
"""A Friday of which the authority draws calls."""
EVENING = date(2026, 3, 17)
"""The evening on which one end user goes on asking: the day before the demo's own."""
ITEMS = ("xm", "sfzh", "swrq")
ORDINARY, LATE = 12, 26


def earlier_calls(city: City, home: Path, grant: Grant, purpose: str) -> None:
    """The application is registered, and its calls of these days stand in the gateway's log before the gateway begins."""
    application = Application.objects.first() or story.register_application(city)
    service = story.open_service(city, grant, application)
    with closing(sqlite3.connect(home / "sources" / "minzheng.db")) as connection:
        people = [row[0] for row in connection.execute("SELECT sfzh FROM swdjxx ORDER BY djbh DESC LIMIT ?", (LATE,))]
    asyncio.run(_record(home / "gateway", list(_records(service, application, people, purpose))))


def _records(service: QueryService, application: Application, people: list[str], purpose: str) -> Iterator[CallRecord]:
    grant, by = service.grant, suite(settings.CRYPTO_SUITE)
    opens = datetime.combine(SAMPLED, time(9, 5), CHINA)
    evening = datetime.combine(EVENING, time(22, 40), CHINA)
    moments = [(opens + timedelta(minutes=23 * at), f"HC-2026-{800 + at:04d}", "yanglao-01") for at in range(ORDINARY)]
    moments += [(evening + timedelta(minutes=2 * at), "HC-2026-0900", "yanglao-07") for at in range(LATE)]
    for number, (at, case, end_user) in enumerate(moments):
        person = people[number % len(people)]
        call_id = secrets.token_hex(16)
        yield CallRecord(
            call_id=call_id,
            lane="",
            number=0,
            at=at,
            gateway="",
            service=service.number,
            grant_id=grant.number,
            application=application.number,
            key_id="",
            consumer=grant.consumer.credit_code,
            provider=grant.provider.credit_code,
            purpose=purpose,
            case_number=case,
            end_user=end_user,
            items=ITEMS,
            outcome="ok",
            rows=1,
            request_digest=by.digest(call_id.encode()).hex(),
            key_commitment=by.hmac(secrets.token_bytes(32), person.encode()).hex(),
            subjects=commitments_for(person)[:1],
            answer_commitment=by.digest(secrets.token_bytes(32)).hex(),
            duration_us=900 + secrets.randbelow(4000),
        )


async def _record(gateway: Path, records: list[CallRecord]) -> None:
    """In order, in the lane that the gateway goes on with; nothing where it has records already."""
    home = load(gateway)
    if home.evidence_file.exists():
        return
    log = EvidenceLog(home.evidence_file, lane=home.lane(LANE), suite_name=home.suite)
    log.start()
    try:
        await asyncio.gather(*(log.append(replace(record, gateway=home.gateway_id)) for record in records))
    finally:
        await log.stop()


def announce(city: City) -> Sampling:
    """The authority announces that calls of the day will be drawn."""
    return exchange.announce_sampling(by=city.post("jinhai"), starts_on=SAMPLED, ends_on=SAMPLED, share=0.05, most=3)


def look(seconds: float = 60.0) -> None:
    """With the calls in the centre: the draw, and what the rules find."""
    story.wait_until("earlier calls", lambda: Call.objects.filter(end_user="yanglao-07").count() >= LATE, seconds)
    story.wait_until(
        "persons of calls", lambda: CallSubject.objects.filter(call__end_user="yanglao-07").exists(), seconds
    )
    for sampling in Sampling.objects.filter(drawn_at=None, ends_on=SAMPLED):
        exchange.draw_period(sampling)
    exchange.watch_calls()
