"""Chinese in the source, a complete English catalogue, nothing left over."""

import re

import polib

from jinqiao.config import messages

HAN = re.compile(r"[一-鿿、-〃《-】！（），：；？]")


def test_every_text_of_the_pages_has_its_english() -> None:
    entries = {entry.msgid: entry.msgstr for entry in polib.pofile(str(messages.CATALOGUE))}

    assert sorted(text for text in messages.collect() if not entries.get(text)) == []


def test_no_english_stands_for_a_text_that_is_gone() -> None:
    texts = messages.collect()

    assert sorted(entry.msgid for entry in polib.pofile(str(messages.CATALOGUE)) if entry.msgid not in texts) == []


def test_both_languages_take_the_same_values() -> None:
    def values(text: str) -> set[str]:
        return set(re.findall(r"%\((\w+)\)[sd]", text))

    wrong = [
        entry.msgid for entry in polib.pofile(str(messages.CATALOGUE)) if values(entry.msgid) != values(entry.msgstr)
    ]
    assert wrong == []


def test_the_english_is_english() -> None:
    # the language's own name, and the marks that notices of holidays are read by
    allowed = {"中文", "至", "休", "班", "春节", "、"}
    chinese = [
        entry.msgid
        for entry in polib.pofile(str(messages.CATALOGUE))
        if HAN.search(re.sub("|".join(allowed), "", entry.msgstr))
    ]
    assert chinese == []
