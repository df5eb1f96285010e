"""The file of a pack: a ZIP archive that any tool opens, written in one form only, so that no byte of it can change unseen.

Names are ASCII, times are fixed, there are no extra fields and no comments; members follow each other without a gap. The reader
puts every header together anew from what it says and compares the bytes; it needs no directory to find a member, and tells a
file that ends too early from one that was changed.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jinqiao.kernel.crypto.suites import Suite
from jinqiao.kernel.errors import InvalidInput
from jinqiao.kernel.evidence.codes import Code

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION, _FLAGS, _TIME, _DATE = 20, 0x0800, 0, 0x0021
STORED, DEFLATED = 0, 8
_MOST_BYTES, _MOST_MEMBERS = 2**32 - 1, 2**16 - 1
_PIECE = 1 << 18
LONGEST_NAME = 120


class PackTooLarge(InvalidInput):
    """A pack holds at most 4 GB: export fewer batches at a time."""

    code = "evidence.pack.too_large"


class Damaged(Exception):
    """The file is not what a pack must be. `part` names which part of it."""

    def __init__(self, code: Code, part: str = "") -> None:
        super().__init__(code.value, part)
        self.code, self.part = code, part


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the container; `offset` is that of its local header, `crc` that of its content."""

    name: str
    method: int
    crc: int
    stored_size: int
    size: int
    offset: int

    def local(self) -> bytes:
        """The header before the content, as it must be."""
        name = self.name.encode("ascii")
        fields = (_LOCAL_MARK, _VERSION, _FLAGS, self.method, _TIME, _DATE, self.crc, self.stored_size, self.size)
        return _LOCAL.pack(*fields, len(name), 0) + name

    def central(self) -> bytes:
        """The entry of the directory, as it must be."""
        name = self.name.encode("ascii")
        fields = (_CENTRAL_MARK, _VERSION, _VERSION, _FLAGS, self.method, _TIME, _DATE)
        sizes = (self.crc, self.stored_size, self.size, len(name), 0, 0, 0, 0, 0, self.offset)
        return _CENTRAL.pack(*fields, *sizes) + name

    @property
    def data_offset(self) -> int:
        return self.offset + _LOCAL.size + len(self.name)


