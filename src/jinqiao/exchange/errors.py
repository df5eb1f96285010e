"""Errors of movement. Their words stand in `kernel/texts/errors/exchange.toml`."""

from jinqiao.kernel.errors import InvalidInput, NotAllowed, NotFound, Unavailable, WrongState


class NotYourNode(NotAllowed):
    """Nodes are set up by their own department's administrator or the bureau."""

    code = "exchange.node.not_yours"


class NotYourSource(NotAllowed):
    code = "exchange.source.not_yours"


class NotYourEntry(NotAllowed):
    """Only the providing department binds its entry to a table."""

    code = "exchange.binding.not_yours"


class NotYourTask(NotAllowed):
    code = "exchange.task.not_yours"


class NotYourService(NotAllowed):
    code = "exchange.service.not_yours"


class NotYourApplication(NotAllowed):
    code = "exchange.application.not_yours"


class SubjectKeyNotYours(NotAllowed):
    """Only the security administrator renews the key by which persons are marked in the records of calls."""

    code = "exchange.subject_key.not_yours"


class NotYourRun(NotAllowed):
    """A node asks for, or brings, chunks of a run that is not its own."""

    code = "exchange.relay.not_yours"


class NotYourQuarantine(NotAllowed):
    """Rows that were set aside are for their provider's people alone."""

    code = "exchange.quarantine.not_yours"


class NotYourAlert(NotAllowed):
    code = "exchange.alert.not_yours"


class RunHeldByOther(NotAllowed):
    """Another side holds the run, for the sake of its source or target."""

    code = "exchange.run.held_by_other"


class ArrivalRefused(NotAllowed):
    """Number or token of a notice of arrival is wrong; which is not told."""

    code = "exchange.source.arrival_refused"


class GrantNotLive(NotAllowed):
    """No grant, no byte: the grant is suspended, revoked, expired, replaced, or has not begun."""

    code = "exchange.grant.not_live"


class NodeNotActive(NotAllowed):
    code = "exchange.node.not_active"


class NodeAwaitsApproval(WrongState):
    """The node has registered, but nobody has confirmed its key yet: it gets no command and moves nothing."""

    code = "exchange.node.awaiting"
    retryable = True


class FingerprintDiffers(WrongState):
    """The key that was confirmed is not the one that the node has registered with."""

    code = "exchange.node.fingerprint"


class RotationRefused(NotAllowed):
    """The new identity was not proved, or is not meant for this node. Details: node, reason."""

    code = "exchange.node.rotation"


class NodeKindWrong(NotAllowed):
    """A gateway asks for what only front-end nodes get, or the other way round."""

    code = "exchange.node.kind_wrong"


class CodeWrong(NotAllowed):
    """The one-time code of a registration is unknown, used or too old."""

    code = "exchange.node.code_wrong"


class NodeMissing(NotFound):
    code = "exchange.node.missing"


class RunMissing(NotFound):
    code = "exchange.run.missing"


class ChunkMissing(NotFound):
    code = "exchange.relay.chunk_missing"


class CommandMissing(NotFound):
    code = "exchange.command.missing"


class SuiteMismatch(InvalidInput):
    """A node of another suite than the platform's cannot exchange with its peers."""

    code = "exchange.node.suite_mismatch"


class IdentityTaken(InvalidInput):
    code = "exchange.node.identity_taken"


class NumberTaken(InvalidInput):
    code = "exchange.number.taken"


class NodeOfAnotherOrganisation(InvalidInput):
    code = "exchange.source.node_of_another"


class ConnectionIncomplete(InvalidInput):
    """A database server needs a host and an account."""

    code = "exchange.source.incomplete"


class OptionUnknown(InvalidInput):
    code = "exchange.source.option_unknown"


class OptionWrong(InvalidInput):
    code = "exchange.source.option_wrong"


class SecretInOptions(InvalidInput):
    """Passwords are sealed; they stand in no option, connection string or address."""

    code = "exchange.source.secret_in_options"


class TargetKindWrong(InvalidInput):
    """ODBC and HTTP sources are only read."""

    code = "exchange.source.not_a_target"


class TableUnknown(InvalidInput):
    code = "exchange.binding.table_unknown"


