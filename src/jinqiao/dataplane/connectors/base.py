"""What every connector offers: a source that reads one table from one snapshot, a target that takes a batch exactly once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

import pyarrow as pa

from jinqiao.dataplane.errors import ColumnMissing, TableMissing
from jinqiao.kernel.contracts.exchange import (
    ChunkForm,
    ChunkManifest,
    CopyMode,
    Delivery,
    DeliveryCounts,
    DriftChoice,
    LedgerPlace,
    SlotStatus,
)
from jinqiao.kernel.contracts.tables import Column, Engine, RowCondition, TableSchema

if TYPE_CHECKING:
    from jinqiao.dataplane.connectors.node_ledger import NodeLedger
    from jinqiao.dataplane.connectors.snapshots import Snapshot, SnapshotState
    from jinqiao.dataplane.connectors.watermarks import WatermarkFacts

CONNECT_TIMEOUT_S = 10
LOCK_WAIT_S = 30
"""For a lock that another session holds: whoever waits in the queue of a table keeps those behind it waiting as well."""


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """One reading of one table.

    `is_window` says that the filter lets few rows of the table through as a rule: it is read in splits only where they are many.
    `row_filter` goes to the engine as bound parameters. `order_by` are columns of the table. `stop` is asked between
    batches. `rows_per_s` and `mb_per_s` (10^6 bytes of Arrow data, or of raw rows) protect the source; while `hold` says so
    the reading waits, `hold_limit_s` in all at most. The statement time-out grows by the time that these take themselves.
    """

    table: str
    columns: tuple[str, ...]
    row_filter: tuple[RowCondition, ...] = ()
    order_by: tuple[str, ...] = ()
    batch_rows: int = 25_000
    rows_per_s: int | None = None
    mb_per_s: float | None = None
    statement_timeout_s: int = 3600
    stop: Callable[[], bool] = never
    hold: Callable[[], bool] = never
    hold_limit_s: int = 900
    is_window: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryPlan:
    """One batch for one table. `columns` are the target's; `keys` name those by which rows are matched, none = replace all."""

    batch_id: str
    run_id: str
    table: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    mode: CopyMode
    rows: int
    chunks: int
    create: bool = True
    comment: str = ""
    delivery: Delivery = Delivery.MIRROR
    form: ChunkForm = ChunkForm.ARROW
    rows_deleted: int | None = 0  # keys in the chunks of deletes; None while it is not known whether there will be any
    drift: DriftChoice = DriftChoice.REFUSE
    ledger: LedgerPlace = LedgerPlace.TARGET
    accept_doubles: bool = False  # APPEND though the ledger stands at the node
    is_window: bool = False  # few rows as a rule, of a table that may be large
    at: datetime | None = None  # when the batch was extracted: the instant of its versions in HISTORY
    approval: str = ""  # of RELOAD: the sign-off that allows it; stands in the ledger beside the counts


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What the target's own ledger says about a batch: the content digests of the chunks that are in, the counts once merged."""

    loaded: Mapping[int, str] = field(default_factory=dict)
    merged: DeliveryCounts | None = None


