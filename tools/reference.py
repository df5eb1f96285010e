"""Writes docs/reference/errors.md from the error classes and their texts. `--check` only says whether it is up to date."""

import importlib
import pkgutil
import sys
from pathlib import Path

import jinqiao
from jinqiao.kernel.errors import JinqiaoError, error_texts

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference" / "errors.md"


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


def main() -> int:
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    sys.path.insert(0, str(TARGET.parent.parent.parent))
    django.setup()
    fresh = page()
    if sys.argv[1:] == ["--check"]:
        return 0 if TARGET.exists() and TARGET.read_text(encoding="utf-8") == fresh else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
