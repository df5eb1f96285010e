"""Who may enter a page. Deny by default: a view without one of these decorators fails the sweep in tests/consistency.

A view decorated with `post_required` gets `request.post`, the post that the person acts in. Finer rules (this request, that
entry) stand in the packages' `rules.py` and are asked by queries and actions, not here.
"""

import functools
from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from jinqiao.accounts import queries
from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Person, Post
from jinqiao.audit.address import client_address
from jinqiao.audit.trail import client_address as address_in_trail
from jinqiao.kernel.errors import NotAllowed
from jinqiao.web.errors import NoLivePost

View = Callable[..., HttpResponse]

BUSINESS_ROLES: frozenset[Role] = frozenset(
    {Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.HEAD, Role.BUREAU, Role.COUNTY_CLERK}
)
"""Roles that work on catalogue, requests and movement."""

READERS: frozenset[Role] = BUSINESS_ROLES | {Role.LEADER, Role.AUDITOR, Role.DEVELOPER, Role.APPROVER, Role.COUNTER}


class PostHttpRequest(HttpRequest):
    """What a view behind `post_required` receives (for the type checker; the middleware sets `post`)."""

    post: Post
    user: Person


class PostMiddleware:
    """Puts the chosen post on the request (`request.post`, None where nobody is signed in or no post is live)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        post: Post | None = None
        if request.user.is_authenticated:
            post = queries.acting_post(request.user, request.session.get("post_id"))
        request.post = post  # type: ignore[attr-defined]
        token = address_in_trail.set(client_address(request))
        try:
            return self.get_response(request)
        finally:
            address_in_trail.reset(token)


def public(view: View) -> View:
    """Anybody may enter, signed in or not."""
    wrapped = login_not_required(view)
    wrapped.access = "public"  # type: ignore[attr-defined]
    return wrapped


def signed_in(view: View) -> View:
    """Whoever is signed in, with or without a live post (password change, post switch, sign out)."""
    view.access = "signed_in"  # type: ignore[attr-defined]
    return view


def post_required(*roles: Role) -> Callable[[View], View]:
    """Only who acts in one of `roles`; without roles, in any live post. Who must change the password is sent there first."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(request: HttpRequest, *arguments: Any, **keywords: Any) -> HttpResponse:
            person = request.user
            if isinstance(person, Person) and person.must_change_password:
                return HttpResponseRedirect(reverse("password_change"))
            post: Post | None = getattr(request, "post", None)
            if post is None:
                raise NoLivePost
            if roles and post.role not in roles:
                raise NotAllowed
            return view(request, *arguments, **keywords)

        guarded.access = frozenset(roles) or "any_post"  # type: ignore[attr-defined]
        return guarded

    return decorate
