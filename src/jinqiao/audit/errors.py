"""What can go wrong with the trail."""

from jinqiao.kernel.errors import WrongState


class TrailBroken(WrongState):
    """The head is not sealed again while the trail contradicts the earlier seal. Details: number, fault."""

    code = "audit.trail.broken"


class SealUnreadable(WrongState):
    """The sealed head was altered, or signed by another key."""

    code = "audit.seal.unreadable"
