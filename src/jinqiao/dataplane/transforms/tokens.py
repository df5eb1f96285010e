"""Pseudonymous tokens: HMAC of the value under a key that only the provider's node has.

The same value gives the same token in every run and every item of the same scope: `consumer` (all grants of one consumer, so
that it can join what it was given) or `grant`. Tokens of two consumers cannot be joined: their keys differ, derived (HKDF,
RFC 5869) from the node's secret and the scope, and the scope's name comes from the grant, not from the parameters. Without the
secret nobody can try values out: identity numbers are few enough to be guessed through any digest without a key.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from jinqiao.dataplane.checks.rows import texts_from
from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.errors import TokenKeyMissing
from jinqiao.dataplane.staging.digests import canonical_column, logical_type
from jinqiao.dataplane.transforms.making import Asked, Made, Operation
from jinqiao.dataplane.transforms.texts import cleaned
from jinqiao.kernel.contracts.grants import GrantTerms
from jinqiao.kernel.contracts.tables import LogicalType
from jinqiao.kernel.crypto.suites import Suite, suite

SECRET_BYTES = 32
_INFO = "jinqiao token v1"
_DIGEST_BYTES = 32
_BASE32 = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", np.uint8)  # RFC 4648, 6
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
# characters: without a word, at least (so that ten million values do not meet), at most
_LENGTHS = {"base32": (26, 16, 51), "hex": (32, 20, 64)}


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """Keys of one grant's tokens. `secret` never leaves the node."""

    secret: bytes = field(repr=False)
    consumer: str
    grant_id: str
    suite_name: str

    def key(self, scope: str) -> bytes:
        """`scope`: consumer or grant. Raises TokenKeyMissing where the node has no whole secret."""
        if len(self.secret) < SECRET_BYTES:
            raise TokenKeyMissing
        name = {"consumer": self.consumer, "grant": self.grant_id}[scope]
        info = "\x1f".join((_INFO, scope, name)).encode("utf-8")
        return suite(self.suite_name).derive(self.secret, salt=b"", info=info, length=_DIGEST_BYTES)


def token_keys(secret: bytes, grant: GrantTerms, suite_name: str) -> TokenKeys:
    """Keys for the tokens of a grant, from the node's secret of 32 random octets."""
    return TokenKeys(secret=secret, consumer=grant.consumer, grant_id=grant.grant_id, suite_name=suite_name)


def token(asked: Asked, keys: TokenKeys | None) -> Operation:
    """Numbers and dates count by their canonical text: 5 in a column of numbers and in one of texts are the same value."""
    if keys is None:
        raise TokenKeyMissing
    form = asked.parameters.get("form", "base32")
    usual, least, most = _LENGTHS[form]
    size = int(asked.parameters.get("length", usual))
    if not least <= size <= most or (asked.item.length is not None and asked.item.length < size):
        raise asked.wrong("length")
    key, algorithms = keys.key(asked.parameters.get("scope", "consumer")), suite(keys.suite_name)
    clean = asked.flag("clean")

    def make(columns: Sequence[pa.Array], rows: int) -> Made:
        given, bad = _canonical(columns[0])
        if clean:
            given = cleaned(given, blanks=True, case="upper")
        encoded = given.dictionary_encode()
        digests = _digests(encoded.dictionary, key, algorithms)
        written = texts_from(_base32(digests, size) if form == "base32" else _hex(digests, size))
        return Made(written.take(encoded.indices), bad)

    return Operation((asked.parameters["column"],), make)


def _canonical(values: pa.Array) -> tuple[pa.Array, "np.ndarray[tuple[int], np.dtype[np.bool_]] | None"]:
    if pa.types.is_integer(values.type):
        values = values.cast(pa.int64())
    elif pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
    try:
        if logical_type(values.type) not in (LogicalType.TEXT, LogicalType.BINARY):
            return canonical_column(values), None
    except TypeError:
        pass
    fitted = fit(values, pa.string())
    return fitted.values, fitted.bad


def _digests(values: pa.Array, key: bytes, algorithms: Suite) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    """One row of 32 octets for each value. Values are different from one another: each is keyed once a batch."""
    octets = values.cast(pa.binary()).to_pylist()
    joined = b"".join(map(algorithms.keyed(key), octets))
    return np.frombuffer(joined, np.uint8).reshape(-1, _DIGEST_BYTES)


def _hex(
    digests: "np.ndarray[tuple[int, int], np.dtype[np.uint8]]", size: int
) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    halves = np.stack([digests >> 4, digests & 15], axis=2).reshape(len(digests), 2 * _DIGEST_BYTES)
    return _HEX[halves[:, :size]]


def _base32(
    digests: "np.ndarray[tuple[int, int], np.dtype[np.uint8]]", size: int
) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    bits = np.unpackbits(digests, axis=1)[:, : size * 5].reshape(len(digests), size, 5)
    return _BASE32[bits @ np.array([16, 8, 4, 2, 1], np.uint8)]
