"""Titles of to-dos are kept in Chinese and told in the reader's language."""

import re
from pathlib import Path

import pytest
from django.utils.translation import override

import jinqiao.sharing.actions
from jinqiao.exchange.actions import evidence_alerts
from jinqiao.web import todo_titles
from jinqiao.web.todo_titles import title_in_words


def test_a_reader_of_chinese_sees_the_title_as_it_is_kept() -> None:
    with override("zh-hans"):
        assert title_in_words("签发目录：婚姻登记信息") == "签发目录：婚姻登记信息"


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ("签发目录：婚姻登记信息", "Sign entry: 婚姻登记信息"),
        ("答复共享申请 SQ-2026-0007：低保：对象信息", "Reply to request SQ-2026-0007: 低保：对象信息"),
        ("运行YX-0001失败，需要处理", "Run YX-0001 failed and needs attention"),
        ("另有安排", "另有安排"),
    ],
)
def test_a_reader_of_english_sees_it_in_english(kept: str, told: str) -> None:
    with override("en"):
        assert title_in_words(kept) == told


def test_every_title_of_sharing_has_its_form() -> None:
    folder = Path(str(jinqiao.sharing.actions.__file__)).parent
    source = "".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py")))
    opened = re.findall(r'open_for_(?:request|grant)\(\s*\w+,\s*"[\w.]+",\s*"([^"]+)"', source)
    filed = re.findall(r'_file_with_authority\(\w+, \w+, "([^"]+)"\)', source)

    assert opened
    assert [title for title in (*opened, *filed) if f"{title} %(number)s：%(name)s" not in todo_titles.FORMS] == []


def test_every_title_of_an_alert_of_evidence_has_its_form() -> None:
    source = Path(str(evidence_alerts.__file__)).read_text(encoding="utf-8")
    titles = re.findall(r'_\("([^"]+)"\)', source)

    assert len(titles) == 5
    assert [title for title in titles if title not in todo_titles.FORMS] == []
