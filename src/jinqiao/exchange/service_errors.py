"""Why settings of a query service, keys of its callers or a try in the sandbox are refused."""

from jinqiao.kernel.errors import InvalidInput, Unavailable


class NoOperationOffered(InvalidInput):
    """A service that answers nothing is suspended, not emptied."""

    code = "exchange.service.no_operation"


class FilterItemNotOpen(InvalidInput):
    """Filters tell about values: only items that the consumer sees unmasked anyway. Details: item."""

    code = "exchange.service.filter_item"


class CaseItemNotBound(InvalidInput):
    """Details: item."""

    code = "exchange.service.case_item"


class RoleMaskWrong(InvalidInput):
    """Details: item, role."""

    code = "exchange.service.role_mask"


class HoursWrong(InvalidInput):
    """Details: first, last."""

    code = "exchange.service.hours"


class VersionGoesBack(InvalidInput):
    """Details: version."""

    code = "exchange.service.version_back"


class NationalIdTaken(InvalidInput):
    """Another service has it: the gateway could not tell which of the two is meant. Details: national_id."""

    code = "exchange.service.national_id_taken"


class EndTooSoon(InvalidInput):
    """Callers need time to move. Details: earliest."""

    code = "exchange.service.end_too_soon"


class SuccessorWrong(InvalidInput):
    """Not a service of the same consumer, or the service itself. Details: service."""

    code = "exchange.service.successor"


class KeyAlgorithmWrong(InvalidInput):
    """Details: algorithm."""

    code = "exchange.key.algorithm"


class ChallengeNotGood(InvalidInput):
    """Not made by this platform, for another application, or older than an hour."""

    code = "exchange.key.challenge"


class PossessionNotProved(InvalidInput):
    """The signature over the challenge is not by the private half of this public key."""

    code = "exchange.key.possession"


class PublicKeyUsed(InvalidInput):
    """Another key that is in use has this public key: then nobody could say which of the two called."""

    code = "exchange.key.public_key_used"


class OverlapWrong(InvalidInput):
    """The end of a key in a rotation: not past, not after its own last day. Details: latest."""

    code = "exchange.key.overlap"


class SandboxNotReached(Unavailable):
    """Details: host, reason."""

    code = "exchange.service.sandbox_not_reached"
