"""Every address says who may enter, and only what must be public is."""

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from jinqiao.accounts.enums import Role

PUBLIC = {"home", "login", "language", "components", "catalogue:search", "catalogue:entry"}
"""Pages that anybody may open; of the catalogue they show strangers only what is open to society, and the components stand
only in the demo city. Whoever adds a page adds it here, with a reason in the pull request."""

MACHINES = "api/"
"""The machine interface signs its calls; its own tests hold who may."""


def patterns(resolver=None, front="", space=""):
    """Route, whole name and pattern of every address."""
    for entry in (resolver or get_resolver()).url_patterns:
        route = front + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, route, f"{space}{entry.namespace}:" if entry.namespace else space)
        elif isinstance(entry, URLPattern):
            yield route, space + (entry.name or ""), entry


PAGES = [page for page in patterns() if not page[0].startswith(MACHINES)]


@pytest.mark.parametrize(("route", "name", "entry"), PAGES, ids=[route or "/" for route, _, _ in PAGES])
def test_every_page_declares_who_may_enter(route, name, entry):
    access = getattr(entry.callback, "access", None)

    assert access is not None, f"{route}: decorate the view with web.access.public, signed_in or post_required"
    assert access in ("public", "signed_in", "any_post") or (access and access <= set(Role))


def test_the_public_pages_are_the_ones_agreed():
    public = {name for _route, name, entry in PAGES if entry.callback.access == "public"}

    assert public <= PUBLIC, f"public without agreement: {sorted(public - PUBLIC)}"


def test_every_page_has_a_name():
    assert [route for route, _name, entry in PAGES if not entry.name] == []


def test_a_page_that_is_not_public_sends_strangers_to_sign_in(client, db):
    closed = [route for route, _, entry in PAGES if entry.callback.access != "public" and not set("<(") & set(route)]
    assert len(closed) > 20

    for route in closed:
        response = client.get(f"/{route}")
        assert response.status_code == 302, route
        assert response.url.startswith("/login"), route
