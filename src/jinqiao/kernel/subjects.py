"""Commitments of persons: the same number gives the same text everywhere in a city, and nobody without its key can try out numbers.

    "key id:hex"    keyed digest (HMAC of the key's algorithm) of the canonical identity number

Gateways compute them into the records of calls; the control plane computes them to find the calls about a person.
"""

import unicodedata
from collections.abc import Callable

from jinqiao.kernel.identifiers.resident_id import check_sign

_OLD_DIGITS = 15


def canonical_number(text: str) -> str:
    """An identity number as it is committed to: ASCII signs without blanks, upper case; fifteen digits of before 1999 become
    the eighteen that follow from them (GB 11643-1999). Anything else stays what it is, so that it still is itself."""
    number = "".join(unicodedata.normalize("NFKC", text).split()).upper()
    if len(number) == _OLD_DIGITS and number.isascii() and number.isdigit():
        seventeen = f"{number[:6]}19{number[6:]}"
        return seventeen + check_sign(seventeen)
    return number


def commitment(key_id: str, digest: Callable[[bytes], bytes], text: str) -> str:
    """`digest` is the keyed digest under the key of that id."""
    return f"{key_id}:{digest(canonical_number(text).encode('utf-8', 'surrogatepass')).hex()}"
