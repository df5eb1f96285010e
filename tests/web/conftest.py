"""Entering the pages as somebody in a post."""

import pytest


@pytest.fixture
def enter(client):
    """Sign the test client in as a post's person, acting in that post; gives the client."""

    def enter_as(post):
        client.force_login(post.person, backend="jinqiao.accounts.backends.PersonBackend")
        session = client.session
        session["post_id"] = post.pk
        session.save()
        return client

    return enter_as
