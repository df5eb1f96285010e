"""A transformer names the columns it needs, refuses what cannot be before any row, and says of each value what became of it."""

from typing import Any

import pyarrow as pa
import pytest

from jinqiao.dataplane.errors import TransformColumnMissing, TransformParametersWrong, TransformUnknown
from jinqiao.dataplane.transforms import Transformer
from jinqiao.dataplane.transforms.operations import DERIVATIONS
from jinqiao.dataplane.transforms.tokens import TokenKeys
from jinqiao.kernel.catalogues import transform_catalogue
from jinqiao.kernel.contracts.exchange import Transform, TransformKind
from jinqiao.kernel.contracts.tables import LogicalType
from tests.dataplane.exchanges import PEOPLE
from tests.dataplane.transforms.transforming import applied, item, transform


def test_every_transform_of_the_catalogue_has_its_function() -> None:
    assert set(transform_catalogue()) == {"codes", "token", *DERIVATIONS}


def test_without_transforms_items_are_their_columns() -> None:
    transformer = Transformer([], PEOPLE)
    batch = pa.RecordBatch.from_pydict(
        {"id": ["1", "x"], "name": ["a", None], "born": ["2020-01-01"] * 2, "updated": [None] * 2}
    )

    found = transformer.apply(batch)

    assert transformer.columns() == ("id", "name", "born", "updated")
    assert [column.to_pylist()[0] for column in found.columns[:2]] == [1, "a"]
    assert [misfit is not None and misfit.tolist() for misfit in found.misfits] == [[False, True], False, False, False]
    assert found.refusals == [None] * 4
    assert found.raw[1] is not None
    assert found.raw[0].to_pylist() == ["1", "x"]


def test_columns_are_those_of_the_transforms_and_of_the_other_items_once_each() -> None:
    transformer = Transformer(
        [
            Transform(kind=TransformKind.DERIVE, item="name", parameters={"operation": "concat", "columns": ["xing", "ming"]}),
            Transform(kind=TransformKind.DERIVE, item="出生日期", parameters={"operation": "constant", "value": "2020-01-01"}),
        ],
        PEOPLE,
    )  # fmt: skip

    assert transformer.columns() == ("id", "xing", "ming", "updated")


def test_a_refused_value_is_kept_as_the_source_had_it() -> None:
    found = applied(transform("codes", column="xb", pairs={"1": "M"}), {"xb": ["1", "7"]})

    assert found.columns[0].to_pylist() == ["M", None]
    assert found.raw[0].to_pylist() == ["M", "7"]
    refused = found.refusals[0]
    assert refused is not None
    assert refused.tolist() == [False, True]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (transform("eval", column="a"), TransformUnknown),
        (transform("codes", column="a"), TransformParametersWrong),
        (transform("codes", column="a", table="GB/T 3304"), TransformParametersWrong),
        (transform("codes", column="a", table="GB/T 3304", **{"from": "code", "to": "no_such"}), TransformParametersWrong),
        (transform("codes", column="a", pairs={"1": "2"}, table="GB/T 3304"), TransformParametersWrong),
        (transform("codes", column="a", pairs={"1": "2"}, otherwise="default"), TransformParametersWrong),
        (transform("codes", column="a", pairs={"1": "2"}, default="3"), TransformParametersWrong),
        (transform("substring", column="a", start=0), TransformParametersWrong),
        (transform("substring", column="a", start=1, length=0), TransformParametersWrong),
        (transform("replace", column="a", find="", by="x"), TransformParametersWrong),
        (transform("replace", column="a", find="(", by="x", regex=True), TransformParametersWrong),
        (transform("replace", column="a", find="a", by="\\1", regex=True), TransformParametersWrong),
        (transform("split", column="a", separator="", part=1), TransformParametersWrong),
        (transform("split", column="a", separator=",", part=0), TransformParametersWrong),
        (transform("concat", columns=[]), TransformParametersWrong),
        (transform("concat", columns=["a"], unheard_of=1), TransformParametersWrong),
        (transform("date_format", column="a", format="yyyyMMdd"), TransformParametersWrong),  # makes no text
        (transform("identity_part", column="a", part="birth"), TransformParametersWrong),
        (Transform(kind=TransformKind.DERIVE, item="made", parameters={}), TransformUnknown),
        (Transform(kind=TransformKind.DERIVE, item="made", parameters={"operation": "token", "column": "a"}), TransformUnknown),
        (Transform(kind=TransformKind.CODES, item="no_such", parameters={"column": "a", "pairs": {"1": "2"}}), TransformParametersWrong),
    ],
)  # fmt: skip
def test_a_wrong_transform_is_refused_before_any_row(asked: Transform, error: type[Exception]) -> None:
    with pytest.raises(error):
        Transformer([asked], [item()])


