"""A department's cast, each in a browser of their own."""

import pytest
from django.test import Client

from tests.catalogue.factories import make_cast, make_node

BACKEND = "jinqiao.accounts.backends.PersonBackend"


@pytest.fixture
def cast(db):
    make_node()
    return make_cast("金昌市市场监督管理局")


@pytest.fixture(autouse=True)
def _files_elsewhere(tmp_path, settings):
    settings.MEDIA_ROOT = tmp_path


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
