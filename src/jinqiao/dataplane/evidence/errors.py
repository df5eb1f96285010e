"""What can go wrong with the record of calls."""

from jinqiao.kernel.errors import Unavailable, WrongState


class EvidenceUnavailable(Unavailable):
    """A record could not be made durable: the call must not be answered."""

    code = "evidence.log.unavailable"


class ClaimsUnavailable(EvidenceUnavailable):
    """What the replicas of a gateway share is not reached: nobody can tell that a call is no replay, so it is not answered."""

    code = "evidence.claims.unavailable"


class EvidenceBroken(WrongState):
    """The log does not verify: it was changed, or its disk lost something. Details: place, reason."""

    code = "evidence.chain.broken"


class TokenTaken(WrongState):
    """Another process has recorded this token before: the record was not made."""

    code = "evidence.token.taken"


class BatchesMissingThere(WrongState):
    """The centre lacks earlier batches (it was restored from a backup): shipping goes on from `expected`. Details: expected."""

    code = "evidence.shipping.gap"

    def __init__(self, *, expected: int) -> None:
        super().__init__(expected=expected)
        self.expected = expected
