"""Calls for the tests of oversight: kept by the real action, in batches of one lane after another."""

import itertools
from datetime import date, datetime, time
from typing import Any

from jinqiao.exchange import actions
from jinqiao.kernel.contracts.evidence import CallRecord
from jinqiao.kernel.moments import CHINA
from tests.exchange.factories import Served, call_record, evidence_batches

_lanes = itertools.count(1)


def at(day: date, hour: int = 10, minute: int = 0) -> datetime:
    """An instant of a day in China."""
    return datetime.combine(day, time(hour, minute), CHINA)


def keep(served: Served, *changes: dict[str, Any]) -> list[CallRecord]:
    """One call for each of `changes`, in a lane of its own."""
    lane = f"kept-{next(_lanes)}"
    records = [
        call_record(served, number, **{"lane": lane, "call_id": f"{lane}-{number}", **change})
        for number, change in enumerate(changes, start=1)
    ]
    (batch,) = evidence_batches(records)
    actions.accept_evidence(served.gateway.node, batch)
    return records
