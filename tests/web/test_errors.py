"""How errors reach a reader."""

import json
import logging
import re

import pytest
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client, RequestFactory
from django.urls import reverse
from django_htmx.middleware import HtmxDetails

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.kernel.errors import JinqiaoError, NotAllowed, Unavailable, WrongState
from jinqiao.web.errors import ErrorPagesMiddleware
from tests.factories import make_post

pytestmark = pytest.mark.django_db


@pytest.fixture
def answer(rf: RequestFactory):
    """What the middleware answers to an exception of a view that somebody in `post` called."""

    def answer_to(exception, *, post=None, **headers):
        request = rf.get("/somewhere", headers=headers)
        request.htmx = HtmxDetails(request)
        request.session = {}
        request._messages = FallbackStorage(request)
        request.resolver_match = None
        if post is not None:
            request.user, request.post = post.person, post
        with pytest.raises(type(exception)) as raised:
            raise exception
        return ErrorPagesMiddleware(lambda _: None).process_exception(request, raised.value)

    return answer_to


@pytest.mark.parametrize(
    ("exception", "status"),
    [(NotAllowed(), 403), (WrongState(), 409), (Unavailable(), 503), (Http404(), 404), (PermissionDenied(), 403)],
)
def test_a_page_carries_the_status_the_words_and_a_number(answer, exception, status):
    response = answer(exception)

    page = response.content.decode()
    assert response.status_code == status
    assert "编号" in page
    assert "</html>" in page


def test_a_fragment_is_answered_to_htmx(answer):
    page = answer(WrongState(), **{"HX-Request": "true"}).content.decode()

    assert "</html>" not in page
    assert "当前状态下不能这样办理" in page


def test_a_machine_gets_problem_details(answer):
    response = answer(WrongState(clause="条例第二十一条"), accept="application/json")

    assert response.headers["Content-Type"] == "application/problem+json"
    body = json.loads(response.content)
    assert body["code"] == "state.not_possible"
    assert body["status"] == 409
    assert body["clause"] == "条例第二十一条"
    assert body["retryable"] is False


def test_a_refusal_of_somebody_signed_in_is_recorded(answer):
    post = make_post(Role.OPERATOR)

    answer(NotAllowed(), post=post)

    event = AuditEvent.objects.get(action="access.page.refuse")
    assert event.outcome == Outcome.REFUSED
    assert event.actor_id == str(post.person_id)
    assert event.organisation_id == str(post.organisation_id)


def test_a_refusal_of_a_stranger_is_not_recorded(answer):
    answer(NotAllowed())

    assert not AuditEvent.objects.filter(action="access.page.refuse").exists()


def test_other_errors_are_not_refusals(answer):
    answer(WrongState(), post=make_post(Role.OPERATOR))

    assert not AuditEvent.objects.filter(action="access.page.refuse").exists()


@pytest.mark.parametrize("exception", [ValueError("身份证 620302199001011234"), JinqiaoError()])
def test_an_unexpected_error_shows_and_logs_a_number_and_no_values(answer, caplog, exception):
    with caplog.at_level(logging.ERROR, logger="jinqiao.web.errors"):
        response = answer(exception)

    page = response.content.decode()
    number = re.search(r"编号([0-9A-F]{8})", page).group(1)
    assert response.status_code == 500
    assert "620302199001011234" not in page + caplog.text
    assert number in caplog.text
    assert type(exception).__name__ in caplog.text


def test_an_unknown_address_has_a_page_of_ours(enter):
    response = enter(make_post(Role.OPERATOR)).get("/nowhere")

    assert response.status_code == 404
    assert "没有这个页面" in response.content.decode()


def test_a_form_without_its_secret_is_not_taken():
    response = Client(enforce_csrf_checks=True).post(reverse("login"), {"username": "a", "password": "b"})

    assert response.status_code == 403
    assert "表单已经失效" in response.content.decode()


def test_a_role_that_may_not_enter_is_refused_and_recorded(enter):
    post = make_post(Role.COUNTER)

    response = enter(post).get(reverse("dashboard"))

    assert response.status_code == 403
    assert AuditEvent.objects.get(action="access.page.refuse").details["page"] == "dashboard"
