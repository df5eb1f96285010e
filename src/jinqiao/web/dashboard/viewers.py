"""Who sees the dashboard, and of what."""

from jinqiao.accounts.enums import Role
from jinqiao.kernel import moments
from jinqiao.web.access import PostHttpRequest
from jinqiao.web.dashboard import queries
from jinqiao.web.dashboard.queries import Scope

VIEWERS = (
    Role.LEADER,
    Role.BUREAU,
    Role.HEAD,
    Role.DEPARTMENT_ADMINISTRATOR,
    Role.AUDITOR,
    Role.APPROVER,
)

OWN_ONLY = frozenset({Role.HEAD, Role.DEPARTMENT_ADMINISTRATOR})
"""Who sees the figures of the own organisation as provider: the rows behind them are what they may open."""


def scope_of(request: PostHttpRequest) -> Scope:
    """As of today; the own organisation for who sees only that, else the region asked for."""
    if request.post.role in OWN_ONLY:
        return Scope(moments.today(), organisation=request.post.organisation)
    region = queries.regions().filter(code=request.GET.get("region", "")).first()
    return Scope(moments.today(), region)
