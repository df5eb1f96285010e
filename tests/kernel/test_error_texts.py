"""Every error of the kernel has its words in both languages."""

import pytest

import jinqiao.kernel.clocks
import jinqiao.kernel.crypto.errors
import jinqiao.kernel.httpsig.errors
import jinqiao.kernel.identifiers.errors
import jinqiao.kernel.rulesets  # noqa: F401 -- their leaves must be known
from jinqiao.kernel.errors import JinqiaoError, error_texts


def leaves(kind: type[JinqiaoError]) -> list[type[JinqiaoError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]


KERNEL = [kind for kind in leaves(JinqiaoError) if kind.__module__.startswith("jinqiao.kernel")]


@pytest.mark.parametrize("kind", KERNEL, ids=lambda kind: kind.code)
def test_an_error_says_what_happened_and_what_helps(kind: type[JinqiaoError]) -> None:
    for language in ("zh", "en"):
        text = kind().text(language)
        assert text.message
        assert text.message != kind.code
        assert text.mend


def test_every_text_is_complete() -> None:
    for code, text in error_texts().items():
        assert {"message", "message_en", "mend", "mend_en"} <= set(text), code
