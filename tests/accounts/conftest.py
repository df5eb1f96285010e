"""Signing in as a browser does."""

import pytest
from django.contrib.auth import authenticate
from django.test import RequestFactory


@pytest.fixture
def sign_in():
    """Name and password to the person that the configured backends find, or None."""

    def sign_in_with(username, password):
        return authenticate(RequestFactory().post("/"), username=username, password=password)

    return sign_in_with
