"""What always holds of the repository itself."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _texts() -> list[tuple[Path, str]]:
    found = []
    for file in _tracked():
        try:
            found.append((file, file.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def test_no_package_host_is_named() -> None:
    hosts = re.compile(r"pypi\.o" r"rg|pythonh" r"osted|npmj" r"s\.(org|com)|deb\.deb" r"ian|mirrors\.")

    assert [str(file) for file, text in _texts() if hosts.search(text)] == []


def test_no_path_of_a_machine_is_committed() -> None:
    paths = re.compile(r"(^|[^A-Za-z0-9_.])/(wor" r"k|ro" r"ot|hom" r"e/[a-z]+)/[a-z.]")

    assert [str(file) for file, text in _texts() if paths.search(text)] == []


def test_every_requirement_is_pinned_with_a_hash() -> None:
    for name in ("run", "test", "assets"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        requirements = re.findall(r"^[A-Za-z0-9].*?(?=^[A-Za-z0-9#]|\Z)", text, re.MULTILINE | re.DOTALL)
        assert requirements, name
        assert [entry.split()[0] for entry in requirements if "==" not in entry or "--hash=sha256:" not in entry] == []
        assert not re.search("--index-url|--find-links", text), name


def test_the_npm_lock_names_no_address() -> None:
    assert '"resolved"' not in (ROOT / "package-lock.json").read_text(encoding="utf-8")


def test_settings_read_from_the_environment_are_all_described() -> None:
    source = (ROOT / "src" / "jinqiao" / "config" / "settings.py").read_text(encoding="utf-8")
    described = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    names = set(re.findall(r'env\.\w+\("([A-Z_]+)"', source))

    assert sorted(name for name in names if f"`{name}`" not in described) == []


def test_links_in_the_documentation_lead_somewhere() -> None:
    broken = []
    for file in _tracked():
        if file.suffix != ".md":
            continue
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", file.read_text(encoding="utf-8")):
            if not (file.parent / target).exists():
                broken.append(f"{file.relative_to(ROOT)} → {target}")
    assert broken == []
