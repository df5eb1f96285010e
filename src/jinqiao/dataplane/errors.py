"""Errors of sources, targets and the exchange pipeline. Details name tables, columns and counts: never values or passwords."""

from jinqiao.kernel.errors import InvalidInput, JinqiaoError, NotAllowed, NotFound, Unavailable, WrongState

# --- Reaching a data source (as a source or as a target) --------------------------------------------------------------


class EngineUnknown(InvalidInput):
    code = "source.engine.unknown"


class HostUnreachable(Unavailable):
    """No such host, nothing listens there, or a firewall is in between."""

    code = "source.connection.unreachable"


class ConnectionTimedOut(Unavailable):
    code = "source.connection.timeout"


class ConnectionLost(Unavailable):
    """The connection broke while it was in use."""

    code = "source.connection.lost"


class SourceBusy(Unavailable):
    """Too many connections, or a lock that others hold too long."""

    code = "source.connection.busy"


class TableBusy(SourceBusy):
    """Another session holds a lock on the table for longer than we wait. Details: table."""

    code = "source.table.busy"


class AuthenticationFailed(NotAllowed):
    code = "source.connection.authentication"


class DatabaseMissing(NotFound):
    code = "source.database.missing"


class TlsFailed(InvalidInput):
    code = "source.connection.tls"


class PermissionDenied(NotAllowed):
    """The account is known but may not do this."""

    code = "source.permission.denied"


# --- Reading ------------------------------------------------------------------------------------------------------


class TableMissing(NotFound):
    code = "source.table.missing"


class ColumnMissing(InvalidInput):
    """The grant or the filter names a column that the table does not have (any more)."""

    code = "source.column.missing"


class StatementTimedOut(Unavailable):
    """The source took longer than the order allows; it was asked to stop."""

    code = "source.statement.timeout"


class SourceChanged(Unavailable):
    """A file was written to, or a table altered, while it was being read."""

    code = "source.content.changed"


class SourceSchemaChanged(WrongState):
    """The source's table is not what it was when the task was set up: columns gone, of another type, or new."""

    code = "source.schema.changed"


class FilterNotPossible(InvalidInput):
    """A row condition does not fit the type of its column."""

    code = "source.filter.not_possible"


class FileNotReadable(InvalidInput):
    """A data file is neither UTF-8 nor GB18030, or no table."""

    code = "source.file.not_readable"


class ReadingHeldTooLong(Unavailable):
    """A reading was paused for longer than its snapshot may stay open at the source; it begins again."""

    code = "source.reading.held"


class WindowNotValid(InvalidInput):
    """Hours of a window are written HH:MM."""

    code = "source.window.not_valid"


class ConnectionOptionWrong(InvalidInput):
    """An option of the connection is none that the engine knows, or has a value that it cannot have; `option` names it."""

    code = "source.option.wrong"


class ValueOfAnotherType(InvalidInput):
    """A column of a file is compared or ordered by a declared type, and `rows` of its values are none of that type."""

    code = "source.value.type"


class FileTooLarge(InvalidInput):
    """One file of a folder is larger than the connection allows. Details: `size_mb`, `limit_mb`."""

    code = "source.file.too_large"


class OdbcMissing(WrongState):
    """The driver manager, or the library over it, is not installed on the node's machine."""

    code = "source.odbc.missing"


class OdbcDriverMissing(InvalidInput):
    """The connection string names a driver or data source that the node's machine does not have."""

    code = "source.odbc.driver"


class OdbcStringNotValid(InvalidInput):
    """The connection string is malformed, names no driver, or carries user or password."""

    code = "source.odbc.string"


class DialectUnknown(InvalidInput):
    """No such dialect, or one in which nothing can be delivered."""

    code = "source.odbc.dialect"


class ValueTooWide(InvalidInput):
    """A value is longer than the buffer that the connection's options allow; it is never cut."""

    code = "source.value.too_wide"


class HttpAnswerNotValid(InvalidInput):
    """An answer is not what the options declare: no JSON, no rows where they should be, a page twice, too much."""

    code = "source.http.answer"


class HttpStatusRefused(JinqiaoError):
    """The interface answered with a status that trying again does not mend."""

    code = "source.http.status"


class SourceFailed(JinqiaoError):
    """The source refused a statement for a reason without a name of its own; `state` is the engine's error code."""

    code = "source.statement.failed"


# --- The change log of a source ---------------------------------------------------------------------------------------


class LogNotPossible(InvalidInput):
    """This kind of source has no change log that can be read, or its version has none."""

    code = "source.log.not_possible"


class LogNotEnabled(WrongState):
    """PostgreSQL writes less into its log than changes need (`wal_level`)."""

    code = "source.log.not_enabled"


