import pytest

from tests.catalogue.factories import Cast, make_cast


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast("金昌市市场监督管理局")
