"""Signing in and out, the password, the post one acts in, the language."""

from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login as open_session
from django.contrib.auth import logout as close_session
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.accounts import actions, queries
from jinqiao.accounts.errors import PasswordWeak, PasswordWrong
from jinqiao.accounts.models import Person, Post
from jinqiao.web.access import public, signed_in
from jinqiao.web.errors import LanguageUnknown, PostNotYours, SignInLocked, error_response, language
from jinqiao.web.navigation import first_page
from jinqiao.web.session.forms import LoginForm, PasswordForm


def safe_next(request: HttpRequest, fallback: str) -> str:
    """Where the caller asked to go on, if that is on this site; else the fallback."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    allowed = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if wanted and allowed else fallback


@public
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """Name and password; who is signed in already goes to the first page."""
    if request.user.is_authenticated and request.method == "GET":
        return HttpResponseRedirect(first_page(getattr(request, "post", None)))
    form = LoginForm(request, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and form.person is not None:
        person = form.person
        open_session(request, person, backend="jinqiao.accounts.backends.PersonBackend")
        post = queries.acting_post(person, None)
        target = reverse("password_change") if person.must_change_password else safe_next(request, first_page(post))
        return _remember_language(HttpResponseRedirect(target), person.language)
    status = 401 if form.is_bound and form.non_field_errors() else 200
    return render(
        request, "session/login.html", {"title": _("登录"), "form": form, "next": safe_next(request, "")}, status=status
    )


def locked_out(request: HttpRequest, *_arguments: Any, **_keywords: Any) -> HttpResponse:
    """What axes answers while a name is locked from an address (`AXES_LOCKOUT_CALLABLE`)."""
    if not hasattr(request, "user"):
        request.user = AnonymousUser()
    return error_response(request, SignInLocked(minutes=round(settings.AXES_COOLOFF_TIME * 60)))


@signed_in
@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    close_session(request)
    return HttpResponseRedirect(reverse("login"))


@signed_in
@never_cache
@sensitive_post_parameters("old", "new", "again")
@require_http_methods(["GET", "POST"])
def password_change(request: HttpRequest) -> HttpResponse:
    """The first password must be changed before anything else; later whenever one likes. This session goes on."""
    person = cast("Person", request.user)
    form = PasswordForm(person, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            changed = actions.change_password(person, old=form.cleaned_data["old"], new=form.cleaned_data["new"])
        except PasswordWrong as wrong:
            form.add_error("old", wrong.text(language()).message)
        except PasswordWeak as weak:
            form.add_error("new", weak.text(language()).message)
        else:
            update_session_auth_hash(request, changed)
            messages.success(request, _("口令已修改。其他设备上的登录已退出。"))
            return HttpResponseRedirect(first_page(getattr(request, "post", None)))
    values = {"title": _("修改口令"), "form": form, "is_first": person.must_change_password}
    return render(request, "session/password_change.html", values)


@signed_in
@require_POST
def switch_post(request: HttpRequest) -> HttpResponse:
    """Act in another of one's live posts; it begins at that post's first page."""
    person = cast("Person", request.user)
    wanted = request.POST.get("post", "")
    post: Post | None = None
    if wanted.isdecimal() and len(wanted) < 19:
        post = next((held for held in queries.live_posts(person) if held.pk == int(wanted)), None)
    if post is None:
        raise PostNotYours
    request.session["post_id"] = post.pk
    return HttpResponseRedirect(first_page(post))


@public
@require_POST
def choose_language(request: HttpRequest) -> HttpResponse:
    """Chinese or English, remembered by the browser and, when signed in, by the account."""
    wanted = request.POST.get("language", "")
    if wanted not in dict(settings.LANGUAGES):
        raise LanguageUnknown
    if isinstance(request.user, Person):
        actions.choose_language(request.user, wanted)
    return _remember_language(HttpResponseRedirect(safe_next(request, reverse("login"))), wanted)


def _remember_language(response: HttpResponse, code: str) -> HttpResponse:
    if code in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            code,
            max_age=365 * 24 * 3600,
            secure=settings.SESSION_COOKIE_SECURE,
            samesite="Lax",
            httponly=True,
        )
    return response
