"""Lists as workbooks."""

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import date, datetime
from decimal import Decimal
from io import BytesIO
from typing import IO, Any, BinaryIO, cast

import xlsxwriter
from django.http import FileResponse, HttpResponse
from django.utils.functional import Promise

from jinqiao.kernel.moments import CHINA

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_CELL_LIMIT = 32_767
_IN_MEMORY_BYTES = 8 * 1024 * 1024


def neutral(text: str) -> str:
    """Text that no spreadsheet takes for a formula, also after it was saved as CSV: a leading sign gets an apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def xlsx_response(filename: str, headers: Sequence[str | Promise], rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """A workbook of one sheet as a download. Rows stream through files on disk: memory does not grow with their number.

    Strings are written as strings, whole numbers and decimals as numbers, dates as dates, instants in China's time, None and
    "" as empty cells, anything else as its text. `filename` gets `.xlsx` where it is missing.
    """
    name = filename if filename.endswith(".xlsx") else f"{filename}.xlsx"
    with ExitStack() as files:
        spool = files.enter_context(tempfile.TemporaryFile(suffix=".xlsx"))
        _fill(spool, headers, rows)
        size = spool.tell()
        spool.seek(0)
        body: BinaryIO = spool
        if size <= _IN_MEMORY_BYTES:
            body = BytesIO(spool.read())
        else:
            files.pop_all()  # a large one stays on disk until the response was sent and closes it
        response = FileResponse(body, as_attachment=True, filename=name, content_type=XLSX)
        return cast("HttpResponse", response)  # views promise an HttpResponse; Django's streaming one is no subclass


def _fill(spool: IO[bytes], headers: Sequence[str | Promise], rows: Iterable[Sequence[Any]]) -> None:
    workbook = xlsxwriter.Workbook(
        spool,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "default_date_format": "yyyy-mm-dd",
        },
    )
    sheet = workbook.add_worksheet()
    head = workbook.add_format({"bold": True, "bottom": 2})
    instant = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    sheet.set_column(0, max(len(headers) - 1, 0), 18)
    sheet.freeze_panes(1, 0)
    for column, header in enumerate(headers):
        sheet.write_string(0, column, str(header), head)
    count = 0
    for count, row in enumerate(rows, start=1):
        for column, value in enumerate(row):
            _write(sheet, count, column, value, instant)
    if headers:
        sheet.autofilter(0, 0, count, len(headers) - 1)
    workbook.close()
    spool.seek(0, 2)


def _is_exact(value: int | float | Decimal) -> bool:
    """Whether a spreadsheet, which calculates with 15 digits, shows the number as it is. NaN and infinity are no numbers."""
    return bool(-(10**15) < value < 10**15)


def _write(sheet: Any, row: int, column: int, value: Any, instant: Any) -> None:
    if value is None or value == "":
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, datetime):
        local = value.astimezone(CHINA) if value.tzinfo else value
        sheet.write_datetime(row, column, local.replace(tzinfo=None, microsecond=0), instant)
    elif isinstance(value, date):
        sheet.write_datetime(row, column, value)
    elif isinstance(value, int | float | Decimal) and _is_exact(value):
        sheet.write_number(row, column, float(value) if isinstance(value, Decimal) else value)
    else:
        sheet.write_string(row, column, neutral(str(value))[:_CELL_LIMIT])
