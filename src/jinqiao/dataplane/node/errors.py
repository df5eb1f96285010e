"""Why a node does not do what it is told, or cannot start. Details name runs, nodes and grants."""

from jinqiao.kernel.errors import InvalidInput, NotAllowed, Unavailable, WrongState


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


class Closing(WrongState):
    """The process is told to end; the work stays in the ledger and goes on at the next start."""

    code = "node.process.closing"
    retryable = True