def _directory(members: list[Member], offset: int) -> bytes:
    entries = b"".join(member.central() for member in members)
    return entries + _END.pack(_END_MARK, 0, 0, len(members), len(members), len(entries), offset, 0)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written of a member: digests of its content and of its stored bytes."""

    name: str
    size: int
    digest: str
    stored_digest: str


class Writer:
    """Writes a container into a file that can be sought."""

    def __init__(self, file: BinaryIO, by: Suite) -> None:
        self._file, self._by = file, by
        self._members: list[Member] = []

    def add(self, name: str, content: Iterator[bytes], *, compress: bool = True) -> Written:
        """Write one member piece by piece. Raises PackTooLarge."""
        offset = self._file.tell()
        method = DEFLATED if compress else STORED
        blank = Member(name, method, 0, 0, 0, offset)
        self._file.write(blank.local())
        squeeze = zlib.compressobj(6, zlib.DEFLATED, -15) if compress else None
        whole, stored = self._by.hasher(), self._by.hasher()
        crc = size = stored_size = 0

        def put(data: bytes) -> None:
            nonlocal stored_size
            stored.update(data)
            stored_size += len(data)
            self._file.write(data)

        for piece in content:
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            whole.update(piece)
            put(squeeze.compress(piece) if squeeze else piece)
        if squeeze:
            put(squeeze.flush())
        if max(size, self._file.tell()) > _MOST_BYTES or len(self._members) >= _MOST_MEMBERS:
            raise PackTooLarge
        member = Member(name, method, crc, stored_size, size, offset)
        self._file.seek(offset)
        self._file.write(member.local())
        self._file.seek(0, os.SEEK_END)
        self._members.append(member)
        return Written(name, size, whole.hexdigest(), stored.hexdigest())

    def finish(self) -> None:
        """Write the directory."""
        self._file.write(_directory(self._members, self._file.tell()))


class Container:
    """A container opened for reading; every byte outside of the contents has been compared."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises Damaged."""
        self._file = file
        self.members: dict[str, Member] = {}
        self._scan()

    def _scan(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        at, members = 0, list[Member]()
        while True:
            self._file.seek(at)
            head = self._file.read(_LOCAL.size)
            if at == 0 and (not head or not _LOCAL_MARK.startswith(head[:4])):
                raise Damaged(Code.UNREADABLE)
            if len(head) < _LOCAL.size and _LOCAL_MARK.startswith(head[:4]):
                raise Damaged(Code.TRUNCATED)
            if head[:4] != _LOCAL_MARK:
                break
            member = self._member(head, at)
            if member.data_offset + member.stored_size > size:
                raise Damaged(Code.TRUNCATED)
            if member.name in self.members:
                raise Damaged(Code.CONTAINER, member.name)
            self.members[member.name] = member
            members.append(member)
            at = member.data_offset + member.stored_size
        directory = _directory(members, at)
        self._file.seek(at)
        rest = self._file.read(len(directory) + 1)
        if rest != directory:
            is_cut = len(rest) < len(directory) and directory.startswith(rest)
            raise Damaged(Code.TRUNCATED if is_cut else Code.CONTAINER, "directory")

    def _member(self, head: bytes, at: int) -> Member:
        _, _, _, method, _, _, crc, stored_size, size, length, _ = _LOCAL.unpack(head)
        raw = self._file.read(min(length, LONGEST_NAME + 1))
        if len(raw) < length <= LONGEST_NAME:
            raise Damaged(Code.TRUNCATED)
        try:
            name = raw.decode("ascii")
        except UnicodeDecodeError as problem:
            raise Damaged(Code.CONTAINER, "name") from problem
        member = Member(name, method, crc, stored_size, size, at)
        if method not in (STORED, DEFLATED) or length > LONGEST_NAME or member.local() != head + raw:
            raise Damaged(Code.CONTAINER, "header")
        return member

    def stored(self, name: str) -> Iterator[bytes]:
        """The bytes of a member as they are stored."""
        member = self.members[name]
        at, left = member.data_offset, member.stored_size
        while left:
            self._file.seek(at)
            piece = self._file.read(min(left, _PIECE))
            at, left = at + len(piece), left - len(piece)
            yield piece

    def content(self, name: str) -> Iterator[bytes]:
        """The content of a member. Raises Damaged where it does not have its size and sum."""
        member = self.members[name]
        crc = size = 0
        for piece in self._unpacked(member):
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            if size > member.size:
                break
            yield piece
        if (crc, size) != (member.crc, member.size):
            raise Damaged(Code.CONTAINER, name)

    def _unpacked(self, member: Member) -> Iterator[bytes]:
        if member.method == STORED:
            yield from self.stored(member.name)
            return
        spread = zlib.decompressobj(-15)
        try:
            for piece in self.stored(member.name):
                data = piece
                while data:
                    yield spread.decompress(data, _PIECE)
                    data = spread.unconsumed_tail
            yield spread.flush()
        except zlib.error as problem:
            raise Damaged(Code.CONTAINER, member.name) from problem
        if not spread.eof or spread.unused_data:
            raise Damaged(Code.CONTAINER, member.name)

    def bytes_of(self, name: str) -> bytes:
        return b"".join(self.content(name))

    def lines(self, name: str) -> Iterator[str]:
        """The lines of a member of text. Raises Damaged, UnicodeDecodeError."""
        rest = b""
        for piece in self.content(name):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.decode("utf-8")
        if rest:
            yield rest.decode("utf-8")


def open_container(path: Path) -> Container:
    """Raises Damaged, OSError. The file stays open as long as the container lives."""
    return Container(path.open("rb"))
