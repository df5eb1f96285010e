"""Which service a path names, in which environment, and what is asked of it.

/gateway/v1/services/{service}/{operation}             the department's data
/gateway/sandbox/v1/services/{service}/{operation}     synthetic people
/gateway/sandbox/v1/services/{service}/examples        what to ask the sandbox
"""

import re
from dataclasses import dataclass

from jinqiao.kernel.contracts.policy import Environment, Operation

_PATH = re.compile(r"/gateway(?P<sandbox>/sandbox)?/v1/services/(?P<service>[^/?]+)/(?P<operation>[a-z]+)", re.ASCII)
_OPERATIONS = {operation.value: operation for operation in Operation}
EXAMPLES = "examples"


@dataclass(frozen=True, slots=True)
class Route:
    """`operation` is None where the examples of a sandbox are asked for."""

    environment: Environment
    service: str
    operation: Operation | None

    @property
    def method(self) -> str:
        return "GET" if self.operation is None else "POST"


def route_of(path: str) -> Route | None:
    """The route of a path as it was sent (not decoded); None where nothing of ours has this address."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    environment = Environment.SANDBOX if match["sandbox"] else Environment.PRODUCTION
    operation = _OPERATIONS.get(match["operation"])
    if operation is None and not (environment is Environment.SANDBOX and match["operation"] == EXAMPLES):
        return None
    return Route(environment, match["service"], operation)
