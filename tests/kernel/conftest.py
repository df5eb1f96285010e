"""Real material lies outside the project; tests that read it say so where it is absent."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def material() -> Path:
    """The folder named by JINQIAO_MATERIAL, laid out as its own README says."""
    folder = os.environ.get("JINQIAO_MATERIAL", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("JINQIAO_MATERIAL names no folder: tests on real material are left out")
    return Path(folder)
