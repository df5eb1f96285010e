"""How a person is known at sign-in."""

from django.contrib.auth.backends import ModelBackend


class PersonBackend(ModelBackend):
    """Name and password."""
