"""Every error of sharing has its words in both languages."""

import inspect

import pytest

from jinqiao.kernel.errors import JinqiaoError, error_texts
from jinqiao.sharing import errors

LEAVES = [
    leaf
    for _, leaf in inspect.getmembers(errors, inspect.isclass)
    if issubclass(leaf, JinqiaoError) and leaf.__module__ == errors.__name__
]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.code)
def test_an_error_says_what_happened_and_what_to_do(leaf):
    text = error_texts()[leaf.code]
    assert {"message", "mend", "message_en", "mend_en"} <= set(text)


def test_codes_are_not_used_twice_and_none_is_left_over():
    codes = [leaf.code for leaf in LEAVES]
    assert len(codes) == len(set(codes))
    assert {code for code in error_texts() if code.startswith("sharing.")} == set(codes)
