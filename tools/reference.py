"""Writes docs/reference/errors.md from the error classes and their texts, and the list of refusals that OpenAPI documents name.

`--check` only says whether both are up to date.
"""

import importlib
import pkgutil
import sys
from pathlib import Path

import jinqiao
from jinqiao.kernel.errors import JinqiaoError, error_texts

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference" / "errors.md"


REFUSALS = TARGET.parent.parent.parent / "src" / "jinqiao" / "kernel" / "texts" / "refusals.toml"
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


def main() -> int:
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    sys.path.insert(0, str(TARGET.parent.parent.parent))
    django.setup()
    fresh = page()
    if sys.argv[1:] == ["--check"]:
        written = ((TARGET, fresh), (REFUSALS, refusals()))
        return 0 if all(file.exists() and file.read_text(encoding="utf-8") == text for file, text in written) else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(fresh, encoding="utf-8")
    REFUSALS.write_text(refusals(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
