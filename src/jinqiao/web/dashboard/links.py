"""From a figure to the list of what it counts. Where the post may not open the list, or it has not landed, the figure
stands without link."""

from dataclasses import dataclass
from urllib.parse import urlencode

from jinqiao.accounts.models import Organisation, Post
from jinqiao.web.navigation import may_enter, url_of


@dataclass(frozen=True, slots=True)
class Links:
    """`own` where the figures are those of the post's own organisation as provider."""

    post: Post
    own: bool = False

    def sources(self) -> str:
        return self._to("exchange:sources")

    def entries(self, organisation: Organisation | None = None) -> str:
        return self._to("catalogue:search", provider=organisation.pk if organisation else None)

    def requests(self, state: str = "", *, of: Organisation | None = None) -> str:
        named = of.name if of and not self.own else None
        return self._to("sharing:requests", side=self._side, state=state, q=named)

    def grants(self) -> str:
        return self._to("sharing:grants", side=self._side, state="active")

    def runs(self, state: str = "") -> str:
        return self._to("exchange:tasks", state=state)

    def calls(self) -> str:
        return self._to("exchange:calls")

    @property
    def _side(self) -> str:
        return "received" if self.own else "all"

    def _to(self, name: str, **filters: object) -> str:
        url = url_of(name)
        if not may_enter(url, self.post):
            return ""
        kept = {key: value for key, value in filters.items() if value not in (None, "")}
        return f"{url}?{urlencode(kept)}" if kept else url