@pytest.mark.parametrize(
    ("asked", "type_"),
    [
        (transform("constant", value="2026-02-30"), LogicalType.DATE),
        (transform("codes", column="a", pairs={"1": "2"}, otherwise="default", default="x"), LogicalType.INTEGER),
        (transform("coalesce", columns=["a"], default="x"), LogicalType.INTEGER),
        (transform("age", column="a", at="yesterday"), LogicalType.INTEGER),
        (transform("date_format", column="a", format="yyMMdd"), LogicalType.DATE),
        (transform("date_format", column="a", format="yyyyMM"), LogicalType.DATE),
        (transform("date_format", column="a", format="yyyyMMddMM"), LogicalType.DATE),
        (transform("identity_part", column="a", part="birth_date"), LogicalType.INTEGER),
        (transform("arithmetic", operator="add", columns=["a"]), LogicalType.INTEGER),
        (transform("arithmetic", operator="divide", columns=["a"], numbers=[0]), LogicalType.INTEGER),
        (transform("arithmetic", operator="add", columns=["a"], numbers=["1e99"]), LogicalType.INTEGER),
    ],
)
def test_parameters_must_suit_the_type_of_the_item(asked: Transform, type_: LogicalType) -> None:
    with pytest.raises(TransformParametersWrong):
        Transformer([asked], [item(type_)])


def test_an_item_has_one_transform() -> None:
    twice: list[Any] = [transform("constant", value="1")] * 2

    with pytest.raises(TransformParametersWrong):
        Transformer(twice, [item()])


def test_a_column_that_did_not_come_is_said() -> None:
    with pytest.raises(TransformColumnMissing):
        applied(transform("clean", column="b"), {"a": ["x"]})


WHOLE = [
    (transform("codes", column="a", pairs={"1": "M"}), LogicalType.TEXT),
    (transform("codes", column="a", table="GB/T 3304", **{"from": "code", "to": "name"}), LogicalType.TEXT),
    (transform("token", column="a"), LogicalType.TEXT),
    (transform("token", column="a", form="hex", clean=True), LogicalType.TEXT),
    (transform("concat", columns=["a", "a"]), LogicalType.TEXT),
    (transform("substring", column="a", start=-2), LogicalType.TEXT),
    (transform("replace", column="a", find="1", by="2"), LogicalType.TEXT),
    (transform("clean", column="a", case="upper", blanks=True, empty_is_null=True), LogicalType.TEXT),
    (transform("coalesce", columns=["a", "a"]), LogicalType.INTEGER),
    (transform("split", column="a", separator="-", part=-1), LogicalType.TEXT),
    (transform("date_part", column="a", part="hour"), LogicalType.INTEGER),
    (transform("date_format", column="a", format="yyyyMMdd"), LogicalType.DATE),
    (transform("age", column="a"), LogicalType.INTEGER),
    (transform("identity_part", column="a", part="birth_date"), LogicalType.DATE),
    (transform("arithmetic", operator="add", columns=["a", "a"], numbers=[1]), LogicalType.INTEGER),
    (transform("arithmetic", operator="divide", columns=["a", "a"], numbers=[2]), LogicalType.INTEGER),
]


def test_every_transform_but_the_constant_is_tried_on_nothing() -> None:
    assert {asked.parameters.get("operation", asked.kind.value) for asked, _ in WHOLE} | {"constant"} == set(
        transform_catalogue()
    )


@pytest.mark.parametrize(("asked", "type_"), WHOLE)
@pytest.mark.parametrize("column", [pa.array([], pa.string()), pa.nulls(3), pa.nulls(3, pa.string()), pa.nulls(0)])
def test_nothing_is_made_of_nothing(asked: Transform, type_: LogicalType, column: pa.Array) -> None:
    keys = TokenKeys(secret=bytes(32), consumer="c", grant_id="g", suite_name="international")
    found = applied(asked, {"a": column}, item(type_), keys)

    assert found.columns[0].to_pylist() == [None] * len(column)
    assert found.refusals == [None]
    assert found.misfits == [None]
