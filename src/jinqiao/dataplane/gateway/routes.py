"""Which service a path names, in which environment, and what is asked of it.

/gateway/v1/services/{service}/{operation}             the department's data
/gateway/sandbox/v1/services/{service}/{operation}     synthetic people
/gateway/sandbox/v1/services/{service}/examples        what to ask the sandbox
/gateway/httpproxy, /gateway/httpproxy/{operation}     the national convention: its headers name the service (`gateway.national`)
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from jinqiao.kernel.contracts.evidence import EXAMPLES
from jinqiao.kernel.contracts.policy import Environment, Operation

_PATH = re.compile(r"/gateway(?P<sandbox>/sandbox)?/v1/services/(?P<service>[^/?]+)/(?P<operation>[a-z]+)", re.ASCII)
_OPERATIONS = {operation.value: operation for operation in Operation}
SPEAKING_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,59}", re.ASCII)
"""What may stand in a record as a name that a caller gave: a number in its place could be a person's."""
_NATIONAL = re.compile(r"/gateway/httpproxy(?:/(?P<operation>[a-z]+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Route:
    """`operation` is None where the examples of a sandbox are asked for.

    Worked out once for every call of this route: the HTTP `method`, and what stands in the record, `recorded_environment`,
    `recorded_operation` and `recorded_service` (empty where the service's name does not speak).
    """

    environment: Environment
    service: str
    operation: Operation | None
    is_national: bool = False
    method: str = field(init=False)
    recorded_environment: str = field(init=False)
    recorded_operation: str = field(init=False)
    recorded_service: str = field(init=False)

    def __post_init__(self) -> None:
        operation = self.operation
        for name, value in (
            ("method", "GET" if operation is None else "POST"),
            ("recorded_environment", self.environment.value),
            ("recorded_operation", EXAMPLES if operation is None else operation.value),
            ("recorded_service", self.service if SPEAKING_NAME.fullmatch(self.service) else ""),
        ):
            object.__setattr__(self, name, value)


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
