"""What is written down of a run: one line of JSON behind its own digest, so that what the disk has changed is not believed."""

import hashlib
import json
from typing import Any

_DIGITS = 32  # hexadecimal, of SHA-256


def record(value: Any) -> bytes:
    """One line: the digest of the JSON, a blank, the JSON."""
    text = json.dumps(value, ensure_ascii=False).encode()
    return _digest(text) + b" " + text + b"\n"


def value_of(line: bytes) -> Any:
    """The JSON of a record, None where it is not as it was written."""
    digest, _, text = line.rstrip(b"\n").partition(b" ")
    return json.loads(text) if digest == _digest(text) else None


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_DIGITS].encode()
