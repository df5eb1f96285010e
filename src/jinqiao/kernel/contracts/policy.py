"""The policy snapshot that a gateway pulls, keeps on disk and enforces by its own clock."""

from dataclasses import dataclass
from datetime import datetime

from jinqiao.kernel.contracts.base import Contract
from jinqiao.kernel.contracts.grants import GrantTerms
from jinqiao.kernel.contracts.tables import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationKey(Contract):
    """An HMAC key of an application, sealed to the gateway; the control plane cannot read it."""

    key_id: str
    algorithm: str  # "hmac-sha256" or "hmac-sm3"
    sealed_secret: str
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationPolicy(Contract):
    application_id: str
    name: str
    organisation: str  # unified social credit code
    keys: tuple[ApplicationKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePolicy(Contract):
    """One query service: what one grant lets one consumer ask of one table."""

    service: str  # path segment, e.g. hunyin-dengji-001
    name: str
    grant: GrantTerms
    connection: Connection
    table: str
    key_items: tuple[str, ...]  # codes of the items that a lookup must give, all of them, by equality
    applications: tuple[str, ...]  # application ids of the consumer that may call
    row_cap: int = 100
    calls_per_minute: int = 600
    suspended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySnapshot(Contract):
    """Everything one gateway needs, signed as a SignedMessage. After `expires_at` the gateway answers nothing."""

    gateway: str
    version: int
    issued_at: datetime
    expires_at: datetime
    applications: tuple[ApplicationPolicy, ...]
    services: tuple[ServicePolicy, ...]
