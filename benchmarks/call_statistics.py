"""How long pages of oversight take with many calls, on a fresh SQLite home or on PostgreSQL (`DATABASE_URL`, an empty database).

    .venv/bin/python benchmarks/call_statistics.py [--calls 1000000] [--kept 1000000] [--rounds 7]

Calls of thirty days, twenty services, ten consumers and four providers are counted into their sums by the hour, and the newest `--kept` of them
written; then each page is opened as an auditor. Prints the median and the slowest of the rounds in milliseconds.
"""

import argparse
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

SERVICES, CONSUMERS, PROVIDERS, BATCH = 20, 10, 4, 20_000
PAGES = (
    ("statistics by service", "/exchange/calls/statistics"),
    ("statistics by provider", "/exchange/calls/statistics?by=provider"),
    ("statistics by day", "/exchange/calls/statistics?by=day"),
    ("statistics by hour", "/exchange/calls/statistics?by=hour"),
    ("statistics by error owner", "/exchange/calls/statistics?by=owner"),
    ("statistics of one service", "/exchange/calls/statistics?by=day&service=fuwu-007"),
    ("search without filters", "/exchange/calls"),
    ("search by service and outcome", "/exchange/calls?service=fuwu-007&outcome=refused"),
    ("search by case number", "/exchange/calls?q=HC-4711"),
    ("search by day", "/exchange/calls?since={day}&until={day}"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--kept", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jinqiao-bench-") as home:
        os.environ["JINQIAO_HOME"] = home
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jinqiao.config.settings")
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        call_command("collectstatic", verbosity=0, interactive=False, skip_checks=True)
        begun = time.perf_counter()
        _fill(wanted.calls, wanted.kept)
        print(
            f"{wanted.calls:,} calls counted, {min(wanted.kept, wanted.calls):,} written, in {time.perf_counter() - begun:.0f} s",
            flush=True,
        )
        _measure(wanted.rounds)
        _rules()
    return 0


def _fill(count: int, kept: int) -> None:
    from django.db import transaction

    from jinqiao.exchange.actions.tallies import count_calls
    from jinqiao.exchange.models import Call, CallTally

    gateway = _gateway()
    calls = _calls(gateway, count)
    while batch := [call for call, _ in zip(calls, range(BATCH), strict=False)]:
        with transaction.atomic():
            newest = [call for call in batch if call.number > count - kept]
            Call.objects.bulk_create(newest, batch_size=500)
            count_calls(gateway, batch)
    print(f"{CallTally.objects.count():,} sums")


def _gateway() -> Any:
    from jinqiao.accounts import actions as accounts
    from jinqiao.exchange.models import Node

    region = accounts.add_region(by=None, code="620300", name="金昌市", level="city", parent=None)
    body = accounts.add_organisation(
        by=None, credit_code="11620300MB1234567A"[:17] + _sign(), name="市信息办", short_name="信息办", kind="department",
        region=region, parent=None, is_authority=True, position=1,
    )  # fmt: skip
    person = accounts.add_person(
        by=None, username="shenji", name="审计", password=secrets.token_urlsafe(12), must_change_password=False
    )
    accounts.appoint(by=None, person=person, organisation=body, role="auditor")
    return Node.objects.create(number="gateway", name="网关", kind="gateway", organisation=body, zone="extranet")


def _sign() -> str:
    from jinqiao.kernel.identifiers.credit_code import check_sign

    return check_sign("11620300MB1234567")


def _calls(gateway: Any, count: int) -> Iterator[Any]:
    from jinqiao.exchange.models import Call
    from jinqiao.kernel import moments

    chance, now = random.Random(20261129), moments.now()
    record = {"items": ["xm", "sfzh", "swrq"], "request_digest": "0" * 64, "answer_commitment": "0" * 64}
    for number in range(count):
        service = int(abs(chance.gauss(0, 0.4)) * SERVICES) % SERVICES
        refused = chance.random() < 0.03
        yield Call(
            call_id=f"{number:032x}", gateway=gateway, lane="1", number=number + 1,
            at=now - timedelta(seconds=30 * 86400 * (1 - (number + 1) / count)), service=f"fuwu-{service:03d}",
            grant_number=f"SQ-2026-{service:04d}/1", application=f"yingyong-{service % CONSUMERS}",
            consumer=f"C{service % CONSUMERS}", provider=f"P{service % PROVIDERS}",
            purpose=f"用途{service}之{chance.randrange(2)}", case_number=f"HC-{chance.randrange(300_000)}",
            end_user=f"u{chance.randrange(500)}", outcome="gateway.items.not_granted" if refused else "ok",
            error_owner="consumer" if refused else "", rows=0 if refused else 1,
            duration_us=int(chance.lognormvariate(7.3, 0.6)), record=record,
        )  # fmt: skip


def _measure(rounds: int) -> None:
    from django.test import Client

    from jinqiao.accounts.models import Person
    from jinqiao.kernel import moments

    client = Client(SERVER_NAME="localhost")
    client.force_login(Person.objects.get(username="shenji"), backend="jinqiao.accounts.backends.PersonBackend")
    day = (moments.today() - timedelta(days=3)).isoformat()
    for name, address in PAGES:
        _report(name, rounds, partial(_open, client, address.format(day=day)))


def _open(client: Any, url: str) -> None:
    response = client.get(url, secure=True)
    if response.status_code != 200:
        raise SystemExit(f"{url}: {response.status_code}")


def _rules() -> None:
    from jinqiao.exchange import actions

    _report("rules of anomalies, two days", 1, lambda: actions.watch_calls())


def _report(name: str, rounds: int, work: Callable[[], Any]) -> None:
    times = []
    for _round in range(rounds):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1000)
    print(f"{name:36}{statistics.median(times):8.0f}{max(times):8.0f}")


if __name__ == "__main__":
    sys.exit(main())
