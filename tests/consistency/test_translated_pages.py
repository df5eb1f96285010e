"""Pages of docs/ that stand in both languages say the same: as many sections, the same names of commands, settings and codes."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(page.name.removesuffix(".zh-CN.md") for page in DOCS.glob("*.zh-CN.md"))


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def names_in(text: str) -> set[str]:
    """What stands between backticks, but for what has a placeholder in words."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = {" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)}
    return {span for span in spans if "<" not in span and span.isascii()}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_chinese_has_the_sections_and_the_names_of_the_english_one(page: str) -> None:
    english, chinese = text_of(f"{page}.md"), text_of(f"{page}.zh-CN.md")

    assert len(re.findall("^#+ ", english, re.MULTILINE)) == len(re.findall("^#+ ", chinese, re.MULTILINE))
    assert names_in(english) == names_in(chinese)
    assert f"[中文]({page}.zh-CN.md)" in english
    assert f"[English]({page}.md)" in chinese


@pytest.mark.parametrize("page", PAGES)
def test_every_page_that_it_leads_to_is_there(page: str) -> None:
    for name in (f"{page}.md", f"{page}.zh-CN.md"):
        for place in re.findall(r"\]\(([^)#\s:]+)", text_of(name)):
            assert (DOCS / place).exists(), (name, place)
