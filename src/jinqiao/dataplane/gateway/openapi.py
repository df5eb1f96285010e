"""The OpenAPI document of the application that asks: made from the policy in force, kept as long as that policy is."""

import orjson

from jinqiao.dataplane.gateway.snapshot import PolicyView
from jinqiao.kernel.contracts.policy import ApplicationPolicy
from jinqiao.kernel.errors import Language
from jinqiao.kernel.openapi import document

PATH = "/gateway/v1/openapi.json"
MOST_KEPT = 500


class Documents:
    """Addresses in it are relative to the document's own, so that it is right behind any proxy."""

    def __init__(self) -> None:
        self._version = -1
        self._kept: dict[tuple[str, Language], bytes] = {}

    def body(self, view: PolicyView, application: ApplicationPolicy, language: Language) -> bytes:
        if view.version != self._version or len(self._kept) >= MOST_KEPT:
            self._kept.clear()
            self._version = view.version
        key = (application.application_id, language)
        body = self._kept.get(key)
        if body is None:
            made = document(application, tuple(view.services.values()), root="", language=language)
            body = self._kept[key] = orjson.dumps(made)
        return body
