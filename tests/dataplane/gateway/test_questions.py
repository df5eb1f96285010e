"""Bodies are read strictly."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.gateway import questions
from jinqiao.dataplane.gateway.errors import BodyNotJson, FieldNotValid
from jinqiao.dataplane.gateway.questions import read_question, strict_json
from jinqiao.kernel.errors import InvalidInput
from tests.dataplane.gateway.world import question


def test_a_question_is_read_as_it_was_written() -> None:
    read = read_question(json.dumps(question(end_user="李经办")).encode())
    assert (dict(read.by), read.items, read.end_user) == ({"sfzh": "620302199001010015"}, ("xm", "hyzk"), "李经办")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{} {}",
        b"\xff\xfe{}",
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'{"by": {"a": "1"}, "by": {"a": "2"}, "items": ["x"]}',
        b'{"by": {"a": "1", "a": "2"}, "items": ["x"]}',
        b'{"by": {"\\u0061": "1", "a": "2"}, "items": ["x"]}',
        b'{"by": {"a": NaN}, "items": ["x"]}',
        b'{"by": {"a": -Infinity}, "items": ["x"]}',
        b'{"by": {"a": 1e999}, "items": ["x"]}',
        b'{"by": {"a": ' + b"9" * 5000 + b'}, "items": ["x"]}',
        b'{"by": {"a": ' + b"[" * 30_000 + b"]" * 30_000 + b'}, "items": ["x"]}',
        b'{"by": {"a": "1"}, "items": ["x"],}',
        b"{'by': 1}",
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(BodyNotJson):
        read_question(body)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"by": None}, "by"),
        ({"by": []}, "by"),
        ({"by": {}}, "by"),
        ({"by": {"sfzh": None}}, "by"),
        ({"by": {"sfzh": ["1"]}}, "by"),
        ({"by": {"sfzh": {"gt": "1"}}}, "by"),
        ({"by": {"sfzh": 1.5}}, "by"),
        ({"by": {"": "1"}}, "by"),
        ({"by": {"a\u0000": "1"}}, "by"),
        ({"by": {f"k{n}": "1" for n in range(21)}}, "by"),
        ({"items": "xm"}, "items"),
        ({"items": []}, "items"),
        ({"items": ["xm", "xm"]}, "items"),
        ({"items": [1]}, "items"),
        ({"items": [None]}, "items"),
        ({"items": [["xm"]]}, "items"),
        ({"items": ["x" * 101]}, "items"),
        ({"items": ["x\n"]}, "items"),
        ({"items": [f"i{n}" for n in range(201)]}, "items"),
        ({"purpose": None}, "purpose"),
        ({"purpose": ["x"]}, "purpose"),
        ({"purpose": "x" * 201}, "purpose"),
        ({"purpose": "a\u0000b"}, "purpose"),
        ({"purpose": "\ud800"}, "purpose"),
        ({"case_number": 17}, "case_number"),
        ({"case_number": "x" * 101}, "case_number"),
        ({"case_number": "\u200b\u200b"}, "case_number"),
        ({"case_number": "--//"}, "case_number"),
        ({"case_number": "1\r\nx"}, "case_number"),
        ({"end_user": False}, "end_user"),
        ({"end_user": "\u2028x"}, "end_user"),
    ],
)
def test_a_field_of_another_form_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldNotValid) as caught:
        read_question(json.dumps(question(**changes)).encode())
    assert caught.value.details == {"field": field}


def test_an_unknown_field_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(FieldNotValid) as caught:
        read_question(json.dumps(question(limit=1000)).encode())
    assert "limit" not in str(caught.value.details["field"])
    assert "case_number" in str(caught.value.details["field"])


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        read_question(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["by", "items", "purpose", "case_number", "end_user", "other"]), json_values, max_size=6
    )
)
def test_any_object_is_read_or_refused_and_nothing_else(fields: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidInput):
        read_question(json.dumps(fields).encode())


@given(json_values)
def test_strict_json_gives_what_json_gives(value: Any) -> None:
    assert strict_json(json.dumps(value, ensure_ascii=True).encode()) == value


HOSTILE = [b"{", b"}", b"[", b"]", b",", b":", b'"', b'"a"', b'"b"', rb'"\u0061"', rb'"\u0022"', rb"\"", rb"\\", rb'"\ud800"', b"1", b"-0",
           b"1E400", b"1.5", b"18446744073709551616", b"null", b"true", b" ", b"\n", b"\xef\xbb\xbf", b"NaN", b"-Infinity", b"\x00",
           b"\xed\xa0\x80", "\u0663".encode()]  # fmt: skip
NAMES = ['"a"', r'"\u0061"', '"b"', r'"\""', r'"\u0022"', '""', r'"\\"', r'"a\u0000"']
LEAVES = [
    "1",
    "-0",
    '"x"',
    r'"\""',
    "null",
    "1E400",
    "1.5",
    "[]",
    "{}",
    "18446744073709551615",
    "18446744073709551616",
    r'"\ud800"',
]
TEXTS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
        | st.lists(st.tuples(st.sampled_from(NAMES), inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"
        )
    ),
    max_leaves=12,
)


def read_by(decode: Callable[[bytes], Any], body: bytes) -> str:
    """What it reads, with types and the sign of zero; empty where it refuses."""
    try:
        return repr(decode(body))
    except (ValueError, RecursionError, BodyNotJson):
        return ""


@given(st.lists(st.sampled_from(HOSTILE), max_size=14).map(b"".join) | TEXTS.map(str.encode))
@example(b"[" * 1_000 + b"1" + b"]" * 1_000)
@example(b"[" * 100_000)
@example(b"[" + b"9" * 5_000 + b"]")
@settings(max_examples=400)
def test_the_quick_way_reads_what_the_strict_one_reads_whatever_the_body_is(body: bytes) -> None:
    strict = read_by(lambda given: questions._strict_decode(given.decode("utf-8")), body)
    assert read_by(questions.strict_json, body) == strict


FIELDS = ["by", "items", "purpose", "case_number", "end_user", "role", "other"]
WORDS = [
    '"核验"',
    '"A-1"',
    '""',
    '"--"',
    '"\\u0041"',
    '"\\""',
    '"\\ud800"',
    '"a\u2028"',
    f'"{"x" * 201}"',
    '" x"',
    "7",
    "1.0",
    "null",
    "true",
]
KEYS = [
    '{"a":"1"}',
    '{"a":"1","a":"2"}',
    '{"a":"1","b":"2"}',
    '{"a":1}',
    '{"a":1.0}',
    '{"":"1"}',
    "{}",
    '{"a\\u0000":"1"}',
    '{"\\u0061":"1"}',
]
ITEMS = ['["x"]', '["x","y"]', '["x","x"]', "[]", "[1]", '[["x"]]', '["x\u200b"]', '["\\ud800"]', '"x"']
MORE = st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(WORDS + KEYS + ITEMS)), max_size=4).map(
    lambda fields: "".join(f',"{name}":{value}' for name, value in fields)
)
QUERIES = st.builds(
    lambda by, items, more, behind: f'{{"by":{by},"items":{items}{more}}}{behind}',
    st.sampled_from(KEYS),
    st.sampled_from(ITEMS),
    MORE,
    st.sampled_from(["", " ", "\n", "x", "{}", "\ufeff"]),
)


def asked_by(read: Callable[[bytes], Any], body: bytes) -> str:
    try:
        return repr(read(body))
    except InvalidInput as refusal:
        return f"{refusal.code} {refusal.details}"


@given(QUERIES.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60))
@example(b'{"by":{"a":"\xed\xa0\x80"},"items":["x"]}')
@example(b'{"by":{"a":"\xff"},"items":["x"]}')
@example(b'{"by":' + b'{"a":' * 5_000 + b'"1"' + b"}" * 5_000 + b',"items":["x"]}')
@settings(max_examples=500)
def test_a_query_of_the_usual_form_is_read_and_refused_as_any_other(body: bytes) -> None:
    assert asked_by(questions.read_question, body) == asked_by(questions.read_any_question, body)


def test_the_query_that_clients_write_is_of_the_usual_form() -> None:
    for ascii_only in (True, False):
        body = json.dumps(question(end_user="李经办"), ensure_ascii=ascii_only).encode()
        assert questions.read_usual_query(body) == questions.read_any_question(body)
