"""The catalogues of checks and transforms are complete as data, and say which parameter of a rule is wrong."""

from typing import Any

import pytest

from jinqiao.kernel.catalogues import check_catalogue, transform_catalogue, wrong_parameter
from jinqiao.kernel.contracts.exchange import TransformKind
from jinqiao.kernel.contracts.tables import LogicalType
from tools import checks

ENTRIES = {**check_catalogue(), **transform_catalogue()}
SAMPLES: dict[str, Any] = {
    "text": "x", "integer": 1, "number": "1.5", "boolean": True, "value": "x", "list": ["1"], "numbers": [1, "2.5"],
    "item": "姓名", "items": ["姓名"], "column": "xm", "columns": ["xm"], "code_table": "GB/T 3304", "pairs": {"1": "M", "2": None},
}  # fmt: skip


def right(parameter: dict[str, Any]) -> Any:
    return parameter["choices"][0] if parameter["type"] == "choice" else SAMPLES[parameter["type"]]


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_an_entry_has_its_words_its_version_and_its_parameters(name: str) -> None:
    entry = ENTRIES[name]
    parameters = entry.get("parameters", {})

    assert all(entry[word] for word in ("title", "title_en", "note", "note_en"))
    assert entry["version"] >= 1
    assert all(parameter["title"] and parameter["title_en"] for parameter in parameters.values())
    assert {*entry.get("needs", ()), *entry.get("one_of", ())} <= set(parameters)


def test_checks_and_transforms_share_no_name() -> None:
    assert len(ENTRIES) == len(check_catalogue()) + len(transform_catalogue())


def test_transforms_say_their_kind_and_what_they_make() -> None:
    for entry in transform_catalogue().values():
        assert entry["kind"] in {kind.value for kind in TransformKind}
        assert set(entry["makes"]) <= {kind.value for kind in LogicalType}
        assert entry["makes"]


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_parameters_are_judged_one_by_one(name: str) -> None:
    entry = ENTRIES[name]
    parameters = entry.get("parameters", {})
    whole = {parameter: right(described) for parameter, described in parameters.items()}

    assert wrong_parameter(entry, whole) is None
    assert wrong_parameter(entry, {**whole, "unheard_of": 1}) == "unheard_of"
    for needed in entry.get("needs", ()):
        assert wrong_parameter(entry, {key: value for key, value in whole.items() if key != needed}) == needed
    for parameter in parameters:
        assert wrong_parameter(entry, {**whole, parameter: object()}) == parameter


@pytest.mark.parametrize(
    ("kind", "value"),
    [("integer", "1.5"), ("integer", True), ("integer", "--1"), ("number", "NaN"), ("number", "x"), ("list", []), ("list", "1"),
     ("columns", [""]), ("pairs", {}), ("pairs", {"1": [2]}), ("code_table", "GB/T 0"), ("item", " ")],
)  # fmt: skip
def test_values_of_the_wrong_type_are_found(kind: str, value: Any) -> None:
    assert wrong_parameter({"parameters": {"given": {"type": kind}}}, {"given": value}) == "given"


def test_the_page_of_checks_and_transforms_is_up_to_date() -> None:
    assert checks.TARGET.read_text(encoding="utf-8") == checks.page()
