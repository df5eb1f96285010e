"""Opening a workbook that somebody handed in, without trusting it.

An .xlsx is a zip of XML. Before the reader (calamine, which takes what it finds into memory) sees it, its parts are unpacked
once in bounded pieces and counted: how large they become, how far the cells reach, how much text shared strings make when
repeated. A form of ten thousand rows stays far below the limits; a zip bomb, a cell in the last corner, or one long string
repeated a million times does not. The same pass looks for secrecy markings where no cell is: page headers, comments, properties.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from jinqiao.catalogue import errors, secrecy

EXPANDED_MOST = 200 * 2**20
PARTS_MOST = 2_000
ROWS_MOST = 50_000
COLUMNS_MOST = 200
CELLS_MOST = 2_000_000
TEXT_MOST = 64 * 2**20

_PIECE = 2**18
# XML may prefix its names and use either quote
_CELL = re.compile(rb"<(?:\w+:)?c\b[^>]*?\sr=[\"']([A-Z]{1,3})([0-9]{1,7})[\"']")
_CELLS = re.compile(rb"<(?:\w+:)?c\b")
_SHARED = re.compile(rb"\st=[\"']s[\"'][^>]*>\s*<(?:\w+:)?v>([0-9]+)<")
_ITEM = re.compile(rb"<(?:\w+:)?si\b.*?</(?:\w+:)?si>|<(?:\w+:)?si\s*/>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_ROUND_CELLS = re.compile(r"docProps/.*\.xml|xl/(comments|threadedComments|drawings)/?[^/]*\.xml", re.IGNORECASE)
_LAYOUT = re.compile(r'&(?:"[^"]*"|[A-Z]|[0-9]+)')
_MARGINS = re.compile(rb"<(?:odd|even|first)(?:Header|Footer)[^>]*>(.*?)</", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet from A1 on: `rows[0][0]` is A1; cells are str, int, float, bool, date, datetime, time or ""."""

    name: str
    rows: list[list[Any]]


def read_sheets(content: bytes) -> list[Sheet]:
    """All sheets of an .xlsx. Raises NotAWorkbook, WorkbookExpandsTooFar."""
    import python_calamine  # only where a workbook is read

    _check(content)
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        return [Sheet(name, book.get_sheet_by_name(name).to_python(skip_empty_area=False)) for name in book.sheet_names]
    except (python_calamine.CalamineError, OSError, ValueError) as problem:
        raise errors.NotAWorkbook from problem


def text_of(value: Any) -> str:
    """A cell as a reader sees it: whole numbers without a point, dates as year-month-day."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 10**15 else format(Decimal(repr(value)), "f")
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value).strip()


def column_letter(index: int) -> str:
    """A for 0, Z for 25, AA for 26."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def marked_margin(content: bytes) -> bool:
    """Whether a page header, a comment, a drawing or the document's properties mark the workbook as secret."""
    with zipfile.ZipFile(io.BytesIO(content)) as container:
        parts = container.infolist()
    for part in parts:
        if _ROUND_CELLS.fullmatch(part.filename):
            texts = _TAG.split(b"".join(_unpacked(content, part)).decode("utf-8", "replace"))
        elif _is_sheet(part):
            # &C and &"font" lay a margin's text out
            margins = _MARGINS.findall(b"".join(_unpacked(content, part)))
            texts = [_LAYOUT.sub(" ", html.unescape(text.decode("utf-8", "replace"))) for text in margins]
        else:
            continue
        if any(secrecy.is_marked(html.unescape(text)) for text in texts):
            return True
    return False


def _is_sheet(part: zipfile.ZipInfo) -> bool:
    return part.filename.startswith("xl/worksheets/") and part.filename.endswith(".xml")


def _check(content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as container:
            parts = container.infolist()
            names = {part.filename for part in parts}
            if "xl/workbook.xml" not in names or "[Content_Types].xml" not in names:
                raise errors.NotAWorkbook
            if len(parts) > PARTS_MOST or len(names) != len(parts):
                raise errors.WorkbookExpandsTooFar
            _check_parts(content, parts)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, UnicodeDecodeError) as problem:
        raise errors.NotAWorkbook from problem


def _check_parts(content: bytes, parts: list[zipfile.ZipInfo]) -> None:
    left = EXPANDED_MOST
    lengths: list[int] = []
    for part in sorted(parts, key=lambda part: part.filename != "xl/sharedStrings.xml"):
        reader = _SheetLimits(lengths) if _is_sheet(part) else None
        kept = bytearray() if part.filename == "xl/sharedStrings.xml" else None
        for piece in _unpacked(content, part):
            left -= len(piece)
            if left < 0:
                raise errors.WorkbookExpandsTooFar
            if reader is not None:
                reader.feed(piece)
            if kept is not None:
                kept += piece
        if reader is not None:
            reader.finish()
        if kept is not None:
            lengths = [len(item) for item in _ITEM.findall(bytes(kept))]


def _unpacked(content: bytes, part: zipfile.ZipInfo) -> Iterator[bytes]:
    """What a part really holds, whatever sizes the zip states: readers go on to the end of the stream."""
    start = part.header_offset
    head = content[start : start + 30]
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise errors.NotAWorkbook
    start += 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    packed = content[start : start + part.compress_size]
    if part.compress_type == zipfile.ZIP_STORED:
        yield packed
        return
    if part.compress_type != zipfile.ZIP_DEFLATED or part.flag_bits & 1:
        raise errors.NotAWorkbook
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    waiting: bytes = packed
    while not inflater.eof:
        piece = inflater.decompress(waiting, _PIECE)
        waiting = inflater.unconsumed_tail
        if not piece and not waiting:
            break
        yield piece


class _SheetLimits:
    """Counts cells of one sheet while it streams by, with an overlap so that no cell is cut."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths
        self.cells = self.text = self.bottom = self.right = 0
        self.rest = b""

    def feed(self, piece: bytes) -> None:
        data = self.rest + piece
        cut = data.rfind(b"<")
        if cut < 0 or len(data) - cut > _PIECE:
            raise errors.WorkbookExpandsTooFar  # no tag and no text of a cell is that long
        self._count(data[:cut])
        self.rest = data[cut:]

    def finish(self) -> None:
        self._count(self.rest)

    def _count(self, data: bytes) -> None:
        for letters, row in _CELL.findall(data):
            self.bottom = max(self.bottom, int(row))
            self.right = max(self.right, _column_number(letters))
        if self.bottom > ROWS_MOST or self.right > COLUMNS_MOST or self.bottom * self.right > CELLS_MOST:
            raise errors.WorkbookExpandsTooFar
        for number in _SHARED.findall(data):
            at = int(number)
            self.text += self.lengths[at] if at < len(self.lengths) else 0
        self.cells += len(_CELLS.findall(data))
        if self.cells > CELLS_MOST or self.text > TEXT_MOST:
            raise errors.WorkbookExpandsTooFar


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
