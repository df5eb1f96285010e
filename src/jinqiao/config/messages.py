"""The two languages of the pages: collects texts from source, and compiles catalogues. Both in Python, no gettext tools.

Texts are Chinese in the source; `src/jinqiao/locale/en/LC_MESSAGES/django.po` holds their English. The compiled catalogue is
written into the home, since an installed package may not be writable.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
from django.utils.translation.template import templatize

PACKAGE = Path(__file__).resolve().parent.parent
CATALOGUE = PACKAGE / "locale" / "en" / "LC_MESSAGES" / "django.po"
_SINGLE = {"_", "gettext", "gettext_lazy", "gettext_noop"}
_PLURAL = {"ngettext", "ngettext_lazy"}
_CALL = re.compile(
    r"""\b(?P<name>n?gettext|_)\((?P<arguments>u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?:,\s*u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))?)"""
)


def _from_python(file: Path) -> Iterator[str]:
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
        first = node.args[0]
        if name in _SINGLE | _PLURAL and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def _from_template(file: Path) -> Iterator[str]:
    for found in _CALL.finditer(templatize(file.read_text(encoding="utf-8"))):
        arguments = ast.literal_eval(f"({found['arguments']},)")
        yield arguments[0]


def collect() -> dict[str, list[str]]:
    """Every text in the source with the files it stands in."""
    texts: dict[str, set[str]] = {}
    for file in sorted(PACKAGE.rglob("*")):
        if file.suffix == ".py" and "migrations" not in file.parts:
            found = _from_python(file)
        elif file.suffix in (".html", ".txt") and "templates" in file.parts:
            found = _from_template(file)
        else:
            continue
        for text in found:
            if text:
                texts.setdefault(text, set()).add(str(file.relative_to(PACKAGE)))
    return {text: sorted(files) for text, files in sorted(texts.items())}


def update() -> tuple[int, int]:
    """Brings the catalogue file up to date with the source. Returns (texts, texts without English)."""
    before = {entry.msgid: entry.msgstr for entry in polib.pofile(str(CATALOGUE))} if CATALOGUE.exists() else {}
    catalogue = polib.POFile(wrapwidth=120)
    catalogue.metadata = {
        "Language": "en",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": "nplurals=2; plural=(n != 1);",
    }
    texts = collect()
    for text, files in texts.items():
        flags = ["python-format"] if re.search(r"%\(\w+\)[sd]", text) else []
        catalogue.append(
            polib.POEntry(
                msgid=text, msgstr=before.get(text, ""), occurrences=[(file, "") for file in files], flags=flags
            )
        )
    CATALOGUE.parent.mkdir(parents=True, exist_ok=True)
    catalogue.save(str(CATALOGUE))
    return len(texts), sum(not before.get(text) for text in texts)


def compile_catalogue(folder: Path) -> None:
    """Writes `<folder>/en/LC_MESSAGES/django.mo` where the source is newer or absent there."""
    target = folder / "en" / "LC_MESSAGES" / "django.mo"
    if not CATALOGUE.exists() or (target.exists() and target.stat().st_mtime_ns >= CATALOGUE.stat().st_mtime_ns):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    polib.pofile(str(CATALOGUE)).save_as_mofile(str(partial))
    partial.replace(target)
