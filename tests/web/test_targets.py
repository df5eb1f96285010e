"""From a to-do to the page where it is acted on."""

import pytest
from django.template import engines
from django.test import RequestFactory
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.kernel import moments
from jinqiao.web import targets
from jinqiao.workflow.models import ToDo


def test_a_thing_leads_to_its_page():
    assert targets.target_url("sharing.sharingrequest", "7") == reverse("sharing:request", args=[7])


def test_some_kinds_of_to_do_lead_straight_to_the_act():
    assert targets.target_url("sharing.sharingrequest", "7", "sharing.request.reply") == reverse(
        "sharing:decide", args=[7]
    )
    assert targets.target_url("catalogue.entryversion", "7", "catalogue.returned") == reverse(
        "catalogue:edit", args=[7]
    )


def test_a_thing_without_a_page_leads_nowhere():
    assert targets.target_url("moon.crater", "7") == ""
    assert str(targets.heading_of("moon.crater")) == "其他"


def test_an_id_that_the_address_cannot_hold_leads_nowhere():
    assert targets.target_url("sharing.sharingrequest", "x y") == ""


@pytest.mark.parametrize(("done", "name"), [(False, "sharing:decide"), (True, "sharing:request")])
def test_a_to_do_that_is_done_leads_to_the_thing_and_not_to_the_act(done, name):
    todo = ToDo(kind="sharing.request.reply", about_type="sharing.sharingrequest", about_id="7")
    todo.done_at = moments.now() if done else None

    assert drawn("{% todo_url todo %}", Role.OPERATOR, todo=todo) == reverse(name, args=[7])


def test_a_page_that_is_not_for_this_post_is_not_linked():
    source = "{% about_url 'accounts.person' '7' %}"

    assert drawn(source, Role.SYSTEM_ADMINISTRATOR) == reverse("accounts:person", args=[7])
    assert drawn(source, Role.COUNTER) == ""


def drawn(source, role, **values):
    request = RequestFactory().get("/")
    request.post = Post(role=role)
    return engines["django"].from_string(source).render({"request": request, **values})
