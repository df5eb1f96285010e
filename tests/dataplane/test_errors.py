"""Every error of the data plane's engine has words in both languages, and its words need nothing that it does not carry."""

import inspect

import pytest

from jinqiao.dataplane import errors
from jinqiao.kernel.errors import JinqiaoError, error_texts

LEAVES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, JinqiaoError) and kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.code)
def test_an_error_has_words_in_both_languages(kind: type[JinqiaoError]) -> None:
    text = error_texts()[kind.code]

    assert all(text[key] for key in ("message", "mend", "message_en", "mend_en"))


def test_codes_are_unique() -> None:
    assert len({kind.code for kind in LEAVES}) == len(LEAVES)
