"""The policy snapshot that a gateway pulls, keeps on disk and enforces by its own clock."""

import enum
from dataclasses import dataclass
from datetime import date, datetime

from jinqiao.kernel.contracts.base import Contract
from jinqiao.kernel.contracts.grants import GrantTerms
from jinqiao.kernel.contracts.tables import Connection, Mask


class Operation(enum.StrEnum):
    """What a service can be asked; the last segment of its path. Each is offered only where the policy lists it."""

    QUERY = "query"  # look-up of one key: rows of granted items
    BATCH = "batch"  # look-up of many keys, as JSON or as a file of CSV
    VERIFY = "verify"  # are these values right? yes, partial, no: no value leaves
    LIST = "list"  # rows by filters, in pages
    COUNT = "count"  # how many rows filters find


class Environment(enum.StrEnum):
    PRODUCTION = "production"
    SANDBOX = "sandbox"  # synthetic people, made at the gateway; nothing of a source is read


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationKey(Contract):
    """A key of an application: a secret sealed to the gateway (the control plane cannot read it), or a public key."""

    key_id: str
    algorithm: str  # "hmac-sha256", "hmac-sm3" with `sealed_secret`; "ed25519", "sm2-sm3" with `public_key`
    sealed_secret: str = ""
    public_key: str = ""  # raw public key, hex
    not_before: datetime | None = None
    not_after: datetime | None = None


def trial_key_id(application_id: str) -> str:
    """The key id under which the platform's pages call the sandbox for an application. Issued keys begin with `ak-`."""
    return f"try-{application_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationPolicy(Contract):
    """`addresses`: networks (CIDR) from which it may call, empty: any. `certificates`: SHA-256 fingerprints (hex) of client
    certificates of which its calls must show one, empty: none needed."""

    application_id: str
    name: str
    organisation: str  # unified social credit code
    keys: tuple[ApplicationKey, ...]
    addresses: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    national_id: str = ""  # its requester id (rid) in the national calling convention, where one was issued


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleMask(Contract):
    """For end users of this role the item is masked so, where that is stricter than the grant. For a role that no mask of the item
    names, the strictest of them holds."""

    role: str
    code: str
    mask: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours(Contract):
    """Calls are answered from `first` until before `last` (local time, HH:MM) on these days of the week (Monday is 1)."""

    first: str
    last: str
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePolicy(Contract):
    """One query service: what one grant lets one consumer ask of one table or HTTP service of a department."""

    service: str  # path segment, e.g. hunyin-dengji-001
    name: str
    grant: GrantTerms
    connection: Connection
    table: str
    key_items: tuple[str, ...]  # codes of the items that a lookup must give, all of them, by equality
    applications: tuple[str, ...]  # application ids of the consumer that may call
    operations: tuple[Operation, ...] = (Operation.QUERY,)
    filter_items: tuple[str, ...] = ()  # granted, unmasked items by which lists and counts may be filtered and ordered
    subject_items: tuple[str, ...] = ()  # granted items that hold the number of a person: disclosures are found by them
    case_column: str = ""  # column that must equal the call's case number, where consumers see their own cases only
    end_user_required: bool = False
    role_masks: tuple[RoleMask, ...] = ()
    row_cap: int = 100  # rows of one answer; of a list: rows of one page
    batch_cap: int = 100  # keys of one batch
    smallest_count: int = 0  # counts from 1 to below this are told as "fewer than"
    calls_per_minute: int = 600  # of all applications together
    calls_per_day: int | None = None  # of each application; a day is local
    rows_per_day: int | None = None  # of each application
    hours: tuple[Hours, ...] = ()  # empty: at any time
    suspended: bool = False
    version: int = 1
    deprecated_on: date | None = None  # announced: callers are told with each answer
    ends_on: date | None = None  # last day; after it calls are refused
    successor: str = ""  # the service to move to
    national_id: str = ""  # its service id (sid) in the national calling convention, where one was issued


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectKey(Contract):
    """The city's key for commitments of persons' numbers, sealed to this gateway: the same person gets the same commitment at
    every gateway, and nobody without the key can try out numbers. Commitments say which key made them."""

    key_id: str
    sealed_key: str
    algorithm: str = "hmac-sha256"  # or "hmac-sm3"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySnapshot(Contract):
    """Everything one gateway needs, signed as a SignedMessage. After `expires_at` the gateway answers nothing."""

    VERSION = 2

    gateway: str
    version: int
    issued_at: datetime
    expires_at: datetime
    applications: tuple[ApplicationPolicy, ...]
    services: tuple[ServicePolicy, ...]
    subject_key: SubjectKey | None = None
    keep_bodies_days: int = 1096  # records of calls: three years of use (rule set); leaves and chains stay for good
