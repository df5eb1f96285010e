"""Orders to nodes, what nodes report, and the receipt that both sides sign."""

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinqiao.kernel.contracts.base import Contract
from jinqiao.kernel.contracts.grants import GrantTerms
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, TableSchema


class CopyMode(enum.StrEnum):
    FULL = "full"  # the target shows exactly the granted rows of the source afterwards
    WATERMARK = "watermark"  # rows whose watermark is newer than the cursor
    DIFF = "diff"  # what differs from the last delivered state, by key and row digest; finds deletions
    LOG = "log"  # what the source's change log holds since the cursor (PostgreSQL logical decoding)


class Delivery(enum.StrEnum):
    """What a batch does to the target table. Rows are matched by the keys of the order."""

    MIRROR = "mirror"  # the table shows exactly the granted rows: inserted, updated, deleted
    UPSERT = "upsert"  # inserted and updated, nothing is deleted
    APPEND = "append"  # every row of the batch is added
    HISTORY = "history"  # versions with valid_from and valid_to; nothing is overwritten
    RELOAD = "reload"  # emptied and loaded anew; only with `reload_approval`


class DriftChoice(enum.StrEnum):
    """What to do where the table of source or target is no longer what the order was made for."""

    REFUSE = "refuse"  # the run stops before anything is read and says what changed
    ADAPT = (
        "adapt"  # columns new in the grant are added to the target; a column that is gone at the source arrives as NULL
    )


class LedgerPlace(enum.StrEnum):
    TARGET = "target"  # in the target's database, in the transaction of the data: exactly once
    NODE = "node"  # at the consumer's node, where no table may be made at the target: at least once


class Guarantee(enum.StrEnum):
    """How often a batch can have changed the target."""

    EXACTLY_ONCE = "exactly_once"  # data and ledger committed together
    AT_LEAST_ONCE = "at_least_once"  # the ledger stands elsewhere: what was cut off between the two is delivered again


class Reconcile(enum.StrEnum):
    COUNTS = "counts"  # every chunk's digest and the counts, always
    CONTENT = "content"  # and both sides read again


class ChunkForm(enum.StrEnum):
    """How the rows of a chunk are written, before compression and encryption."""

    ARROW = "arrow"  # an Arrow IPC stream
    PGCOPY = "pgcopy"  # tuples of PostgreSQL's COPY … (FORMAT binary), without header and trailer; between PostgreSQL servers


class ChunkKind(enum.StrEnum):
    ROWS = "rows"  # rows to bring
    DELETES = "deletes"  # keys of rows that are gone at the source (diff, log)


class TransformKind(enum.StrEnum):
    CODES = "codes"  # a code of one code table into that of another
    DERIVE = "derive"  # an item made from columns of the source
    TOKEN = "token"  # noqa: S105 -- a pseudonym: keyed at the provider's node, the same value always the same token


class CommandKind(enum.StrEnum):
    TEST_CONNECTION = "test_connection"
    LIST_TABLES = "list_tables"
    EXTRACT = "extract"
    DELIVER = "deliver"
    PURGE = "purge"  # the receipt is complete: staged chunks of this run may go
    STOP = "stop"
    PAUSE = "pause"  # hold a move where it is; nothing staged is lost
    RESUME = "resume"
    RESEND = "resend"  # upload chunks again that arrived damaged; `chunks` names them
    COMPARE = "compare"  # read a side again and give the digest of its contents
    READ_QUARANTINE = (
        "read_quarantine"  # the rows set aside, as a workbook sealed to the platform, for the provider's people
    )
    RESUBMIT = "resubmit"  # corrected rows of a quarantine, sealed to the provider's node
    COUNTERSIGN = "countersign"  # witness the anchor of another department's gateway
    DROP_SLOT = "drop_slot"  # a task reads the change log no more: its replication slot would fill the source's disk


class Stage(enum.StrEnum):
    """Stages of a run in their order; the bridge drawn on the page of a run."""

    EXTRACT = "extract"
    STAGE = "stage"
    CHECK = "check"
    HAND_OVER = "hand_over"
    DELIVER = "deliver"
    RECONCILE = "reconcile"
    RECEIPT = "receipt"


