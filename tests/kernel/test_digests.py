from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.kernel.contracts.tables import LogicalType as T
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from jinqiao.kernel.digests import ContentDigest, batch_digest, canonical_text, escaped, row_bytes, row_digest

texts = st.one_of(st.none(), st.text(), st.text(alphabet="\\N12\x1e\x1f"))
rows = st.lists(texts, min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("张三", T.TEXT, "张三"),
        ("", T.TEXT, ""),
        (None, T.TEXT, None),
        (-12, T.INTEGER, "-12"),
        (Decimal("1.500"), T.DECIMAL, "1.5"),
        (Decimal("100"), T.DECIMAL, "100"),
        (Decimal("1E+3"), T.DECIMAL, "1000"),
        (Decimal("-0.00"), T.DECIMAL, "0"),
        (Decimal("1E-7"), T.DECIMAL, "0.0000001"),
        (7, T.DECIMAL, "7"),
        (0.1, T.DOUBLE, "0.1"),
        (-0.0, T.DOUBLE, "0.0"),
        (1e16, T.DOUBLE, "1e+16"),
        (True, T.BOOLEAN, "1"),
        (0, T.BOOLEAN, "0"),
        (date(2026, 3, 18), T.DATE, "2026-03-18"),
        (datetime.fromisoformat("2026-03-18T09:30"), T.DATETIME, "2026-03-18T09:30:00.000000"),
        (datetime.fromisoformat("2026-03-18T09:30:00.000005"), T.DATETIME, "2026-03-18T09:30:00.000005"),
        (b"\x00\xff", T.BINARY, "00ff"),
    ],
)
def test_every_type_has_one_text(value: object, kind: T, text: str | None) -> None:
    assert canonical_text(value, kind) == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, T.TEXT),
        ("1", T.INTEGER),
        (True, T.INTEGER),
        (1.5, T.DECIMAL),
        (2, T.BOOLEAN),
        (datetime.fromisoformat("2026-03-18"), T.DATE),
        (datetime(2026, 3, 18, tzinfo=UTC), T.DATETIME),
        ("00", T.BINARY),
    ],
)
def test_a_value_of_another_type_is_refused(value: object, kind: T) -> None:
    with pytest.raises(TypeError):
        canonical_text(value, kind)


@given(rows, rows)
def test_two_rows_have_the_same_bytes_only_if_they_are_the_same(one: list[str | None], two: list[str | None]) -> None:
    same = row_bytes(one, [T.TEXT] * len(one)) == row_bytes(two, [T.TEXT] * len(two))
    assert same == (one == two)


@given(st.lists(rows, max_size=4), st.lists(rows, max_size=4))
def test_rows_cannot_slide_into_each_other(one: list[list[str | None]], two: list[list[str | None]]) -> None:
    def joined(table: list[list[str | None]]) -> bytes:
        return b"".join(row_bytes(row, [T.TEXT] * len(row)) for row in table)

    assert (joined(one) == joined(two)) == (one == two)


def test_null_differs_from_empty_and_from_its_own_sign() -> None:
    assert escaped(None) == "\\N"
    assert escaped("\\N") == "\\\\N"
    assert len({row_digest([value], [T.TEXT]) for value in (None, "", "\\N", "N", "None")}) == 5


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6), st.integers(0, 6))
def test_a_decimal_keeps_its_digest_whatever_scale_it_is_kept_in(number: Decimal, more: int) -> None:
    longer = Decimal(f"{number:f}" + "0" * more)
    assert canonical_text(number, T.DECIMAL) == canonical_text(longer, T.DECIMAL)
    assert Decimal(canonical_text(number, T.DECIMAL) or "") == number


@given(st.floats(allow_nan=False))
def test_a_double_reads_back_as_itself(number: float) -> None:
    assert float(canonical_text(number, T.DOUBLE) or "") == number


@pytest.mark.parametrize("name", SUITE_NAMES)
def test_a_content_digest_is_that_of_its_rows_however_they_are_fed(name: str) -> None:
    table = [["a", 1], [None, 2], ["", 3]]
    kinds = [T.TEXT, T.INTEGER]
    one, two = ContentDigest(name), ContentDigest(name)
    for row in table:
        one.add(row, kinds)
    whole = b"".join(row_bytes(row, kinds) for row in table)
    two.update(whole[:5])
    two.update(whole[5:], rows=3)
    assert (one.hexdigest(), one.rows) == (two.hexdigest(), 3) == (two.hexdigest(), two.rows)
    other = ContentDigest(name)
    for row in reversed(table):
        other.add(row, kinds)
    assert other.hexdigest() != one.hexdigest()


@pytest.mark.parametrize("name", SUITE_NAMES)
def test_a_batch_digest_depends_on_every_chunk_and_their_order(name: str) -> None:
    first, second = (row_digest([value], [T.TEXT], name) for value in ("a", "b"))
    digests = [(), (first,), (second,), (first, second), (second, first), (first, first)]
    assert len({batch_digest(chunks, name) for chunks in digests}) == len(digests)
