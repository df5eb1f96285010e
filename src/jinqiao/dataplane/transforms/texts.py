"""Operations on texts, and those that take values as they are."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.transforms.making import Asked, Made, Operation, either, on_text, texts


def concat(asked: Asked) -> Operation:
    """NULL where every column is NULL; where one is, it is left out, or makes NULL (`skip_null` = false)."""
    separator = asked.parameters.get("separator", "")
    skip = asked.flag("skip_null", True)

    def make(columns: Sequence[pa.Array], rows: int) -> Made:
        given = [texts(column) for column in columns]
        parts = [values for values, _ in given]
        if not skip:
            joined = pc.binary_join_element_wise(*parts, separator)
        else:
            any_given = parts[0].is_valid()
            for part in parts[1:]:
                any_given = pc.or_(any_given, part.is_valid())
            # a row without any text would come out of the join as no row at all
            parts[0] = pc.if_else(any_given, parts[0], pa.scalar("", pa.string()))
            joined = pc.binary_join_element_wise(*parts, separator, null_handling="skip")
            joined = pc.if_else(any_given, joined, pa.scalar(None, pa.string()))
        return Made(joined, either(*(bad for _, bad in given)))

    return Operation(tuple(asked.parameters["columns"]), make)


def substring(asked: Asked) -> Operation:
    """Characters, not octets. Where the text is shorter, what there is of it."""
    start, size = int(asked.parameters["start"]), asked.parameters.get("length")
    if start == 0:
        raise asked.wrong("start")
    if size is not None and int(size) < 1:
        raise asked.wrong("length")
    count = None if size is None else int(size)

    def work(given: pa.Array) -> Made:
        tail = pc.utf8_slice_codeunits(given, start - 1 if start > 0 else start)
        return Made(tail if count is None else pc.utf8_slice_codeunits(tail, 0, count))

    return on_text(asked.parameters["column"], work)


def replace(asked: Asked) -> Operation:
    find, by = asked.parameters["find"], asked.parameters["by"]
    if not find:
        raise asked.wrong("find")
    if not asked.flag("regex"):
        return on_text(asked.parameters["column"], lambda given: Made(pc.replace_substring(given, find, by)))
    try:
        pc.replace_substring_regex(pa.array([""]), find, "")
    except pa.ArrowInvalid:
        raise asked.wrong("find") from None
    try:  # the groups of `by` are looked at where something matches; the empty branch always does
        pc.replace_substring_regex(pa.array([""]), f"{find}|", by)
    except pa.ArrowInvalid:
        raise asked.wrong("by") from None
    return on_text(asked.parameters["column"], lambda given: Made(pc.replace_substring_regex(given, find, by)))


def clean(asked: Asked) -> Operation:
    narrow, trim, blanks = asked.flag("half_width", True), asked.flag("trim", True), asked.flag("blanks")
    case, empty_is_null = asked.parameters.get("case"), asked.flag("empty_is_null")

    def work(given: pa.Array) -> Made:
        return Made(cleaned(given, narrow=narrow, trim=trim, blanks=blanks, case=case, empty_is_null=empty_is_null))

    return on_text(asked.parameters["column"], work)


def cleaned(
    given: pa.Array,
    *,
    narrow: bool = True,
    trim: bool = True,
    blanks: bool = False,
    case: str | None = None,
    empty_is_null: bool = False,
) -> pa.Array:
    values = pc.utf8_normalize(given, "NFKC") if narrow and not pc.all(pc.string_is_ascii(given)).as_py() else given
    if blanks:
        values = pc.replace_substring_regex(values, r"[\s\p{Z}]+", "")
    elif trim:
        values = pc.utf8_trim_whitespace(values)
    if case is not None:
        values = pc.utf8_upper(values) if case == "upper" else pc.utf8_lower(values)
    if empty_is_null:
        values = pc.if_else(pc.equal(pc.binary_length(values), 0), pa.scalar(None, pa.string()), values)
    return values


def split(asked: Asked) -> Operation:
    separator, part = asked.parameters["separator"], int(asked.parameters["part"])
    if not separator:
        raise asked.wrong("separator")
    if part == 0:
        raise asked.wrong("part")

    def work(given: pa.Array) -> Made:
        lists = pc.split_pattern(given, separator)
        sizes = pc.list_value_length(lists)
        offsets = lists.offsets.slice(0, len(lists))
        at = pc.add(offsets, part - 1) if part > 0 else pc.add(pc.add(offsets, sizes), part)
        at = pc.if_else(pc.greater_equal(sizes, abs(part)).fill_null(False), at, pa.scalar(None, pa.int32()))
        return Made(lists.values.take(at))

    return on_text(asked.parameters["column"], work)


def constant(asked: Asked) -> Operation:
    value = asked.fitted("value")
    return Operation((), lambda columns, rows: Made(pa.repeat(value, rows)))


def coalesce(asked: Asked) -> Operation:
    """Each column is fitted to the item's type; a value that does not fit is refused even where another column has one."""
    default = [asked.fitted("default")] if "default" in asked.parameters else []

    def make(columns: Sequence[pa.Array], rows: int) -> Made:
        fitted = [fit(column, asked.type) for column in columns]
        values = pc.coalesce(*(column.values for column in fitted), *default)
        return Made(values, either(*(column.bad for column in fitted)))

    return Operation(tuple(asked.parameters["columns"]), make)
