"""Why a node does not do what it is told, or cannot start. Details name runs, nodes and grants."""

from datetime import datetime

from jinqiao.dataplane.errors import SpoolFull
from jinqiao.kernel.errors import InvalidInput, NotAllowed, NotFound, Unavailable, WrongState


class HomeInUse(WrongState):
    """Another process works in this home."""

    code = "node.home.in_use"


class HomeNotPrepared(InvalidInput):
    """The folder is no node's home, or lacks a file."""

    code = "node.home.not_prepared"


class CommandNotOfPlatform(NotAllowed):
    """The message bears no valid signature of the platform that this node knows."""

    code = "node.command.not_of_platform"


class CommandIncomplete(InvalidInput):
    """The command lacks what its kind needs, or its parts name different runs."""

    code = "node.command.incomplete"


class HomeNotWritable(Unavailable):
    """The ledger cannot be read or written (a full or failing disk); what was not written down is worked again at the next start."""

    code = "node.home.not_writable"


class OrderOfAnotherNode(NotAllowed):
    """The order names another provider's or consumer's node than this one."""

    code = "node.order.other_node"


class GrantNotLive(NotAllowed):
    """The grant of the order is not in force today, by this node's own clock."""

    code = "node.order.grant_not_live"


class SenderSignatureWrong(NotAllowed):
    """The receipt that came with the batch is not signed by the provider's node."""

    code = "node.receipt.sender_signature"


class ChunkDiffers(InvalidInput):
    """What the platform relayed is not what the manifest says. Asking again may help."""

    code = "node.chunk.differs"
    retryable = True


class SpoolBudgetReached(SpoolFull):
    """The staged chunks of this node take all that its configuration allows; details count bytes."""

    code = "node.spool.budget"


class StagedChunkBroken(InvalidInput):
    """A chunk that this node staged is no longer what it was; the run is extracted anew at the next attempt."""

    code = "node.chunk.staged_broken"
    retryable = True


class ManifestMissing(NotFound):
    """Nothing of this run is staged here any more."""

    code = "node.run.not_staged"


class QuarantineMissing(NotFound):
    """Nothing of this run was set aside here, or it is kept no longer."""

    code = "node.quarantine.missing"


class HomeCarried(WrongState):
    """This node has no network to its platform: it is worked by export and import of bundles."""

    code = "node.home.carried"


class HomeNotCarried(WrongState):
    """This node speaks with its platform by network; bundles would go past what it says there."""

    code = "node.home.not_carried"


class RotationPending(Unavailable):
    """The running process has been asked for a new key and has not got it from the platform yet; its log says why."""

    code = "node.rotation.pending"


class TransferRefused(NotAllowed):
    """A chunk that another node offers is not one that was ordered. Details: reason."""

    code = "node.transfer.refused"


class TransferUnknown(NotFound):
    """No transfer of this run was announced since this node started."""

    code = "node.transfer.unknown"


class NotYet(Exception):
    """A move has to wait: for its hours, or until somebody lets it go on. `until` is business time."""

    def __init__(self, until: datetime, waiting_for: str) -> None:
        super().__init__(waiting_for)
        self.until, self.waiting_for = until, waiting_for


class Closing(WrongState):
    """The process is told to end; the work stays in the ledger and goes on at the next start."""

    code = "node.process.closing"
    retryable = True


class AnchorNotOfGateway(NotAllowed):
    """An anchor that is to be countersigned was not signed by the gateway named. Details: key_id."""

    code = "node.witness.signature"


class AnchorContradicts(NotAllowed):
    """An anchor goes back behind, or contradicts, one of the same lane that this node has countersigned. Details: gateway, lane,
    batch, seen."""

    code = "node.witness.contradiction"
