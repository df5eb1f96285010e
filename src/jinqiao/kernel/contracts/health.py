"""What a gateway tells the platform of the services behind it."""

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
