"""Every error has a code of its own and its words in two languages."""

import re
import string

from jinqiao.kernel.errors import InvalidInput, JinqiaoError, NotAllowed, NotFound, Unavailable, WrongState, error_texts
from tools import reference

FAMILIES = (InvalidInput, NotAllowed, NotFound, WrongState, Unavailable)


def _all_kinds() -> list[type[JinqiaoError]]:
    reference.all_errors()
    kinds: list[type[JinqiaoError]] = []

    def visit(kind: type[JinqiaoError]) -> None:
        for child in kind.__subclasses__():
            if child.__module__.startswith("jinqiao."):
                kinds.append(child)
                visit(child)

    visit(JinqiaoError)
    return kinds


def test_every_error_that_can_be_raised_has_its_words_in_two_languages() -> None:
    texts = error_texts()
    bare = sorted({kind.code for kind in _all_kinds() if kind.code not in texts})

    assert bare == []
    for code, text in texts.items():
        assert text["message"].strip(), code
        assert text["message_en"].strip(), code
        assert {"mend", "mend_en"} <= set(text), code


def test_the_two_languages_name_the_same_details() -> None:
    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for code, text in error_texts().items():
        assert names(text["message"] + text["mend"]) == names(text["message_en"] + text["mend_en"]), code


def test_no_text_stands_without_an_error_that_uses_it() -> None:
    codes = {kind.code for kind in _all_kinds()} | {"internal.unexpected"}

    assert sorted(set(error_texts()) - codes) == []


def test_codes_name_area_thing_and_reason() -> None:
    for kind in _all_kinds():
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+){1,2}", kind.code), kind


def test_no_two_errors_share_a_code() -> None:
    by_code: dict[str, list[str]] = {}
    for kind in _all_kinds():
        if "code" in vars(kind):
            by_code.setdefault(kind.code, []).append(f"{kind.__module__}.{kind.__name__}")

    assert {code: kinds for code, kinds in by_code.items() if len(kinds) > 1} == {}


def test_the_page_of_errors_is_up_to_date() -> None:
    assert reference.TARGET.read_text(encoding="utf-8") == reference.page()
    assert reference.REFUSALS.read_text(encoding="utf-8") == reference.refusals()


def test_the_page_of_settings_lists_what_a_gateway_reads_as_it_reads_it() -> None:
    page = reference.SETTINGS.read_text(encoding="utf-8")

    assert page == reference.settings()
    for name in ("`receipts_per_minute` | `60000`", "`claims` | –", "`ca_file` | –", "| `proxies` |", "| `replica` |"):
        assert name in page
