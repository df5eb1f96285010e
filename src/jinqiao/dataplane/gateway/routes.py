"""Which service a path names, in which environment, and what is asked of it.

/gateway/v1/services/{service}/{operation}             the department's data
/gateway/sandbox/v1/services/{service}/{operation}     synthetic people
/gateway/sandbox/v1/services/{service}/examples        what to ask the sandbox
/gateway/httpproxy, /gateway/httpproxy/{operation}     the national convention: its headers name the service (`gateway.national`)
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from jinqiao.kernel.contracts.evidence import EXAMPLES
from jinqiao.kernel.contracts.policy import Environment, Operation

_PATH = re.compile(r"/gateway(?P<sandbox>/sandbox)?/v1/services/(?P<service>[^/?]+)/(?P<operation>[a-z]+)", re.ASCII)
_OPERATIONS = {operation.value: operation for operation in Operation}
_NATIONAL = re.compile(r"/gateway/httpproxy(?:/(?P<operation>[a-z]+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Route:
    """`operation` is None where the examples of a sandbox are asked for."""

    environment: Environment
    service: str
    operation: Operation | None
    is_national: bool = False

    @property
    def method(self) -> str:
        return "GET" if self.operation is None else "POST"


@lru_cache(1_000)
def route_of(path: str) -> Route | None:
    """The route of a path as it was sent (not decoded); None where nothing of ours has this address."""
    match = _PATH.fullmatch(path)
    if match is None:
        return _national_route(path)
    environment = Environment.SANDBOX if match["sandbox"] else Environment.PRODUCTION
    operation = _OPERATIONS.get(match["operation"])
    if operation is None and not (environment is Environment.SANDBOX and match["operation"] == EXAMPLES):
        return None
    return Route(environment, match["service"], operation)


def _national_route(path: str) -> Route | None:
    match = _NATIONAL.fullmatch(path)
    operation = _OPERATIONS.get(match["operation"] or Operation.QUERY.value) if match else None
    return Route(Environment.PRODUCTION, "", operation, is_national=True) if operation is not None else None
