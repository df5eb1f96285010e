"""Cursors of lists: where a list goes on, encrypted and bound to the question, so that a cursor tells nothing, fits no other
question and cannot be made up.

The key derives from the city's key of persons, which every gateway of a service has, so that a list goes on at another replica;
without one, from the gateway's own secret.
"""

import base64
import binascii
import json
from typing import Any

from jinqiao.dataplane.gateway.errors import CursorNotValid
from jinqiao.dataplane.gateway.policy import Permission
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.crypto.suites import suite

_INFO = b"jinqiao list cursor v1"
_BLOCK = 64  # lengths of values do not show


class Cursors:
    """Cursors under one secret."""

    def __init__(self, suite_name: str, secret: bytes) -> None:
        self._suite = suite(suite_name)
        self._key = self._suite.derive(secret, salt=b"", info=_INFO, length=self._suite.key_bytes)

    def salt(self, permission: Permission) -> str:
        """What decides, for one service, in which order rows come that are alike (hex)."""
        service = permission.service
        name = f"{service.service}\x00{service.grant.grant_id}".encode()
        return self._suite.hmac(self._key, b"order\x00" + name)[:16].hex()

    def make(self, permission: Permission, scope: str, last: tuple[Any, ...], skip: int) -> str:
        """`scope`: environment and application."""
        data = json.dumps([list(last), skip], ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")
        padded = data + b" " * (-len(data) % _BLOCK)
        sealed = self._suite.encrypt(self._key, padded, self._question(permission, scope))
        return base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")

    def read(self, permission: Permission, scope: str) -> tuple[tuple[Any, ...], int]:
        """Values of the last row given, and how many rows alike to it were. Raises CursorNotValid."""
        text = permission.after
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            last, skip = json.loads(self._suite.decrypt(self._key, sealed, self._question(permission, scope)))
        except (SealBroken, binascii.Error, ValueError) as problem:
            raise CursorNotValid from problem
        return tuple(last), int(skip)

    def _question(self, permission: Permission, scope: str) -> bytes:
        service = permission.service
        return canonical_json(
            {
                "scope": scope,
                "service": service.service,
                "grant": service.grant.grant_id,
                "case": permission.case_number if service.case_column else "",
                "filter": [condition.to_json() for condition in permission.conditions],
                "key": permission.whole_order,
                "order": [[item.code, descending] for item, descending in permission.order],
            }
        )
