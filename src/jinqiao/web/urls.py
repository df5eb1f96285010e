"""Addresses of the pages. Each area brings its own; an area that has none yet is left out."""

from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, include, path

AREAS: dict[str, str] = {
    "session": "",
    "desk": "",
    "dashboard": "",
    "developer": "",
    "accounts": "admin/",
    "catalogue": "catalogue/",
    "sharing": "sharing/",
    "exchange": "exchange/",
    "audit": "audit/",
}
"""Areas by the front of their addresses."""


def _patterns() -> list[URLPattern | URLResolver]:
    found: list[URLPattern | URLResolver] = []
    for area, front in AREAS.items():
        package = f"jinqiao.web.{area}"
        if find_spec(package) is not None and find_spec(f"{package}.urls") is not None:
            found.append(path(front, include(f"{package}.urls")))
    return found


urlpatterns = _patterns()
