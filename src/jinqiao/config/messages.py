"""The two languages of the pages: collects texts from source, and compiles catalogues. Both in Python, no gettext tools.

Texts are Chinese in the source; `src/jinqiao/locale/en/LC_MESSAGES/django.po` holds their English. The compiled catalogue is
written into the home, since an installed package may not be writable.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polib
from django.utils.translation.template import templatize

PACKAGE = Path(__file__).resolve().parent.parent
CATALOGUE = PACKAGE / "locale" / "en" / "LC_MESSAGES" / "django.po"
_SINGLE = {"_", "gettext", "gettext_lazy", "gettext_noop"}
_PLURAL = {"ngettext", "ngettext_lazy"}
_IN_CONTEXT = {"pgettext", "pgettext_lazy"}
_CALL = re.compile(
    r"""\b(?P<name>[np]?gettext|_)\((?P<arguments>u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?:,\s*u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))?)"""
)


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """A text, and what tells it from the same words with another meaning. Chinese has no plural, so it is its own."""

    text: str
    context: str = ""


@dataclass(slots=True)
class Place:
    """Where a text stands; `is_counted` where its English depends on a number."""

    files: set[str] = field(default_factory=set)
    is_counted: bool = False


def _from_python(file: Path) -> Iterator[tuple[Message, bool]]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = (
            node.func.id
            if isinstance(node.func, ast.Name)
            else node.func.attr
            if isinstance(node.func, ast.Attribute)
            else ""
        )
        words = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if name in _SINGLE | _PLURAL and words:
            yield Message(words[0]), name in _PLURAL
        elif name in _IN_CONTEXT and len(words) == 2:
            yield Message(words[1], words[0]), False


def _from_template(file: Path) -> Iterator[tuple[Message, bool]]:
    for found in _CALL.finditer(templatize(file.read_text(encoding="utf-8"))):
        words = ast.literal_eval(f"({found['arguments']},)")
        if found["name"] == "pgettext":
            yield Message(words[1], words[0]), False
        else:
            yield Message(words[0]), found["name"] == "ngettext"


def collect() -> dict[Message, Place]:
    """Every text in the source with the files it stands in."""
    texts: dict[Message, Place] = {}
    for file in sorted(PACKAGE.rglob("*")):
        if file.suffix == ".py" and "migrations" not in file.parts:
            found = _from_python(file)
        elif file.suffix in (".html", ".txt") and "templates" in file.parts:
            found = _from_template(file)
        else:
            continue
        for message, is_counted in found:
            if message.text:
                place = texts.setdefault(message, Place())
                place.files.add(str(file.relative_to(PACKAGE)))
                place.is_counted |= is_counted
    return dict(sorted(texts.items()))


def english() -> dict[Message, tuple[str, ...]]:
    """The catalogue file: one English text, or two (one, many) for a counted text; empty where there is none yet."""
    if not CATALOGUE.exists():
        return {}
    return {
        Message(entry.msgid, entry.msgctxt or ""): tuple(
            entry.msgstr_plural[form] for form in sorted(entry.msgstr_plural)
        )
        if entry.msgid_plural
        else (entry.msgstr,)
        for entry in polib.pofile(str(CATALOGUE))
    }


def update() -> tuple[int, int]:
    """Brings the catalogue file up to date with the source. Returns (texts, texts without English)."""
    before = english()
    catalogue = polib.POFile(wrapwidth=120)
    catalogue.metadata = {
        "Language": "en",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": "nplurals=2; plural=(n != 1);",
    }
    missing = 0
    texts = collect()
    for message, place in texts.items():
        words = before.get(message, ("",))
        if place.is_counted and len(words) == 1:
            words = (words[0], "")
        missing += not all(words)
        entry = polib.POEntry(
            msgid=message.text,
            msgctxt=message.context or None,
            occurrences=[(file, "") for file in sorted(place.files)],
            flags=["python-format"] if re.search(r"%\(\w+\)[sd]", message.text) else [],
        )
        if place.is_counted:
            entry.msgid_plural = message.text
            entry.msgstr_plural = dict(enumerate(words))
        else:
            entry.msgstr = words[0]
        catalogue.append(entry)
    CATALOGUE.parent.mkdir(parents=True, exist_ok=True)
    catalogue.save(str(CATALOGUE))
    return len(texts), missing


def compile_catalogue(folder: Path) -> None:
    """Writes `<folder>/en/LC_MESSAGES/django.mo` where the source is newer or absent there."""
    target = folder / "en" / "LC_MESSAGES" / "django.mo"
    if not CATALOGUE.exists() or (target.exists() and target.stat().st_mtime_ns >= CATALOGUE.stat().st_mtime_ns):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    polib.pofile(str(CATALOGUE)).save_as_mofile(str(partial))
    partial.replace(target)
