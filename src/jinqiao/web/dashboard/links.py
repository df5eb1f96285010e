"""From a figure to the rows that it counts."""

from urllib.parse import urlencode

from django.urls import reverse

from jinqiao.accounts.models import Organisation
from jinqiao.web.dashboard.queries import Scope


def rows(scope: Scope, figure: str, *, state: str = "", of: Organisation | None = None) -> str:
    """The list of a figure, in the same scope, narrowed by state or department."""
    filters = {"region": scope.region.code if scope.region else "", "state": state, "department": of.pk if of else ""}
    kept = {name: value for name, value in filters.items() if value}
    url = reverse("dashboard_rows", args=[figure])
    return f"{url}?{urlencode(kept)}" if kept else url
