"""A file of keys: CSV (RFC 4180) in UTF-8, the codes of the key items in its first line; what else a batch needs stands in the
query string, which the signature covers like the file.

    POST …/batch?items=xm,hyzk&purpose=…&case_number=…      Content-Type: text/csv
"""

import csv
import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from jinqiao.dataplane.gateway.asked import Question
from jinqiao.dataplane.gateway.errors import FieldNotValid, FileNotValid
from jinqiao.dataplane.gateway.questions import COMMON, MOST_BATCH, MOST_KEYS, checked_items, common_fields, is_code

FILE_BYTES = 2 * 1024 * 1024
PARAMETERS = COMMON | {"items"}
_MOST_PARAMETERS = 10


def read_file_question(body: bytes, query: str) -> Question:
    """Raises FileNotValid, FieldNotValid; their details name lines and fields, never what stood there."""
    parameters = _parameters(query)
    items = checked_items(parameters.get("items", "").split(","))
    return Question({}, items, *common_fields(parameters), batch=_keys(body), is_file=True)


def _parameters(query: str) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError as problem:
        raise FieldNotValid(field="?") from problem
    found = dict(pairs)
    if len(found) != len(pairs) or not found.keys() <= PARAMETERS:
        raise FieldNotValid(field="、".join(sorted(PARAMETERS)))
    return found


def _keys(body: bytes) -> tuple[Mapping[str, Any], ...]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise FileNotValid(line=body[: problem.start].count(b"\n") + 1) from problem
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    keys: list[Mapping[str, Any]] = []
    try:
        header = next(reader, [])
        if not 1 <= len(header) <= MOST_KEYS or len(set(header)) != len(header) or not all(map(is_code, header)):
            raise FileNotValid(line=1)
        for row in reader:
            if len(row) != len(header) or len(keys) >= MOST_BATCH:
                raise FileNotValid(line=reader.line_num)
            keys.append(dict(zip(header, row, strict=True)))
    except csv.Error as problem:
        raise FileNotValid(line=reader.line_num) from problem
    if not keys:
        raise FileNotValid(line=2)
    return tuple(keys)
