"""Errors of keys, sealed secrets and signatures. They say which key, never what was in it."""

from jinqiao.kernel.errors import InvalidInput, NotAllowed, Unavailable


class SignatureInvalid(NotAllowed):
    """A signature does not belong to these bytes and this key."""

    code = "crypto.signature.invalid"


class SealBroken(NotAllowed):
    """A sealed or encrypted text cannot be opened: another key, or it was altered."""

    code = "crypto.seal.broken"


class IdentityBroken(InvalidInput):
    """A public or private identity is not what it says it is."""

    code = "crypto.identity.broken"


class SuiteUnknown(InvalidInput):
    """No such suite of algorithms."""

    code = "crypto.suite.unknown"


class PublicKeyNotRead(InvalidInput):
    """Neither a PEM nor hex digits of a public key of this algorithm. Details: algorithm."""

    code = "crypto.public_key.not_read"


class Sm2NotThere(Unavailable):
    """Neither the linked OpenSSL nor gmssl can do SM2 on this machine."""

    code = "crypto.suite.not_there"
    retryable = False


class KeyFileExposed(NotAllowed):
    """The master key file may be read by others than its owner."""

    code = "crypto.key_file.exposed"


class KeyStoreBroken(Unavailable):
    """The key store cannot be opened with the master key that lies beside it."""

    code = "crypto.key_store.broken"
    retryable = False
