"""The client of the query gateway as a package of its own: made from the installed platform, byte for byte the same code.

    client_wheel() -> Wheel        the file `jinqiao_client-<version>-py3-none-any.whl`, pure Python, made in memory and offline
    closure() -> Closure           which modules it takes, and which distributions of others they need

It takes `jinqiao.dataplane.client` with its commands and, module by module, what they import (read from the sources, nothing is run),
and of the error texts the files that hold a code of theirs. The same platform makes the same bytes.

It is for an application's machine. In the environment of a platform it has no place: both bring the package `jinqiao`.
"""

import ast
import base64
import hashlib
import io
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import jinqiao

ROOT = "jinqiao.dataplane.client.__main__"
_SOURCES = Path(jinqiao.__file__).parent.parent
_TEXTS = Path("jinqiao/kernel/texts/errors")
_ALWAYS = "general.toml"
_WRITTEN = (2026, 1, 1, 0, 0, 0)  # of every member: the same sources make the same file
_SUMMARY = "Client of the Jinqiao query gateway: signed calls from Python and from a shell"


@dataclass(frozen=True, slots=True)
class Closure:
    """`files` below the folder of sources; `needs`: requirements of other distributions, with the least version tried."""

    files: tuple[Path, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wheel:
    name: str
    content: bytes


@cache
def closure() -> Closure:
    found: dict[str, Path] = {}
    foreign: set[str] = set()
    codes: set[str] = set()
    waiting = [ROOT]
    while waiting:
        name = waiting.pop()
        if name in found or (file := _file_of(name)) is None:
            continue
        found[name] = file
        tree = ast.parse((_SOURCES / file).read_text(encoding="utf-8"))
        codes |= {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        for imported in _imports(tree):
            top = imported.partition(".")[0]
            if top == "jinqiao":
                parts = imported.split(".")
                waiting += [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
            elif top not in sys.stdlib_module_names:
                foreign.add(top)
    typed = Path("jinqiao/py.typed")
    files = {*found.values(), *_texts(codes), *([typed] if (_SOURCES / typed).is_file() else [])}
    return Closure(tuple(sorted(files)), tuple(sorted(_requirement(top) for top in foreign)))


@cache
def client_wheel() -> Wheel:
    needed = closure()
    members = [(str(file), (_SOURCES / file).read_bytes()) for file in needed.files]
    about = f"jinqiao_client-{jinqiao.__version__}.dist-info"
    members += [
        (f"{about}/METADATA", _metadata(needed).encode()),
        (f"{about}/WHEEL", b"Wheel-Version: 1.0\nGenerator: jinqiao\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        (f"{about}/entry_points.txt", f"[console_scripts]\njinqiao = {ROOT}:main\n".encode()),
    ]
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in members)
    members.append((f"{about}/RECORD", f"{record}{about}/RECORD,,\n".encode()))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name, _WRITTEN)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return Wheel(f"jinqiao_client-{jinqiao.__version__}-py3-none-any.whl", made.getvalue())


def _file_of(module: str) -> Path | None:
    """The module's file below the sources; None for a name within a module."""
    base = Path(*module.split("."))
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if (_SOURCES / path).is_file()), None)


def _imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports, also within functions; what only a type checker reads is left out. A name imported from a
    package may be a module of it."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import():
                yield from (one.name for one in node.names)
            case ast.ImportFrom(module=str(module)):
                yield from (f"{module}.{one.name}" for one in node.names)
        yield from _imports(node)


def _texts(codes: set[str]) -> Iterator[Path]:
    for file in sorted((_SOURCES / _TEXTS).glob("*.toml")):
        if file.name == _ALWAYS or codes & tomllib.loads(file.read_text(encoding="utf-8")).keys():
            yield _TEXTS / file.name


def _requirement(top: str) -> str:
    distribution = _distributions()[top][0]
    return f"{distribution}>={'.'.join(version(distribution).split('.')[:2])}"


@cache
def _distributions() -> dict[str, list[str]]:
    return {top: list(names) for top, names in packages_distributions().items()}


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _metadata(needed: Closure) -> str:
    needs = "".join(f"Requires-Dist: {need}\n" for need in needed.needs)
    return (
        f"Metadata-Version: 2.1\nName: jinqiao-client\nVersion: {jinqiao.__version__}\nSummary: {_SUMMARY}\n"
        f"License: Apache-2.0\nRequires-Python: >=3.11\n{needs}"
    )
