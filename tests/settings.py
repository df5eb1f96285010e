"""Settings of the suite: fast password hashes, a home of its own, PostgreSQL where TEST_DATABASE_URL says so."""

import os
from pathlib import Path

from tests import leftovers

if "JINQIAO_TEST_HOME" not in os.environ:  # the workers of a run find the home that its first process has made
    os.environ["JINQIAO_TEST_HOME"] = str(leftovers.own_folder("jinqiao-test-"))
_home = Path(os.environ["JINQIAO_TEST_HOME"])
os.environ["JINQIAO_HOME"] = str(_home)
os.environ.setdefault("JINQIAO_FIXED_DATE", "2026-03-18")
if os.environ.get("TEST_DATABASE_URL"):
    os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]
else:
    os.environ.pop("DATABASE_URL", None)

from jinqiao.config.settings import *  # noqa: E402, F403 -- the environment above decides what it reads
from jinqiao.config.settings import DATABASES, STORAGES  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, never memory: two connections must queue for the write lock as they do in production.
    DATABASES["default"]["TEST"] = {"NAME": str(_home / "test.db")}
    DATABASES["default"]["OPTIONS"]["init_command"] = (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;"
    )
(_home / "static").mkdir(exist_ok=True)  # WhiteNoise warns of a missing one, and warnings are errors here
