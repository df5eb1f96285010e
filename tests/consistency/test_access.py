"""Every address says who may enter, and only what must be public is."""

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from jinqiao.accounts.enums import Role

PUBLIC = {"home", "login", "language", "components"}
"""Pages that anybody may open. Whoever adds one adds it here, with a reason in the pull request."""

MACHINES = "api/"
"""The machine interface signs its calls; its own tests hold who may."""


def patterns(resolver=None, front=""):
    for entry in (resolver or get_resolver()).url_patterns:
        route = front + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, route)
        elif isinstance(entry, URLPattern):
            yield route, entry


PAGES = [(route, entry) for route, entry in patterns() if not route.startswith(MACHINES)]


@pytest.mark.parametrize(("route", "entry"), PAGES, ids=[route or "/" for route, _ in PAGES])
def test_every_page_declares_who_may_enter(route, entry):
    access = getattr(entry.callback, "access", None)

    assert access is not None, f"{route}: decorate the view with web.access.public, signed_in or post_required"
    assert access in ("public", "signed_in", "any_post") or (access and access <= set(Role))


def test_the_public_pages_are_the_ones_agreed():
    public = {entry.name for _route, entry in PAGES if entry.callback.access == "public"}

    assert public <= PUBLIC, f"public without agreement: {sorted(public - PUBLIC)}"


def test_every_page_has_a_name():
    assert [route for route, entry in PAGES if not entry.name] == []


def test_a_page_that_is_not_public_sends_strangers_to_sign_in(client, db):
    closed = [entry for route, entry in PAGES if entry.callback.access != "public" and "<" not in route]
    assert closed

    for route, entry in PAGES:
        if entry.callback.access == "public" or "<" in route:
            continue
        response = client.get(f"/{route}")
        assert response.status_code == 302, route
        assert response.url.startswith("/login"), route
