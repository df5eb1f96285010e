"""JSON lines: every digit stays, every key is a column, what is not one object a line is refused."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.connectors import ReadPlan, open_source, open_target
from jinqiao.dataplane.connectors.jsonl_source import parsed
from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.errors import ColumnMissing, FileNotReadable
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType
from tests.dataplane.exchanges import read_table, write_table


def jsonl_at(folder: Path, *lines: str, **options: Any) -> Connection:
    if lines:
        (folder / "t.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Connection(engine=Engine.JSONL, database=str(folder), options=options)


def rows(place: Connection, *names: str) -> list[dict[str, Any]]:
    with open_source(place) as source:
        return [row for batch in source.read(ReadPlan(table="t", columns=names)) for row in batch.to_pylist()]


def test_numbers_keep_the_digits_that_are_written(tmp_path: Path) -> None:
    place = jsonl_at(
        tmp_path,
        '{"a": 12345678901234567890, "b": 1.10, "c": 1234567890.12345678901234567890}',
        '{"a": -0, "b": 1E-2, "c": 0.1}',
    )

    assert rows(place, "a", "b", "c") == [
        {"a": "12345678901234567890", "b": "1.10", "c": "1234567890.12345678901234567890"},
        {"a": "-0", "b": "1E-2", "c": "0.1"},
    ]
    with open_source(place) as source:
        wide = (
            Column(name="a", type=LogicalType.DECIMAL, precision=20, scale=0),
            Column(name="b", type=LogicalType.DECIMAL, precision=4, scale=2),
        )
        assert read_table(source, "t", wide).column("b").to_pylist() == [Decimal("1.10"), Decimal("0.01")]


def test_a_value_is_null_empty_truth_or_the_text_that_stands_in_the_file(tmp_path: Path) -> None:
    place = jsonl_at(
        tmp_path,
        '\ufeff{"名": "张三", "空": "", "无": null, "真": true, "组": [1.50, {"a": [true]}], "象": {"k" : 1.0} , "后": false}',
        '  {"后":"x","组":[]}',
        "",
        "\t",
        '{"名": "\\ud842\\udfb7\\n\\""}',
    )

    assert rows(place, "名", "空", "无", "真", "组", "象", "后") == [
        {"名": "张三", "空": "", "无": None, "真": "1", "组": '[1.50, {"a": [true]}]', "象": '{"k" : 1.0}', "后": "0"},
        {"名": None, "空": None, "无": None, "真": None, "组": "[]", "象": None, "后": "x"},
        {"名": '𠮷\n"', "空": None, "无": None, "真": None, "组": None, "象": None, "后": None},
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    found=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), JSON, max_size=5),
    indent=st.sampled_from([(",", ":"), (" ,  ", " :\t")]),
)
def test_parts_are_the_text_of_the_line_whatever_stands_around_them(
    found: dict[str, Any], indent: tuple[str, str]
) -> None:
    import json

    line = json.dumps(found, ensure_ascii=False, separators=indent)

    for key, text in parsed(line).items():
        value = found[key]
        if isinstance(value, list | dict):
            assert text is not None
            assert text in line
            assert json.loads(text) == value
        elif value is None or isinstance(value, str):
            assert text == value
        else:
            assert text == str(int(value))


@pytest.mark.parametrize(
    "line",
    ["[1]", '{"a": 1', '{"a": NaN}', '{"a": -Infinity}', '{"a": 1, "a": 2}', "{'a': 1}", '{"a": 1} {"a": 2}', '{"a": ' + "[" * 100_000],
)  # fmt: skip
def test_a_line_that_is_no_object_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    place = jsonl_at(tmp_path, '{"a": 0}', line)

    with pytest.raises(FileNotReadable) as caught:
        rows(place, "a")

    assert caught.value.details["state"] == "line 2"


def test_another_encoding_is_refused_and_half_a_character_fits_no_text(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes('{"a": "汉"}\n'.encode("gb18030"))
    with pytest.raises(FileNotReadable):
        rows(jsonl_at(tmp_path), "a")

    with open_source(jsonl_at(tmp_path, '{"a": "\\ud842"}', '{"a": "好"}')) as source:
        (batch,) = source.read(ReadPlan(table="t", columns=("a",)))
    fitted = fit(batch.column("a"), pa.string())
    assert (fitted.values.to_pylist(), fitted.bad is not None and fitted.bad.tolist()) == ([None, "好"], [True, False])


def test_columns_are_those_of_the_lines_and_of_the_options(tmp_path: Path) -> None:
    place = jsonl_at(tmp_path, '{"a": 1}', '{"b": 2, "a": 3}', types={"t": {"c": "date", "a": "integer"}})
    with open_source(place) as source:
        assert [(c.name, c.type) for c in source.schema("t").columns] == [
            ("a", LogicalType.INTEGER),
            ("b", LogicalType.TEXT),
            ("c", LogicalType.DATE),
        ]
        with pytest.raises(ColumnMissing):
            list(source.read(ReadPlan(table="t", columns=("d",))))
    assert rows(place, "c", "a") == [{"c": None, "a": "1"}, {"c": None, "a": "3"}]


def test_an_empty_table_is_an_empty_file_and_takes_the_next_batch(tmp_path: Path) -> None:
    columns = (Column(name="id", type=LogicalType.INTEGER, nullable=False),)
    place = jsonl_at(tmp_path)
    with open_target(place) as target, open_source(place) as source:
        write_table(target, "t", columns, ["id"], pa.table({"id": pa.array([], pa.int64())}))
        assert read_table(source, "t", columns).num_rows == 0
        counts = write_table(target, "t", columns, ["id"], pa.table({"id": [1, 2]}), batch_id="t.2")
        assert (counts.inserted, counts.target_rows) == (2, 2)
    assert (tmp_path / "t.jsonl").read_text() == '{"id":1}\n{"id":2}\n'