class LogNotAllowed(NotAllowed):
    """The account may not read the log (attribute REPLICATION)."""

    code = "source.log.not_allowed"


class PublicationMissing(WrongState):
    """The table is not published, and the account may not publish it; `statement` is what its owner runs."""

    code = "source.log.publication"


class ReplicaIdentityMissing(WrongState):
    """The log does not say which row was changed: the key of the order is no replica identity of the table."""

    code = "source.log.identity"


class SlotInUse(Unavailable):
    """Another process reads from the slot."""

    code = "source.log.slot_in_use"


class SlotsExhausted(WrongState):
    """The server has no room for another slot (`max_replication_slots`)."""

    code = "source.log.slots_exhausted"


class LogGap(WrongState):
    """The log since the last delivery is gone: the slot was dropped, passed on, or lost by the server."""

    code = "source.log.gap"


# --- Extraction and staging -----------------------------------------------------------------------------------------


class OrderNotPossible(InvalidInput):
    """The order contradicts itself: two items with one code, or none."""

    code = "pipeline.order.items"


class KeyNotGranted(OrderNotPossible):
    """A watermark run needs a key that is granted whole and unmasked."""

    code = "pipeline.order.key"


class WatermarkNotUsable(OrderNotPossible):
    """A watermark is a column of whole numbers, dates or times."""

    code = "pipeline.order.watermark"


class CursorNotUsable(OrderNotPossible):
    """A cursor, or the end of a window, is no value of the watermark's type, or no position of the log."""

    code = "pipeline.order.cursor"


class DeliveryNotPossible(OrderNotPossible):
    """The mode of the run and the way of delivery do not go together."""

    code = "pipeline.order.delivery"


class DeliveryKeyMissing(OrderNotPossible):
    """Rows are to be matched, and nothing tells them apart: no key, or one that is not granted whole."""

    code = "pipeline.order.delivery_key"


class HistoryColumnTaken(OrderNotPossible):
    """An item has the name of one of the columns that a history adds."""

    code = "pipeline.order.history_column"


class AppendMayDouble(OrderNotPossible):
    """Without a ledger at the target a batch may arrive twice, and appended rows would stand there twice."""

    code = "pipeline.order.append_doubles"


class ReloadNotApproved(OrderNotPossible):
    """A table is emptied and loaded anew only where somebody has signed for it."""

    code = "pipeline.order.reload"


class StateLost(WrongState):
    """What was delivered last is no longer known here, and delivering it again would double rows."""

    code = "pipeline.state.lost"


class SourceKeyNotUnique(WrongState):
    """Two rows of the source have the same key."""

    code = "pipeline.source.key_not_unique"


class QuarantineExceeded(WrongState):
    """More rows failed the checks than the order allows; nothing is handed over."""

    code = "checks.quarantine.exceeded"


class CheckUnknown(InvalidInput):
    code = "checks.rule.unknown"


class CheckParametersWrong(InvalidInput):
    code = "checks.rule.parameters"


class CheckReferenceMissing(WrongState):
    """A rule refers to values of another table that were not read before the rows."""

    code = "checks.reference.missing"


class ChecksStopped(WrongState):
    """A rule that stops the run was broken, or one broken more often than it allows; nothing is handed over."""

    code = "checks.rule.stopped"


class CorrectionsRefused(InvalidInput):
    """A corrected workbook cannot be taken: another run's, not a workbook, or cells that break the checks."""

    code = "checks.corrections.refused"


class TransformUnknown(InvalidInput):
    code = "transforms.rule.unknown"


class TransformParametersWrong(InvalidInput):
    code = "transforms.rule.parameters"


class TransformColumnMissing(InvalidInput):
    """A column that a transform is made from did not come from the source."""

    code = "transforms.column.missing"


class TokenKeyMissing(WrongState):
    """A node without a secret for tokens was told to make them."""

    code = "transforms.token.key"


class RunStopped(WrongState):
    """Somebody asked to stop the run; what is staged or loaded stays for a restart."""

    code = "pipeline.run.stopped"


class SpoolFull(Unavailable):
    code = "pipeline.spool.full"


class SpoolNameRefused(InvalidInput):
    """A run's id cannot be the name of a folder."""

    code = "pipeline.spool.name"


class ChunkMissing(NotFound):
    code = "pipeline.chunk.missing"


class ChunkDamaged(InvalidInput):
    """A chunk is not the one in the manifest: digest, key, row count or content differ."""

    code = "pipeline.chunk.damaged"


class ManifestMismatch(InvalidInput):
    """The manifest does not belong to the order, or contradicts itself."""

    code = "pipeline.manifest.mismatch"


