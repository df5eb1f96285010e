"""What stands around every page: masthead, navigation, post switch, language, the line of the demo city."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import get_language, gettext

from jinqiao.accounts import queries
from jinqiao.accounts.models import Person, Post
from jinqiao.kernel import moments
from jinqiao.web import navigation
from jinqiao.web.components import Crumb
from jinqiao.web.desk.counts import Waiting, waiting_for


@dataclass
class Shell:
    """Computed only as far as a template asks: fragments pay for nothing."""

    request: HttpRequest

    @cached_property
    def person(self) -> Person | None:
        user: Person | AnonymousUser | None = getattr(self.request, "user", None)
        return user if isinstance(user, Person) else None

    @cached_property
    def post(self) -> Post | None:
        post: Post | None = getattr(self.request, "post", None)
        return post

    @cached_property
    def posts(self) -> list[Post]:
        return list(queries.live_posts(self.person)) if self.person else []

    @cached_property
    def groups(self) -> tuple[navigation.LinkGroup, ...]:
        return navigation.groups_for(self.post, self.request.resolver_match) if self.person else ()

    @cached_property
    def waiting(self) -> Waiting:
        return waiting_for(self.post)

    @property
    def here(self) -> str:
        """The name of the page in the folded menu."""
        item = navigation.current_item(self.request.resolver_match)
        return str(item.label) if item else gettext("全部")

    @cached_property
    def crumbs(self) -> tuple[Crumb, ...]:
        """Group and item above a page that is not itself an item of the navigation."""
        match = self.request.resolver_match
        item = navigation.current_item(match)
        if item is None or match is None or match.view_name == item.name:
            return ()
        return (Crumb(navigation.group_of(item).label), Crumb(item.label, navigation.url_of(item.name)))

    @property
    def home(self) -> str:
        return navigation.first_page(self.post) if self.person else reverse("login")

    @property
    def search_url(self) -> str:
        url = navigation.url_of("catalogue:search")
        return url if navigation.may_enter(url, self.post) else ""

    @property
    def site_name(self) -> str:
        return settings.SITE_NAME

    @property
    def is_demo(self) -> bool:
        return settings.IS_DEMO

    @property
    def is_english(self) -> bool:
        return (get_language() or "").startswith("en")

    @property
    def html_language(self) -> str:
        return "en" if self.is_english else "zh-CN"

    @property
    def today(self) -> date:
        return moments.today()

    @property
    def now(self) -> datetime:
        return moments.now()

    @property
    def address(self) -> str:
        """Where to come back to after a change of language."""
        return self.request.get_full_path() if self.request.method == "GET" else self.home


def context(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `shell` in every template."""
    return {"shell": Shell(request)}
