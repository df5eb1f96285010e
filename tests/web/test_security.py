"""The policy of the browser, and that no page needs what it forbids."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.web.security import POLICY
from tests.factories import make_post

TEMPLATES = Path(settings.PACKAGE) / "web" / "templates"
FILES = sorted(TEMPLATES.rglob("*.html"))
INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", re.IGNORECASE)
STYLE_ELEMENT = re.compile(r"<style\b", re.IGNORECASE)
STYLE_ATTRIBUTE = re.compile(r"<[^>]*\sstyle\s*=", re.IGNORECASE)
EVENT_ATTRIBUTE = re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE)
ELSEWHERE = re.compile(r"""(?:src|href|action)=["'](?:https?:)?//""", re.IGNORECASE)


def faults(html):
    checks = (INLINE_SCRIPT, STYLE_ELEMENT, STYLE_ATTRIBUTE, EVENT_ATTRIBUTE, ELSEWHERE)
    return [found.group(0)[:120] for check in checks for found in check.finditer(html)]


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(TEMPLATES)) for file in FILES])
def test_a_template_has_nothing_inline_and_nothing_from_elsewhere(file):
    assert faults(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        "<style>p{}</style>",
        '<p style="color:red">',
        '<button onclick="go()">',
        '<img src="https://elsewhere.example/a.png">',
    ],
)
def test_the_check_of_templates_can_fail(html):
    assert faults(html)


def test_the_policy_allows_nothing_inline():
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/login", "/nowhere", "/desk"])
def test_every_answer_carries_the_policy(client, address):
    assert client.get(address).headers["Content-Security-Policy"] == POLICY


@pytest.mark.django_db
def test_pages_with_people_signed_in_are_kept_by_no_shared_cache(enter):
    response = enter(make_post(Role.OPERATOR)).get(reverse("desk"))

    assert "private" in response.headers["Cache-Control"]
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["desk", "desk_done", "password_change", "dashboard", "components"])
def test_a_rendered_page_has_nothing_inline(enter, settings, name):
    settings.IS_DEMO = True

    page = enter(make_post(Role.BUREAU)).get(reverse(name)).content.decode()

    assert "</html>" in page
    assert faults(page) == []
