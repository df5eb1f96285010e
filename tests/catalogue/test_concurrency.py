"""Several people at once: codes without gaps, one publication, one revision."""

import threading
from collections.abc import Callable, Sequence

import pytest
from django.db import connection

from jinqiao.catalogue import actions, errors
from jinqiao.catalogue.models import CatalogueEntry, EntryVersion
from tests.catalogue.factories import make_cast, make_published, make_signed, publish

pytestmark = pytest.mark.django_db(transaction=True)


def together(acts: Sequence[Callable[[], object]]) -> list[Exception]:
    """Run all in threads at once; what they raised."""
    gate = threading.Barrier(len(acts))
    failures: list[Exception] = []

    def work(act: Callable[[], object]) -> None:
        gate.wait()
        try:
            act()
        except Exception as failure:  # noqa: BLE001 -- handed to the test
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_entries_published_at_the_same_time_get_codes_without_gaps_or_doubles() -> None:
    cast = make_cast()
    versions = [make_signed(cast) for _ in range(5)]

    failures = together([lambda version=version: publish(version, cast) for version in versions])  # type: ignore[misc]

    assert failures == []
    assert sorted(CatalogueEntry.objects.values_list("code", flat=True)) == [f"3070110403/{n}" for n in range(1, 6)]


def test_two_clerks_who_publish_the_same_version_publish_it_once() -> None:
    cast = make_cast()
    version = make_signed(cast)

    failures = together([lambda: publish(version, cast)] * 3)

    assert [type(failure) for failure in failures] == [errors.VersionNotReady, errors.VersionNotReady]
    assert CatalogueEntry.objects.get().code == "3070110403/1"


def test_two_operators_who_begin_a_revision_at_once_begin_one() -> None:
    cast = make_cast()
    entry = make_published(cast)

    failures = together([lambda: actions.start_revision(entry, by=cast.operator)] * 2)

    assert [type(failure) for failure in failures] == [errors.RevisionInWork]
    assert EntryVersion.objects.filter(entry=entry).count() == 2
