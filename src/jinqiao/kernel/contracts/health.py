"""What a gateway tells the platform of itself and of the services behind it."""

from dataclasses import dataclass
from datetime import datetime

from jinqiao.kernel.contracts.base import Contract


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth(Contract):
    """What the last probes of a department's HTTP service found. `problem` is a short name of what was wrong, empty where it is well;
    `since`: of this state."""

    service: str
    is_well: bool
    problem: str
    since: datetime
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesHealth(Contract):
    """Of all services of a gateway that have a health path and were probed."""

    services: tuple[ServiceHealth, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayState(Contract):
    """What a gateway says each minute of its policy and of its evidence. None where there is nothing yet, or where it cannot be
    read just now; a gateway of an earlier release says nothing of this."""

    at: datetime
    policy_version: int | None = None
    policy_issued_at: datetime | None = None
    waiting_batches: int | None = None  # that the platform has not taken yet
    waiting_since: datetime | None = None  # first record of the oldest of these
    recorded_at: datetime | None = None  # last record in its log
    anchored_at: datetime | None = None
    witnessed_at: datetime | None = None
    anchor_problem: str = ""  # code, or name of a fault
    evidence_healthy: bool = True