class ColumnUnknown(InvalidInput):
    code = "exchange.binding.column_unknown"


class ItemUnknown(InvalidInput):
    code = "exchange.binding.item_unknown"


class ItemUnbound(InvalidInput):
    """A data item of the grant, or of its row filter, has no column."""

    code = "exchange.binding.item_unbound"


class TypeMismatch(InvalidInput):
    code = "exchange.binding.type_mismatch"


class LookupNotBound(InvalidInput):
    code = "exchange.binding.lookup_not_bound"


class CheckWrong(InvalidInput):
    """A check that the catalogue does not know, of another item, or with wrong parameters."""

    code = "exchange.task.check_wrong"


class TransformWrong(InvalidInput):
    code = "exchange.binding.transform_wrong"


class ProtectionWrong(InvalidInput):
    """`field` names what cannot be set so."""

    code = "exchange.source.protection_wrong"


class TargetNamesBroken(InvalidInput):
    """Two items with one column, a name that is no name, or one for an item that is not granted."""

    code = "exchange.task.target_names_broken"


class SettingWrong(InvalidInput):
    """`field` of a task is out of its range."""

    code = "exchange.task.setting_wrong"


class PredecessorWrong(InvalidInput):
    """A task cannot run after itself, also not by way of others, nor after one that its people may not see."""

    code = "exchange.task.predecessor_wrong"


class ScheduleBroken(InvalidInput):
    code = "exchange.task.schedule_broken"


class CronBroken(InvalidInput):
    """`field` counts the five fields from 1."""

    code = "exchange.task.cron_broken"


class CronNever(InvalidInput):
    """Such as 30 February: it never comes."""

    code = "exchange.task.cron_never"


class TargetOfAnotherOrganisation(InvalidInput):
    code = "exchange.task.target_of_another"


class TargetNotWritable(InvalidInput):
    code = "exchange.task.target_not_writable"


class TargetNameBroken(InvalidInput):
    code = "exchange.task.target_name_broken"


class WatermarkMissing(InvalidInput):
    """Incremental runs need a watermark column and key columns in the binding."""

    code = "exchange.task.watermark_missing"


class KeyNotGranted(InvalidInput):
    """Incremental delivery merges by key, so the key's items must be granted, and not masked."""

    code = "exchange.task.key_not_granted"


class KeysMissing(InvalidInput):
    """Rows have to be told apart, and the binding names no key."""

    code = "exchange.task.keys_missing"


class DeliveryNotFitting(InvalidInput):
    """A mode and a delivery that do not go together, or append without a ledger at the target."""

    code = "exchange.task.delivery_not_fitting"


class LogNotPossible(InvalidInput):
    code = "exchange.task.log_not_possible"


class ReloadNeedsApproval(NotAllowed):
    """Emptying a table and loading it anew is a single act that somebody signs for."""

    code = "exchange.reload.needs_approval"


class SourceInUse(WrongState):
    """Tasks or services still read it, or deliver to it."""

    code = "exchange.source.in_use"


class SourceRetired(WrongState):
    code = "exchange.source.retired"


class LimitBroken(InvalidInput):
    code = "exchange.service.limit_broken"


class ApplicationOfAnother(InvalidInput):
    code = "exchange.service.application_of_another"


class ChunkDigestWrong(InvalidInput):
    code = "exchange.relay.digest_wrong"


class ChunkEmpty(InvalidInput):
    code = "exchange.relay.chunk_empty"


class EvidenceBroken(InvalidInput):
    """A batch of evidence does not verify: `reason` names which link."""

    code = "exchange.evidence.broken"


class EvidenceGap(WrongState):
    """Batches of a lane come in order; `expected` names the batch that is missing."""

    code = "exchange.evidence.gap"


class NotYourEvidence(NotAllowed):
    """Packs of whole periods are for the authority and the auditor; a department gets the proof of each of its calls."""

    code = "exchange.evidence.not_yours"


class EvidencePackGone(NotFound):
    """Not made yet, or removed after its time."""

    code = "exchange.evidence.pack_gone"


class ReceiptMissing(NotFound):
    """The sender has not signed yet. Details: run."""

    code = "exchange.receipt.missing"


