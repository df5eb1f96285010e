"""A case, a provider, the authority."""

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.trail import Subject
from tests import factories


@pytest.fixture
def case():
    return Subject("sharing.sharingrequest", "1", "申请1")


@pytest.fixture
def provider(db):
    return factories.make_post(Role.OPERATOR)


@pytest.fixture
def bureau(db):
    return factories.make_post(Role.BUREAU, factories.make_authority())
