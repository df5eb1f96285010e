"""Code tables: every column is known, conversions go there and back, divisions follow their successors."""

import pytest

from jinqiao.kernel.code_tables import DIVISIONS, code_tables, codes_of, convert, has_column


def test_every_row_is_as_wide_as_its_table_and_codes_are_unique() -> None:
    for table in code_tables().values():
        assert all(len(row) == len(table.columns) for row in table.rows)
        codes = [row[0] for row in table.rows]
        assert len(set(codes)) == len(codes)
        assert table.title
        assert table.title_en


@pytest.mark.parametrize("column", ["alpha", "name"])
def test_ethnic_groups_convert_there_and_back(column: str) -> None:
    for code in codes_of("GB/T 3304", "code"):
        other = convert("GB/T 3304", "code", column, code)
        assert other is not None
        assert convert("GB/T 3304", column, "code", other) == code


def test_sexes_have_letters_and_short_words() -> None:
    assert [convert("GB/T 2261.1", "letter", "code", letter) for letter in "MFX"] == ["1", "2", None]
    assert convert("GB/T 2261.1", "code", "letter", "9") is None
    assert convert("GB/T 2261.1", "short", "code", "女") == "2"


def test_a_withdrawn_division_becomes_its_successor() -> None:
    assert convert(DIVISIONS, "code", "current", "622201") == "620702"
    assert convert(DIVISIONS, "code", "current", "622201001") == "620702001"
    assert convert(DIVISIONS, "code", "current", "620302") == "620302"
    assert convert(DIVISIONS, "code", "name", "620302") == "金川区"
    assert convert(DIVISIONS, "name", "code", "金川区") == "620302"


@pytest.mark.parametrize("value", ["", "62", "999999", "62030x", "六二〇三〇二"])
def test_what_is_no_division_has_no_counterpart(value: str) -> None:
    assert convert(DIVISIONS, "code", "current", value) is None


def test_a_name_that_several_divisions_have_is_not_guessed() -> None:
    assert convert(DIVISIONS, "name", "code", "鼓楼区") is None


def test_only_codes_in_use_are_current() -> None:
    assert "620302" in codes_of(DIVISIONS, "current")
    assert "622201" in codes_of(DIVISIONS, "code") - codes_of(DIVISIONS, "current")


def test_an_unknown_table_or_column_is_said() -> None:
    assert has_column("GB/T 3304", "alpha")
    assert not has_column("GB/T 3304", "beta")
    for table, column in (("GB/T 3304", "beta"), ("GB/T 0", "code"), (DIVISIONS, "alpha")):
        with pytest.raises(KeyError):
            codes_of(table, column)
        with pytest.raises(KeyError):
            convert(table, "code", column, "01")
