"""Chinese in the source, a complete English catalogue, nothing left over."""

import re

from jinqiao.config import messages

HAN = re.compile(r"[一-鿿、-〃《-】！（），：；？]")


def test_every_text_of_the_pages_has_its_english() -> None:
    english = messages.english()

    assert [message for message in messages.collect() if not all(english.get(message, ("",)))] == []


def test_a_counted_text_has_one_and_many() -> None:
    english = messages.english()
    counted = [message for message, place in messages.collect().items() if place.is_counted]

    assert counted
    assert [message for message in counted if len(english.get(message, ())) != 2] == []


def test_no_english_stands_for_a_text_that_is_gone() -> None:
    texts = messages.collect()

    assert [message for message in messages.english() if message not in texts] == []


def test_both_languages_take_the_same_values() -> None:
    def values(text: str) -> list[str]:
        return sorted(re.findall(r"%(?:\(\w+\))?[sd]", text))

    wrong = [
        message
        for message, words in messages.english().items()
        for text in words
        if values(message.text) != values(text)
    ]
    assert wrong == []


def test_the_english_is_english() -> None:
    # the language's own name, and the marks that notices of holidays and lists of values are read by
    allowed = re.compile("中文|至|休|班|春节|、")
    chinese = [
        message
        for message, words in messages.english().items()
        if any(HAN.search(allowed.sub("", text)) for text in words)
    ]
    assert chinese == []
