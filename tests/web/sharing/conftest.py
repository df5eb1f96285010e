"""Browsers of people signed in to their posts."""

import pytest
from django.test import Client

from tests.sharing.factories import make_parties

BACKEND = "jinqiao.accounts.backends.PersonBackend"


@pytest.fixture
def parties(db):
    return make_parties()


@pytest.fixture
def browser():
    """A client of whoever holds the post, acting in it."""

    def signed_in(post):
        client = Client()
        client.force_login(post.person, backend=BACKEND)
        session = client.session
        session["post_id"] = post.pk
        session.save()
        return client

    return signed_in
