"""Which files are taken as attachments: by extension and by what they really are."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from typing import IO

ZIP = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class FileKind:
    """`magic`: how the content begins; `member`: for zip containers, a file that must be inside."""

    media_type: str
    magic: bytes
    member: str = ""


FILE_KINDS: dict[str, FileKind] = {
    "pdf": FileKind("application/pdf", b"%PDF-"),
    "ofd": FileKind("application/ofd", ZIP, "OFD.xml"),  # GB/T 33190
    "docx": FileKind(
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ZIP, "word/document.xml"
    ),
    "xlsx": FileKind("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ZIP, "xl/workbook.xml"),
    "png": FileKind("image/png", b"\x89PNG\r\n\x1a\n"),
    "jpg": FileKind("image/jpeg", b"\xff\xd8\xff"),
    "jpeg": FileKind("image/jpeg", b"\xff\xd8\xff"),
}

_NOT_SECRET = re.compile("(非|不|未|无)涉密")
_SECRET = re.compile("涉密|绝密|机密|秘密")


def extension_of(name: str) -> str:
    """The extension in lower case without its dot; empty where there is none."""
    stem, dot, extension = name.rpartition(".")
    return extension.lower() if dot and stem else ""


def secrecy_mark(name: str) -> str:
    """The word in a file's name that marks it as secret; empty where there is none (非涉密 is none)."""
    found = _SECRET.search(_NOT_SECRET.sub("", name))
    return found.group() if found else ""


def is_really(kind: FileKind, file: IO[bytes]) -> bool:
    """Whether the content is of that kind. Reads the beginning, and of a container the list of its files."""
    file.seek(0)
    if not file.read(len(kind.magic)).startswith(kind.magic):
        return False
    return not kind.member or kind.member in _members(file)


def has_macros(kind: FileKind, file: IO[bytes]) -> bool:
    """Whether an office document carries a macro project, whatever its extension says."""
    return bool(kind.member) and any(name.lower().endswith("vbaproject.bin") for name in _members(file))


def _members(file: IO[bytes]) -> list[str]:
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as container:
            return container.namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return []
