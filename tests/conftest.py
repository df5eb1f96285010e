"""What every test has: the English catalogue compiled, the shared material found, and no way out of the machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import translation
from pytest_socket import socket_allow_hosts

from jinqiao.config import messages


def pytest_configure(config: pytest.Config) -> None:
    from tests import settings

    messages.compile_catalogue(settings.LOCALE_PATHS[0])


@pytest.fixture(autouse=True)
def _only_this_machine() -> None:
    """Nothing is fetched: a test that reaches for another machine fails."""
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _own_language() -> Iterator[None]:
    """Django leaves the language of the last request in force: no test says by that what the next one reads."""
    yield
    translation.deactivate()


@pytest.fixture(scope="session")
def material() -> Path:
    """The folder of published vectors and real forms, named by JINQIAO_MATERIAL; without it the test skips and says so."""
    folder = os.environ.get("JINQIAO_MATERIAL", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("JINQIAO_MATERIAL names no folder of test material")
    return Path(folder)
