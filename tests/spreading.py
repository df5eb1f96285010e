"""How a run of several workers (`pytest -n`) shares out the tests: what stands on one costly thing stays with one worker.

pytest-xdist reads what belongs together from the address of a test alone; its `xdist_group` has no effect with pytest 9.2.
"""

from typing import Any

from xdist.scheduler import LoadScopeScheduling

_WHOLE_PLATFORMS = ("tests/browser/", "tests/demo/")  # a demo city each: one after the other, and built once
_ONE_BY_ONE = (  # long ones that share nothing, or a server that every worker has
    "tests/benchmarks/test_short_runs.py",
    "tests/dataplane/",
)
_TOGETHER = (  # but for what their module starts
    "tests/dataplane/client/",
    "tests/dataplane/connectors/test_tls.py",
    "tests/dataplane/gateway/test_attacks_on_the_wire.py",
)


def share_of(nodeid: str) -> str:
    """The name of what goes to one worker together with this test, to be done in one piece."""
    file = nodeid.partition("::")[0]
    if file.startswith(_WHOLE_PLATFORMS):
        return "platforms"
    if file.startswith(_ONE_BY_ONE) and not file.startswith(_TOGETHER):
        return nodeid
    return file  # with what its module has set up


def order_of(nodeid: str) -> int:
    """Sorts first what must be begun first, that the other workers need not wait for its end, and keeps one city's tests together."""
    return next((at for at, folder in enumerate(_WHOLE_PLATFORMS) if nodeid.startswith(folder)), len(_WHOLE_PLATFORMS))


class Spreading(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)


def scheduler(config: Any, log: Any) -> Spreading:
    config.option.loadscopereorder = False  # in the order of collection; many short tests are not a long one
    return Spreading(config, log)