class Closing:
    """A connection that closes itself at the end of a `with`."""

    def close(self) -> None:
        """Give the connection back; safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Source(Closing, ABC):
    """A department's data source, read-only. Errors are those of `dataplane.errors`, `source.*`."""

    engine: ClassVar[Engine]
    snapshot: str = "transaction"  # how one reading is consistent, as it stands in the manifest

    @abstractmethod
    def test(self) -> str:
        """Connect and give the server's version; raises what is wrong, by cause."""

    @abstractmethod
    def tables(self) -> tuple[TableSchema, ...]:
        """Every table and view that the account can see, from the database's own catalogue."""

    @abstractmethod
    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        """The rows of one snapshot, in batches of at most `plan.batch_rows`, columns in the order of the plan.

        Column types are what the engine gives; `values.fit` brings them to the wanted ones.
        """

    def warm(self) -> None:
        """Rows will be read soon: what is slow to open may be opened meanwhile."""

    def state_token(self, table: str) -> str | None:
        """Text that is another one whenever the table's contents may have changed; None where the source cannot tell."""
        return None

    def slots(self) -> tuple[SlotStatus, ...]:
        """Replication slots of ours; they fill the source's disk where nobody reads on."""
        return ()

    def drop_slot(self, name: str) -> bool:
        """End a slot of ours. False where there was none."""
        return False

    def watermark_facts(self, plan: ReadPlan, column: Column) -> "WatermarkFacts":
        """What the source says of a watermark column, for the rows that the plan's filter lets through."""
        from jinqiao.dataplane.connectors.watermarks import read_facts

        return read_facts(self, plan, column)

    def open_snapshot(
        self, plan: ReadPlan, *, parallel: int = 1, resume: "SnapshotState | None" = None, chunk_rows: int = 100_000
    ) -> "Snapshot":
        """One view of the table to be read in splits of about `chunk_rows`, 0 = in one piece (`connectors.snapshots`)."""
        from jinqiao.dataplane.connectors.snapshots import WholeSnapshot

        return WholeSnapshot(self, plan)

    def end_snapshot(self, state: "SnapshotState") -> None:
        """End what a killed process may have left open of a snapshot; nothing where nothing outlives the process."""

    def schema(self, table: str) -> TableSchema:
        """One table. Raises TableMissing."""
        for candidate in self.tables():
            if candidate.name == table:
                return candidate
        raise TableMissing(table=table)


class Target(Closing, ABC):
    """A table's home at the consumer. The ledger stands in the same database and commits with the data.

    A delivery calls, in this order and as often as it is restarted: `state`, `prepare`, `load` for each chunk that is not
    in, `merge`, `clean`. Kill it at any instant: each of them is a transaction of its own or may be repeated.
    """

    engine: ClassVar[Engine]
    node_ledger: "NodeLedger | None" = None  # of plans that keep no ledger at the target (`LedgerPlace.NODE`)

    @abstractmethod
    def test(self) -> str: ...

    def warm(self, table: str) -> None:
        """A batch for that table will come soon: a connection may be opened meanwhile. Called in a thread, before anything else;
        what fails here fails again where it is needed."""

    @abstractmethod
    def state(self, batch_id: str) -> LedgerState: ...

    def has_merged(self, batch_id: str) -> bool:
        """Is a batch that was delivered earlier still in? Changes nothing. True where the target cannot tell (files, which may be put back
        one by one)."""
        return True

    @abstractmethod
    def prepare(self, plan: DeliveryPlan) -> LedgerState:
        """Check that the table can take the rows exactly, make the run table, say which chunks are in already.

        Raises TargetTableMissing, TargetSchemaMismatch, TargetNotTransactional before anything is changed.
        """

    @abstractmethod
    def load(self, plan: DeliveryPlan, chunk: ChunkManifest, rows: pa.Table | bytes) -> None:
        """A chunk into the run table and its ledger row, in one transaction.

        `rows` are bytes where the plan's form is PGCOPY: tuples of binary COPY. A chunk of DELETES holds the key columns only.
        """

    def beside(self, plan: DeliveryPlan) -> "Target | None":
        """Another connection to the same place, on which chunks of this batch can be loaded at the same time. The caller closes it.

        None where a batch belongs to one connection, or there is none to be had: nothing depends on it.
        """
        return None

    @abstractmethod
    def merge(self, plan: DeliveryPlan) -> DeliveryCounts:
        """Make the batch visible and write its counts into the ledger, in one transaction."""

    @abstractmethod
    def clean(self, plan: DeliveryPlan) -> None:
        """Drop the run table; may be repeated."""


def select_columns(schema: TableSchema, names: tuple[str, ...]) -> tuple[Column, ...]:
    """Columns by name. Raises ColumnMissing naming those that are not there."""
    by_name = {column.name: column for column in schema.columns}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise ColumnMissing(table=schema.name, columns=", ".join(missing))
    return tuple(by_name[name] for name in names)
