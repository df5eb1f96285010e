"""Browsers of people in posts."""

import pytest
from django.test import Client

from jinqiao.accounts.enums import Role
from tests import factories


def sign_in(post):
    client = Client()
    client.force_login(post.person, backend="jinqiao.accounts.backends.PersonBackend")
    session = client.session
    session["post_id"] = post.pk
    session.save()
    client.post_in = post
    return client


@pytest.fixture
def browse(db):
    """A signed-in browser of whoever acts in a post, or of a new person in a role (the bureau's is the authority's)."""

    def browse_as(post_or_role):
        if isinstance(post_or_role, Role):
            body = factories.make_authority() if post_or_role is Role.BUREAU else None
            return sign_in(factories.make_post(post_or_role, body))
        return sign_in(post_or_role)

    return browse_as
