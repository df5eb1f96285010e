"""Masks: how a value is shown to a consumer. Applied where the value leaves its source's side, never later.

Both forms give the same result: `mask_text` for one value (query gateway), `mask_array` for a column (exchange). NULL stays
NULL. A value too short to keep its visible part is hidden whole, so that a malformed value never shows more than a good one.

    IDENTITY_NUMBER   first 6 and last 4 of at least 15 characters: 620302********0015
    NAME              first character: 张**; a single character becomes *
    PHONE             first 3 and last 4 of at least 11 characters: 138****5678
    HIDDEN            *** whatever it was
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.kernel.contracts.tables import Mask

HIDDEN = "***"
_STAR, _ASCII_MOST = ord("*"), 127
# visible at the front, visible at the end, characters needed before anything is shown
_WINDOWS = {Mask.IDENTITY_NUMBER: (6, 4, 15), Mask.PHONE: (3, 4, 11)}


def mask_text(value: str | None, mask: Mask) -> str | None:
    """The masked form of one value."""
    return None if value is None else masker(mask)(value)


@cache
def masker(mask: Mask) -> Callable[[object], str]:
    """`mask_text` of one mask for values that are there, to be kept where many values are masked alike. What is no text is
    masked as its text."""
    if mask is Mask.NONE:
        return str
    if mask is Mask.HIDDEN:
        return _hidden_text
    if mask is Mask.NAME:
        return _name
    front, end, needed = _WINDOWS[mask]

    def windowed(value: object) -> str:
        text = value if type(value) is str else str(value)
        length = len(text)
        return HIDDEN if length < needed else f"{text[:front]}{'*' * (length - front - end)}{text[-end:]}"

    return windowed


def _hidden_text(value: object) -> str:
    return HIDDEN


def _name(value: object) -> str:
    text = value if type(value) is str else str(value)
    return text[:1] + "*" * (len(text) - 1) if len(text) > 1 else "*" * len(text)


def mask_array(values: pa.Array, mask: Mask) -> pa.Array:
    """The masked form of a text column; any other type than text is hidden whole unless the mask is NONE."""
    if mask is Mask.NONE:
        return values
    if mask is Mask.HIDDEN or not pa.types.is_string(values.type):
        return _hidden(values)
    if mask is Mask.NAME:
        if len(values) and not values.null_count and values.buffers()[2] is not None:
            return _names(values)
        length = pc.utf8_length(values)
        rest = pc.binary_repeat(pa.scalar("*"), pc.max_element_wise(pc.subtract(length, 1), 0))
        starred = pc.binary_join_element_wise(pc.utf8_slice_codeunits(values, 0, 1), rest, "")
        return pc.if_else(pc.greater(length, 1), starred, pc.binary_repeat(pa.scalar("*"), length))
    front, end, needed = _WINDOWS[mask]
    starred = _starred(values, front, end, needed)
    if starred is not None:
        return starred
    length = pc.utf8_length(values)
    stars = pc.binary_repeat(pa.scalar("*"), pc.max_element_wise(pc.subtract(length, front + end), 0))
    shown = pc.binary_join_element_wise(
        pc.utf8_slice_codeunits(values, 0, front), stars, pc.utf8_slice_codeunits(values, -end), ""
    )
    return pc.if_else(pc.less(length, needed), _hidden(values), shown)


def _hidden(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_valid(values), pa.scalar(HIDDEN, pa.string()), pa.scalar(None, pa.string()))


def _names(values: pa.Array) -> pa.Array:
    """The first character of each value and a star for every other, written octet by octet over a row of stars."""
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    octets = np.frombuffer(values.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    begun = np.zeros(len(octets) + 1, np.int32)
    np.cumsum((octets & 0xC0) != 0x80, out=begun[1:])  # octets that begin a character (RFC 3629, 3)
    characters = begun[offsets[1:]] - begun[offsets[:-1]]
    shown = np.flatnonzero(characters > 1)
    leads = octets[offsets[shown]]
    widths = 1 + (leads >= 0xC0).astype(np.int32) + (leads >= 0xE0) + (leads >= 0xF0)
    sizes = characters.copy()
    sizes[shown] += widths - 1
    places = np.zeros(len(values) + 1, np.int32)
    np.cumsum(sizes, out=places[1:])
    written = np.full(int(places[-1]), _STAR, np.uint8)
    for at in range(int(widths.max(initial=0))):
        wide = shown if at == 0 else shown[widths > at]
        written[places[wide] + at] = octets[offsets[wide] + at]
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(places), pa.py_buffer(written))


def _starred(values: pa.Array, front: int, end: int, needed: int) -> pa.Array | None:
    """The usual column: every value ASCII and of one length, as a matrix of octets. None where it is not."""
    if len(values) == 0 or values.null_count or values.buffers()[2] is None:
        return None
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    size = int(offsets[1] - offsets[0])
    if size < needed or (np.diff(offsets) != size).any():
        return None
    octets = np.frombuffer(values.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].reshape(-1, size)
    if octets.max() > _ASCII_MOST:
        return None
    shown = octets.copy()
    shown[:, front : size - end] = _STAR
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets - offsets[0]), pa.py_buffer(shown))
