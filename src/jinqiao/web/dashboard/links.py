"""From a figure to the list of what it counts. A list whose page has not landed gives "" and the figure stands without link."""

from urllib.parse import urlencode

from jinqiao.accounts.models import Organisation
from jinqiao.web.navigation import url_of


def _with(name: str, **filters: object) -> str:
    url = url_of(name)
    kept = {key: value for key, value in filters.items() if value not in (None, "")}
    return f"{url}?{urlencode(kept)}" if url and kept else url


def sources() -> str:
    return _with("exchange:sources")


def entries(organisation: Organisation | None = None) -> str:
    return _with("catalogue:search", provider=organisation.pk if organisation else None)


def requests(state: str = "") -> str:
    return _with("sharing:requests", state=state)


def requests_to(organisation: Organisation) -> str:
    return _with("sharing:requests", provider=organisation.pk)


def grants(*, unused: bool = False) -> str:
    return _with("sharing:grants", unused="30" if unused else None)


def runs(state: str = "") -> str:
    return _with("exchange:tasks", state=state)


def calls() -> str:
    return _with("exchange:calls")
