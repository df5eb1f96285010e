"""What every test has: the English catalogue compiled, the database with its tables, and no way out of the machine."""

import fcntl
import gc
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.db import connection
from django.utils import translation
from pytest_django.plugin import blocking_manager_key
from pytest_socket import socket_allow_hosts

from jinqiao.config import messages
from tests import leftovers, spreading

# how fast a machine is that does other work beside says nothing about the product
hypothesis.settings.register_profile(
    "suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("suite")

_COMMITS = {
    "transactional_db",
    "live_server",
}  # with one of them, or the mark, a test works without a transaction around it
_DATABASE = {"db", "django_db_setup", *_COMMITS}  # with one of them, or the mark, it works on the control database
SLOWEST = 10
_seconds: Counter[str] = Counter()


def pytest_configure(config: pytest.Config) -> None:
    from tests import settings

    gc.set_threshold(50_000, 20, 20)  # models and migrations make many objects and few circles
    messages.compile_catalogue(settings.LOCALE_PATHS[0])
    if not hasattr(config, "workerinput"):
        leftovers.remove_leftovers()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return spreading.scheduler(config, log)


@pytest.hookimpl(trylast=True)  # after they were shuffled
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: spreading.order_of(item.nodeid))
    if os.environ.get("TEST_DATABASE_URL"):  # what touches no control database was proved where SQLite is that
        others = [item for item in items if not _is_on_database(item)]
        items[:] = [item for item in items if _is_on_database(item)]
        config.hook.pytest_deselected(items=others)
    gc.freeze()  # what was imported stays


def _is_on_database(item: pytest.Item) -> bool:
    return item.get_closest_marker("django_db") is not None or bool(_DATABASE & set(getattr(item, "fixturenames", ())))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A test that commits empties all tables at its end, of what migrations had entered, too: that is entered again.

    The order of tests then says nothing about what they find.
    """
    yield
    if _commits(item):
        from tests.factories import seed_calendar  # its models need Django set up

        with item.config.stash[blocking_manager_key].unblock():
            seed_calendar()
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM catalogue_search")


def _commits(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("django_db")
    return bool(mark and mark.kwargs.get("transaction")) or bool(_COMMITS & set(getattr(item, "fixturenames", ())))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[report.nodeid.partition("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Where the time of a run of many files went, in seconds of one worker."""
    if len(_seconds) > SLOWEST and not hasattr(config, "workerinput"):
        found = ", ".join(f"{file.removeprefix('tests/')} {took:.0f}" for file, took in _seconds.most_common(SLOWEST))
        terminalreporter.write_line(f"slowest files, of {sum(_seconds.values()):.0f} s: {found}")


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
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """The control database. All migrations run once; each worker of the run takes a copy of what they made."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with django_db_blocker.unblock(), _alone("database") as home:
        made = home / "database-made"
        creation = connection.creation
        if made.exists():
            connection.settings_dict["NAME"] = creation._get_test_db_name()
        else:
            creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
            connection.close()
            made.touch()
        creation.clone_test_db(suffix=worker, verbosity=0, autoclobber=True)
        connection.settings_dict.update(creation.get_test_db_clone_settings(worker))
        connection.close()
    yield
    with django_db_blocker.unblock():
        connection.close()


@contextmanager
def _alone(what: str) -> Iterator[Path]:
    """The home of the run, while no other worker does the same."""
    home = Path(os.environ["JINQIAO_TEST_HOME"])
    with (home / f"{what}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield home


@pytest.fixture(scope="session")
def material() -> Path:
    """The folder of published vectors and real forms, named by JINQIAO_MATERIAL; without it the test skips and says so."""
    folder = os.environ.get("JINQIAO_MATERIAL", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("JINQIAO_MATERIAL names no folder of test material")
    return Path(folder)