class Severity(enum.StrEnum):
    """What a broken check means for the row and the run."""

    WARN = "warn"  # counted; the row is handed over
    QUARANTINE = "quarantine"  # counted; the row is set aside
    STOP = "stop"  # set aside, and the run ends before anything is handed over


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRule(Contract):
    """A check of the catalogue of checks, bound to an item. `check` names it, e.g. `required`, `identity_number`, `length`.

    Above `stop_share` of the rows read, or `stop_rows`, the run ends before anything is handed over, whatever the severity.
    """

    check: str
    item: str
    parameters: dict[str, Any] = field(default_factory=dict)
    severity: Severity = Severity.QUARANTINE
    stop_share: float | None = None  # 0 to 1
    stop_rows: int | None = None
    version: int = 0  # of the check, as it was when the rule was written; 0 = the one that the node knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform(Contract):
    """How the value of a granted item (`item`: its code) is made at the provider's node, before checks and masks.

    `parameters` are those of `dataplane.transforms` for the kind; without a transform an item is its bound column.
    """

    kind: TransformKind
    item: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Contract):
    """Hours of the day, local time, in which a source may be read, `HH:MM`; `until` before `since` spans midnight."""

    since: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Contract):
    """A broken check, counted. `sample_rows` are row numbers within the run, never values."""

    check: str
    item: str
    rows: int
    sample_rows: tuple[int, ...] = ()
    version: int = 1  # of the check that counted
    severity: Severity = Severity.QUARANTINE


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOrder(Contract):
    """One run of an exchange task, signed by the platform. Nodes refuse an order whose grant is not live, whose signature is
    not the platform's, or which names another provider or consumer than theirs."""

    run_id: str
    task_id: str
    grant: GrantTerms
    mode: CopyMode
    provider_node: str
    consumer_node: str
    consumer_identity: dict[str, Any]  # public identity (kernel.crypto.identity) that chunks are sealed to
    provider_identity: dict[str, Any]
    source_table: str
    key_columns: tuple[str, ...]  # columns of the source; never empty in WATERMARK
    watermark_column: str = ""
    after: str = ""  # cursor: canonical text of the last watermark delivered; empty = from the beginning
    overlap_s: int = 0  # how far before the cursor reading starts again, for late commits
    target_table: str
    create_target: bool = True
    chunk_rows: int = 100_000
    rows_per_s: int | None = None
    statement_timeout_s: int = 3600
    checks: tuple[CheckRule, ...] = ()
    quarantine_limit: float = 0.01  # share of rows; above it the run stops before delivery
    delivery: Delivery = Delivery.MIRROR  # watermark runs: UPSERT, APPEND or HISTORY
    transforms: tuple[Transform, ...] = ()
    target_names: dict[str, str] = field(
        default_factory=dict
    )  # code of an item → column of the target, where it differs
    target_engine: Engine | None = None  # lets two servers of the same engine skip every conversion
    drift: DriftChoice = DriftChoice.REFUSE
    expected_columns: tuple[
        Column, ...
    ] = ()  # of the source, as they were when the task was set up; empty = not watched
    ledger: LedgerPlace = LedgerPlace.TARGET
    reconcile: Reconcile = Reconcile.COUNTS
    reload_approval: str = ""  # number of the sign-off that allows RELOAD
    until: str = ""  # backfill of a window: rows up to this watermark, included; the cursor stays where it is
    parallel: int = 1  # readers at the source, at most
    mb_per_s: float | None = None
    windows: tuple[Window, ...] = ()  # empty = at any hour
    slot: str = ""  # replication slot of a LOG run
    consumer_url: str = ""  # a consumer's node that listens: chunks go there directly; empty = by the platform's relay


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkManifest(Contract):
    """One staged chunk. `digest` covers the encrypted file, `content_digest` its payload: the compressed rows."""

    number: int  # from 1
    rows: int
    size_bytes: int
    digest: str  # hex, algorithm of the batch's suite
    content_digest: str  # over the payload before encryption: what both sides sign for
    kind: ChunkKind = ChunkKind.ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchManifest(Contract):
    """All that a run hands over. `batch_digest` chains the content digests of the chunks in their order."""

    run_id: str
    batch_id: str
    suite: str
    columns: tuple[Column, ...]  # of the target
    chunks: tuple[ChunkManifest, ...]
    rows: int
    rows_read: int
    rows_quarantined: int
    findings: tuple[Finding, ...]
    batch_digest: str
    snapshot: str  # how consistency was got: exported snapshot, one transaction, file unchanged, none
    readers: int = 1  # that read side by side
    form: ChunkForm = ChunkForm.ARROW
    rows_deleted: int = 0  # keys in the chunks of deletes; not among `rows`
    complete: bool = False  # DIFF, LOG: every granted row is here (first run, lost state, TRUNCATE): delivered as FULL
    resumed: int = 0  # how often extraction went on after it was ended from outside
    restarted: tuple[str, ...] = ()  # why it began anew though something was staged: snapshot, piece, state, checks …
    new_cursor: str = ""
    wrapped_key: str  # data key of the chunks, sealed to the consumer's node
    extracted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryCounts(Contract):
    """Rows. In a history, `updated` are rows with a new version, `deleted` those whose version was closed without one, and
    `target_rows` the versions that are valid now."""

    received: int  # in chunks of rows
    inserted: int
    updated: int
    deleted: int
    unchanged: int
    target_rows: int
    guarantee: Guarantee = Guarantee.EXACTLY_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentDigest(Contract):
    """Contents of one side: number of rows, and the digest of them all whatever their order (hex), by `method`."""

    rows: int
    digest: str
    method: str = "canonical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Contract):
    """What arrived, signed twice: by the sender over what it sent and by the receiver over what it took. Both sign the same
    bytes: the canonical form of this contract."""

    run_id: str
    batch_id: str
    grant_id: str
    provider_node: str
    consumer_node: str
    rows: int
    batch_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Contract):
    """What the platform wants a node to do. Nodes poll for commands, work on them once, and answer by `id`."""

    id: str
    kind: CommandKind
    run_id: str = ""
    data_source: str = ""
    connection: Connection | None = None
    order: ExchangeOrder | None = None
    manifest: BatchManifest | None = None
    sender_signature: str = ""  # over the receipt, in DELIVER
    chunks: tuple[int, ...] = ()  # RESEND
    side: str = ""  # COMPARE: "source" or "target"; needed only where one node is both
    sealed_payload: str = ""  # RESUBMIT: a workbook sealed to the node
    # RESUBMIT: the run whose quarantine is corrected; `run_id` and `order` are the new run's; answered as EXTRACT
    corrects: str = ""
    slot: str = ""  # DROP_SLOT
    anchor: "SignedMessage | None" = None  # COUNTERSIGN: an Anchor, signed by the gateway
    anchor_identity: dict[str, Any] = field(default_factory=dict)  # COUNTERSIGN: public identity of the gateway
    transfer: "SignedMessage | None" = None  # EXTRACT with a `consumer_url`: the order, signed, for the consumer's node
    issued_at: datetime
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMessage(Contract):
    """A contract with its signature. `body` is the JSON of the contract; the signature covers its canonical bytes."""

    body: dict[str, Any]
    key_id: str
    suite: str
    signature: str  # base64


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Contract):
    """How far a run is, as its node sees it."""

    run_id: str
    stage: Stage
    rows_done: int = 0
    rows_total: int | None = None
    bytes_done: int = 0
    chunks_done: int = 0
    chunks_total: int | None = None
    waiting_for: str = ""  # "window", "resume", "platform"; empty = it moves
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Contract):
    """An error as one process tells it to another: code and details, rendered where it is shown."""

    code: str
    details: dict[str, Any] = field(default_factory=dict)
    clause: str = ""
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStatus(Contract):
    """A replication slot of ours at a source. What it retains fills the source's disk until somebody reads on or drops it."""

    name: str
    active: bool
    retained_bytes: int  # of the log, kept for this slot
    lag_bytes: int  # of the log, not delivered yet
    wal_status: str = ""  # reserved, extended, unreserved, lost (PostgreSQL 13 and later)
    safe_bytes: int | None = None  # that may still be written before the slot is lost; None where there is no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult(Contract):
    """Answer to a command. Exactly what the kind asks for is filled; `problem` is set when it failed."""

    command_id: str
    ok: bool
    problem: Problem | None = None
    server_version: str = ""  # TEST_CONNECTION
    tables: tuple[TableSchema, ...] = ()  # LIST_TABLES
    slots: tuple[SlotStatus, ...] = ()  # TEST_CONNECTION, EXTRACT: every slot of ours at this source
    manifest: BatchManifest | None = None  # EXTRACT
    direct: tuple[int, ...] = ()  # EXTRACT: chunks that the consumer's node took itself; the relay has the others
    counts: DeliveryCounts | None = None  # DELIVER
    content: ContentDigest | None = None  # COMPARE
    sealed_payload: str = ""  # READ_QUARANTINE: a workbook sealed to the platform
    countersignature: SignedMessage | None = None  # COUNTERSIGN
    receipt: Receipt | None = None  # EXTRACT and DELIVER
    receipt_signature: str = ""  # base64, by this node over receipt.canonical()
    seconds: dict[str, float] = field(default_factory=dict)  # per stage
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(Contract):
    """Sent with every poll."""

    node_id: str
    version: str
    clock_at: datetime
    spool_free_bytes: int
    busy_with: tuple[str, ...] = ()  # run ids
    progress: tuple[Progress, ...] = ()
    url: str = ""  # where the node takes chunks directly, if it listens
    python: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeResubmission(Contract):
    """Corrected rows of a quarantine, handed in at the provider's node: the workbook is sealed to that node itself."""

    run_id: str
    sealed_payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRotation(Contract):
    """A node's new identity, sent signed with the old one; `proof` is the new key's signature over `canonical()` without it.

    Said again, signed with the new one, it brings `resealed`: secrets sealed to the old key → the same sealed to the new one.
    """

    node_id: str
    identity: dict[str, Any]
    resealed: dict[str, str] = field(default_factory=dict)
    proof: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRotated(Contract):
    """The platform knows the new identity. `sealed` are secrets of this node that are still sealed to another key."""

    key_id: str
    sealed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRegistration(Contract):
    """A node's first word: a one-time code given by an operator, and its public identity."""

    code: str
    identity: dict[str, Any]  # kernel.crypto.identity.PublicIdentity as JSON
    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAdmission(Contract):
    node_id: str
    platform_identity: dict[str, Any]
    poll_s: float = 1.0
