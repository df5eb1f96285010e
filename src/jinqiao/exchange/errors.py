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


class NotYourRun(NotAllowed):
    """A node asks for, or brings, chunks of a run that is not its own."""

    code = "exchange.relay.not_yours"


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


class GatewayMissing(WrongState):
    code = "exchange.service.gateway_missing"


class ServiceStateWrong(WrongState):
    code = "exchange.service.state_wrong"


class KeyAlreadyRevoked(WrongState):
    code = "exchange.key.already_revoked"


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
