"""Writes docs/reference/errors.md from the error classes and their texts, the list of refusals that OpenAPI documents name, and the tables
of a gateway's settings in docs/reference/settings.md from their classes.

`--check` only says whether they are up to date.
"""

import importlib
import pkgutil
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import jinqiao
from jinqiao.dataplane.gateway import home as gateway_home
from jinqiao.dataplane.gateway.settings import MEANING, TABLES
from jinqiao.kernel.errors import JinqiaoError, error_texts

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference" / "errors.md"


REFUSALS = TARGET.parent.parent.parent / "src" / "jinqiao" / "kernel" / "texts" / "refusals.toml"
SETTINGS = TARGET.parent / "settings.md"
_BEGINS = "<!-- written by tools/reference.py -->\n"
_ENDS = "<!-- until here -->\n"
_OF_CALLS = ("gateway.", "signature.")
_NOT_OF_CALLS = ("gateway.client.", "gateway.home.", "gateway.policy.refused", "signature.refused")
_ALSO = ("evidence.claims.unavailable", "evidence.log.unavailable", "service.unavailable")


def all_errors() -> dict[str, type[JinqiaoError]]:
    """Every error class by its code, after importing every module of the package that can raise one."""
    for module in pkgutil.walk_packages(jinqiao.__path__, "jinqiao."):
        if (
            "migrations" not in module.name
            and "management" not in module.name
            and not module.name.startswith("jinqiao.config.w")
        ):
            importlib.import_module(module.name)
    found: dict[str, type[JinqiaoError]] = {}

    def visit(kind: type[JinqiaoError]) -> None:
        for child in kind.__subclasses__():
            if child.__module__.startswith("jinqiao."):
                found.setdefault(child.code, child)
                visit(child)

    visit(JinqiaoError)
    return found


def page() -> str:
    lines = [
        "# Errors",
        "",
        "Every code that pages, the machine interface, nodes, the gateway and the commands answer with. Programs match on the code; the",
        "words are for people. Written by `tools/reference.py` from the texts in `src/jinqiao/kernel/texts/errors/`.",
        "",
        "| code | HTTP | again? | 中文 | English |",
        "|---|---|---|---|---|",
    ]
    texts = error_texts()
    for code, kind in sorted(all_errors().items()):
        text = texts.get(code)
        if text is not None:
            again = "yes" if kind.retryable else ""
            zh, en = f"{text['message']}{text['mend']}", f"{text['message_en']} {text['mend_en']}"
            lines.append(f"| `{code}` | {kind.http_status} | {again} | {zh} | {en} |".replace("\n", " "))
    return "\n".join(lines) + "\n"


def refusals() -> str:
    """Codes with which a gateway refuses calls, by HTTP status, as TOML."""
    by_status: dict[int, list[str]] = {500: [JinqiaoError.code]}
    for code, kind in sorted(all_errors().items()):
        if (code.startswith(_OF_CALLS) and not code.startswith(_NOT_OF_CALLS)) or code in _ALSO:
            by_status.setdefault(kind.http_status, []).append(code)
    lines = ["# Written by tools/reference.py from the error classes of the gateway."]
    for status, codes in sorted(by_status.items()):
        lines += [f"{status} = [", *(f'  "{code}",' for code in codes), "]"]
    return "\n".join(lines) + "\n"


def settings() -> str:
    """The page of settings, with the tables between its marks as the classes have them."""
    before, rest = SETTINGS.read_text(encoding="utf-8").split(_BEGINS, 1)
    return before + _BEGINS + _gateway_tables() + _ENDS + rest.split(_ENDS, 1)[1]


def _gateway_tables() -> str:
    lines = ["", "| table | name | default | meaning |", "|---|---|---|---|"]
    for table, kind in TABLES.items():
        for number, setting in enumerate(fields(kind)):
            shown = f"`[{table}]`" if number == 0 else ""
            default, meaning = _written(setting.default), setting.metadata[MEANING]
            lines.append("| " + " | ".join((shown, f"`{setting.name}`", default, meaning)) + " |")
    lines += [
        "",
        "`gateway.toml` beside it says which gateway this is, and, read again at SIGHUP too, whom it believes. Nothing else of it is read.",
        "",
        "| name | meaning |",
        "|---|---|",
        *(f"| `{name}` | {meaning} |" for name, meaning in gateway_home.CONFIGURED.items()),
    ]
    return "\n".join(lines) + "\n"


def _written(default: Any) -> str:
    if isinstance(default, tuple):
        return ", ".join(f"`{part}`" for part in default)
    return f"`{default}`" if default != "" else "–"


def main() -> int:
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    sys.path.insert(0, str(TARGET.parent.parent.parent))
    django.setup()
    fresh = page()
    if sys.argv[1:] == ["--check"]:
        written = ((TARGET, fresh), (REFUSALS, refusals()), (SETTINGS, settings()))
        return 0 if all(file.exists() and file.read_text(encoding="utf-8") == text for file, text in written) else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(fresh, encoding="utf-8")
    REFUSALS.write_text(refusals(), encoding="utf-8")
    SETTINGS.write_text(settings(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
