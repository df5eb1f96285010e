"""Pages of long lists."""

import pytest

from jinqiao.accounts.models import Region
from jinqiao.web.pagination import page_of


@pytest.mark.parametrize(
    ("query", "number"), [({}, 1), ({"page": "3"}, 3), ({"page": "999"}, 21), ({"page": "-1"}, 21), ({"page": "x"}, 1)]
)
def test_a_page_number_without_sense_gives_a_page_that_exists(rf, query, number):
    assert page_of(rf.get("/", query), range(412)).number == number


@pytest.mark.parametrize(("size", "count"), [("50", 50), ("7", 20), ("x", 20), ("100000", 20)])
def test_only_the_offered_sizes_are_taken(rf, size, count):
    assert len(page_of(rf.get("/", {"size": size}), range(412)).object_list) == count


@pytest.mark.django_db
def test_an_unordered_list_is_ordered_so_that_no_row_shows_twice(rf):
    for number in range(30):
        Region.objects.create(code=f"62{number:04d}", name=f"区{number}", level="county")

    rows = Region.objects.order_by()
    pages = [row.pk for at in (1, 2) for row in page_of(rf.get("/", {"page": at}), rows)]

    assert len(set(pages)) == 30