# --- Delivery -------------------------------------------------------------------------------------------------------


class TargetTableMissing(NotFound):
    code = "pipeline.target.missing"


class TargetTableGone(NotFound):
    """The batch brings changes to a table that is there no more: a new one would hold the changes and nothing else."""

    code = "pipeline.target.gone"


class TargetRestored(WrongState):
    """The target's ledger does not hold the batch that was delivered before: the database was put back to an earlier state, and lacks what
    came since. Nothing was changed. The same task, begun anew, reads everything and merges it. Details: table, batch."""

    code = "pipeline.target.restored"
    retryable = True


class AppendTargetRestored(WrongState):
    """As TargetRestored, where rows are appended: those that are still there would stand twice. Details: table, batch."""

    code = "pipeline.target.restored_append"


class TargetNameTooLong(InvalidInput):
    """The target cuts names that are so long, and would not find its own table again. Details: name, limit (bytes)."""

    code = "pipeline.target.name"


class TargetSchemaMismatch(WrongState):
    """The target table cannot hold the rows exactly; found before anything was changed."""

    code = "pipeline.target.schema"


class TargetSchemaChanged(TargetSchemaMismatch):
    """The target's table lost, retyped or added columns so that the rows cannot go in; found before anything was changed."""

    code = "pipeline.target.drift"


class TargetCannot(InvalidInput):
    """The engine of the target cannot deliver in this way; `delivery` names it."""

    code = "pipeline.target.cannot"


class HistoryOutOfOrder(WrongState):
    """A version would end before it began: a later batch is already in the history."""

    code = "pipeline.target.history_order"


class TargetNotTransactional(InvalidInput):
    """The target table's storage engine cannot roll back (MyISAM, Aria, MEMORY)."""

    code = "pipeline.target.not_transactional"


class TargetDiskFull(Unavailable):
    code = "pipeline.target.disk_full"


class TargetKeyNotUnique(WrongState):
    """Two rows of the batch, or of the target, have the same key."""

    code = "pipeline.target.key_not_unique"


class TargetKeyLoose(WrongState):
    """The target takes different keys for the same: their rows would become one. Found before anything was changed."""

    code = "pipeline.target.key_loose"


class TargetRefused(WrongState):
    """The target refused rows by a constraint of its own; `state` is the engine's error code."""

    code = "pipeline.target.refused"


class TargetPathRefused(WrongState):
    """Files would be written outside of the target's folder, or over its own records; `rows` of them."""

    code = "pipeline.target.path"


class TargetFilesForeign(WrongState):
    """A mirrored folder holds files that no delivery brought: they would have to be deleted. `files` of them."""

    code = "pipeline.target.files_foreign"


class TargetTableFull(WrongState):
    """The format has no room for so many rows; `rows` is what the batch needs, `limit` what there is."""

    code = "pipeline.target.table_full"


class ReconciliationFailed(WrongState):
    """What the target took is not what was sent; the transaction was rolled back."""

    code = "pipeline.reconcile.failed"


# --- jinqiao copy ---------------------------------------------------------------------------------------------------------


class AddressNotUnderstood(InvalidInput):
    """The address of a source or target has a form that is not known."""

    code = "copy.address"


class CopyArgumentWrong(InvalidInput):
    code = "copy.argument"


class CopySignOffMissing(InvalidInput):
    """A reload empties the table first: nobody has said who allows it."""

    code = "copy.sign_off"


class CopySourceNotDeclared(InvalidInput):
    """An HTTP interface says nothing of itself: paths, columns and types must be given."""

    code = "copy.http_source"


class CopyTargetNotPossible(InvalidInput):
    """An HTTP interface can only be read."""

    code = "copy.http_target"


class CopySpoolFailed(InvalidInput):
    """Details: reason."""

    code = "copy.spool"


class CopySourceFault(JinqiaoError):
    """Something at the source that has no name of ours. Details: kind, the type of the error."""

    code = "copy.source"


class CopyTargetFault(JinqiaoError):
    """Details: kind."""

    code = "copy.target"


class CopyFault(JinqiaoError):
    """A fault of the program. Details: kind, at."""

    code = "copy.fault"


class CopyUnderWay(WrongState):
    """Another process copies the same table with the same spool."""

    code = "copy.under_way"


class CopyWouldDouble(WrongState):
    """An append from a cursor that a full copy has overtaken: what came with that one would stand there twice."""

    code = "copy.would_double"


class CopyStateDamaged(WrongState):
    """What a copy wrote down of itself cannot be read; beginning anew is for a person to decide."""

    code = "copy.state"