class EvidencePackNotWritten(Unavailable):
    """The disk refused it."""

    code = "exchange.evidence.pack_not_written"


class NodeStateWrong(WrongState):
    code = "exchange.node.state_wrong"


class NodeNotRegistered(WrongState):
    code = "exchange.node.not_registered"


class NodeInUse(WrongState):
    code = "exchange.node.in_use"


class EntryNotPublished(WrongState):
    code = "exchange.binding.entry_not_published"


class BindingMissing(WrongState):
    code = "exchange.binding.missing"


class TaskNotReady(WrongState):
    """No target yet."""

    code = "exchange.task.not_ready"


class TaskStateWrong(WrongState):
    code = "exchange.task.state_wrong"


class RunAlreadyLive(WrongState):
    code = "exchange.run.already_live"


class RunStateWrong(WrongState):
    code = "exchange.run.state_wrong"


class WindowBroken(InvalidInput):
    """Ends of a window that are no values of the watermark, or the wrong way round."""

    code = "exchange.window.broken"


class WindowWouldDouble(InvalidInput):
    """A task that appends would hold the rows of the window twice."""

    code = "exchange.window.would_double"


class BindingWouldDouble(WrongState):
    """A task that appends would hold rows twice once the entry is bound to another table: the next run would bring everything."""

    code = "exchange.binding.would_double"


class MoveWouldDouble(WrongState):
    """A task that appends would hold rows twice once its source leads to another place: the next run would bring everything."""

    code = "exchange.source.move_would_double"


class ReplayNotPossible(WrongState):
    """Only a reconciled run by watermark has a window."""

    code = "exchange.window.no_replay"


class ReloadStateWrong(WrongState):
    code = "exchange.reload.state_wrong"


class QuarantineEmpty(WrongState):
    code = "exchange.quarantine.empty"


class QuarantineNotRead(WrongState):
    """The provider's node has not sent it yet, or it was dropped after a day."""

    code = "exchange.quarantine.not_read"


class WorkbookTooLarge(InvalidInput):
    code = "exchange.quarantine.too_large"


class ComparisonUnderWay(WrongState):
    code = "exchange.comparison.under_way"


class ComparisonNotPossible(InvalidInput):
    """The target of a task that does not mirror shows other rows than the source, and rightly."""

    code = "exchange.comparison.not_possible"


class ComparisonUnanswered(Unavailable):
    code = "exchange.comparison.unanswered"


class GatewayMissing(WrongState):
    code = "exchange.service.gateway_missing"


class ServiceStateWrong(WrongState):
    code = "exchange.service.state_wrong"


class KeyAlreadyRevoked(WrongState):
    code = "exchange.key.already_revoked"


class AlertRuleWrong(InvalidInput):
    """A rule that does not go by task, or a parameter that it does not have or that is out of range."""

    code = "exchange.alert.rule_wrong"


class ChannelAddressWrong(InvalidInput):
    code = "exchange.alert.address_wrong"


class ChannelTaken(InvalidInput):
    code = "exchange.alert.channel_taken"


class MailOff(WrongState):
    """No mail server is set."""

    code = "exchange.alert.mail_off"


class AlertNotSent(Unavailable):
    code = "exchange.alert.not_sent"
    retryable = True


class RelayFull(Unavailable):
    code = "exchange.relay.full"


class RunProblem(InvalidInput):
    """Family of what makes a run fail when its node's answer is verified; written to the run, not shown to the node."""

    code = "exchange.run.answer_wrong"


class ManifestWrong(RunProblem):
    code = "exchange.run.manifest_wrong"


class ColumnsBeyondGrant(RunProblem):
    code = "exchange.run.columns_beyond_grant"


class ReceiptWrong(RunProblem):
    code = "exchange.run.receipt_wrong"


class ReceiptSignatureWrong(RunProblem):
    code = "exchange.run.signature_wrong"


class CountsDiffer(RunProblem):
    code = "exchange.run.counts_differ"


class ChunksMissing(RunProblem):
    code = "exchange.run.chunks_missing"
    retryable = True


class TargetChanged(RunProblem):
    """The task was given another target while the run was under way; a retry goes there."""

    code = "exchange.run.target_changed"
    retryable = True
