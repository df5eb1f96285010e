"""The two departments that most tests of sharing are about."""

import pytest

from tests.sharing.factories import Parties, make_parties


@pytest.fixture
def parties(db: None) -> Parties:
    return make_parties()
