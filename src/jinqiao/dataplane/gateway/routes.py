"""Which service a path names, in which environment, and what is asked of it.

/gateway/v1/services/{service}/{operation}             the department's data
/gateway/sandbox/v1/services/{service}/{operation}     synthetic people
"""

import re
from dataclasses import dataclass

from jinqiao.kernel.contracts.policy import Environment, Operation

_PATH = re.compile(r"/gateway(?P<sandbox>/sandbox)?/v1/services/(?P<service>[^/?]+)/(?P<operation>[a-z]+)", re.ASCII)
_OPERATIONS = {operation.value: operation for operation in Operation}


@dataclass(frozen=True, slots=True)
class Route:
    environment: Environment
    service: str
    operation: Operation


def route_of(path: str) -> Route | None:
    """The route of a path as it was sent (not decoded); None where nothing of ours has this address."""
    match = _PATH.fullmatch(path)
    operation = _OPERATIONS.get(match["operation"]) if match else None
    if match is None or operation is None:
        return None
    environment = Environment.SANDBOX if match["sandbox"] else Environment.PRODUCTION
    return Route(environment, match["service"], operation)
