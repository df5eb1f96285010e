"""Tokens: the same value, the same token, for one consumer; nothing in common between two."""

import base64
import hmac
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from jinqiao.dataplane.errors import TokenKeyMissing, TransformParametersWrong
from jinqiao.dataplane.transforms import Transformer
from jinqiao.dataplane.transforms.tokens import TokenKeys, token_keys
from jinqiao.kernel.contracts.tables import LogicalType
from jinqiao.kernel.crypto.suites import SUITE_NAMES, suite
from tests.dataplane.exchanges import order
from tests.dataplane.transforms.transforming import item, result, transform

SECRET = bytes(range(32))
NUMBERS = ["620302199001010012", "620302199001010039", "620302199001010012", None, ""]


def keys(consumer: str = "11620300013975402N", grant: str = "SQ-1", suite_name: str = "international") -> TokenKeys:
    return TokenKeys(secret=SECRET, consumer=consumer, grant_id=grant, suite_name=suite_name)


def tokens(given: TokenKeys, values: Any = NUMBERS, /, **parameters: Any) -> list[str | None]:
    return result(transform("token", column="a", **parameters), {"a": values}, item(), given)


@pytest.mark.parametrize("suite_name", SUITE_NAMES)
def test_a_token_is_the_hmac_under_a_key_derived_for_the_consumer(suite_name: str) -> None:
    algorithms = suite(suite_name)
    info = b"jinqiao token v1\x1fconsumer\x1f11620300013975402N"
    key = algorithms.derive(SECRET, salt=b"", info=info, length=32)
    digest = algorithms.hmac(key, NUMBERS[0].encode())  # type: ignore[union-attr]

    assert tokens(keys(suite_name=suite_name))[0] == base64.b32encode(digest).decode()[:26]
    assert tokens(keys(suite_name=suite_name), form="hex", length=64)[0] == digest.hex()


def test_the_sm3_form_is_not_the_sha_256_form() -> None:
    assert hmac.compare_digest(tokens(keys())[0] or "", tokens(keys())[0] or "")
    assert tokens(keys())[0] != tokens(keys(suite_name="guomi"))[0]


def test_the_same_value_gives_the_same_token_and_null_stays_null() -> None:
    first, second, again, null, empty = tokens(keys())

    assert first == again
    assert len({first, second, empty}) == 3
    assert null is None
    assert tokens(keys(), NUMBERS[:1]) == [first]


def test_tokens_of_two_consumers_have_nothing_in_common() -> None:
    assert not set(tokens(keys())) & set(tokens(keys(consumer="11620300013975403J"))) - {None}


def test_the_scope_is_the_consumer_unless_it_is_the_grant() -> None:
    assert tokens(keys(grant="SQ-1")) == tokens(keys(grant="SQ-2"))
    assert tokens(keys(grant="SQ-1"), scope="grant")[0] != tokens(keys(grant="SQ-2"), scope="grant")[0]
    assert tokens(keys(), scope="grant")[0] != tokens(keys())[0]


def test_values_count_by_their_canonical_text() -> None:
    text = tokens(keys(), ["5", "2020-01-31"])

    assert tokens(keys(), pa.array([5], pa.int16())) == text[:1]
    assert tokens(keys(), pa.array([date(2020, 1, 31)])) == text[1:]


def test_writing_may_be_made_equal_first() -> None:
    (same,) = set(tokens(keys(), ["11010519491231002X", " １1010519491231002x"], clean=True))

    assert tokens(keys(), ["11010519491231002X"]) == [same]
    assert len(set(tokens(keys(), ["11010519491231002X", "11010519491231002x"]))) == 2


@pytest.mark.parametrize(
    "parameters", [{"length": 15}, {"length": 52}, {"form": "hex", "length": 19}, {"form": "hex", "length": 65}]
)
def test_tokens_are_neither_too_short_nor_longer_than_the_digest(parameters: dict[str, Any]) -> None:
    with pytest.raises(TransformParametersWrong):
        tokens(keys(), **parameters)


def test_tokens_must_fit_the_item() -> None:
    asked = transform("token", column="a")

    with pytest.raises(TransformParametersWrong):
        Transformer([asked], [item(length=18)], keys())
    with pytest.raises(TransformParametersWrong):
        Transformer([asked], [item(LogicalType.INTEGER)], keys())


def test_without_a_secret_no_token_is_made() -> None:
    with pytest.raises(TokenKeyMissing):
        Transformer([transform("token", column="a")], [item()])
    with pytest.raises(TokenKeyMissing):
        tokens(TokenKeys(secret=b"short", consumer="c", grant_id="g", suite_name="international"))


def test_keys_come_from_the_grant_and_do_not_show_the_secret() -> None:
    made = token_keys(SECRET, order().grant, "guomi")

    assert (made.consumer, made.grant_id) == ("11620300013975402N", "SQ-2026-0001/1")
    assert SECRET.hex() not in repr(made)
    assert repr(SECRET) not in repr(made)
