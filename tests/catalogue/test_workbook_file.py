import io
import struct
import zipfile
import zlib
from datetime import date, datetime

import pytest
import xlsxwriter
from django.test import override_settings

from jinqiao.catalogue import errors, workbook
from jinqiao.catalogue.models import ImportBatch
from jinqiao.catalogue.workbook_file import column_letter, marked_margin, read_sheets, text_of
from tests.catalogue.factories import Cast, make_node
from tests.catalogue.workbooks import form, row


def small() -> bytes:
    spool = io.BytesIO()
    book = xlsxwriter.Workbook(spool)
    book.add_worksheet("甲").write(0, 0, "a")
    book.close()
    return spool.getvalue()


def with_part(name: str, body: bytes) -> bytes:
    """The small workbook with one part replaced or added."""
    spool = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(small())) as source, zipfile.ZipFile(spool, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            if part.filename != name:
                target.writestr(part.filename, source.read(part))
        target.writestr(name, body)
    return spool.getvalue()


def sheet_xml(rows: bytes) -> bytes:
    return b'<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>' + rows + b"</sheetData></worksheet>"  # fmt: skip


def test_a_workbook_is_read_from_its_first_cell_on() -> None:
    (sheet,) = read_sheets(small())
    assert (sheet.name, sheet.rows) == ("甲", [["a"]])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"name,code\n",
        b"PK\x03\x04",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        small()[:-40],
        small()[200:],
    ],
)
def test_what_is_no_workbook_is_refused_whatever_its_name(content: bytes) -> None:
    with pytest.raises(errors.NotAWorkbook):
        read_sheets(content)


def test_a_zip_without_a_workbook_is_refused() -> None:
    spool = io.BytesIO()
    with zipfile.ZipFile(spool, "w") as container:
        container.writestr("readme.txt", "x")
    with pytest.raises(errors.NotAWorkbook):
        read_sheets(spool.getvalue())


def test_a_zip_bomb_is_stopped_while_it_is_unpacked() -> None:
    bomb = with_part("xl/media/image1.png", bytes(300 * 2**20))
    assert len(bomb) < 2**20
    with pytest.raises(errors.WorkbookExpandsTooFar):
        read_sheets(bomb)


def test_a_part_that_understates_its_size_is_still_counted() -> None:
    bomb = with_part("xl/media/image1.png", bytes(300 * 2**20))
    true_size = struct.pack("<I", 300 * 2**20)
    with pytest.raises(errors.WorkbookExpandsTooFar):
        read_sheets(bomb.replace(true_size, struct.pack("<I", 1000)))


@pytest.mark.parametrize(
    "cell", [b'<c r="XFD1"><v>1</v></c>', b'<c r="A1048576"><v>1</v></c>', b"<x:c s='1' r='XFD1048576'><v>1</v></x:c>"]
)
def test_a_cell_in_the_last_corner_does_not_take_memory(cell: bytes) -> None:
    with pytest.raises(errors.WorkbookExpandsTooFar):
        read_sheets(
            with_part("xl/worksheets/sheet1.xml", sheet_xml(b'<row r="1"><c r="A1"><v>1</v></c>' + cell + b"</row>"))
        )


def test_one_long_text_repeated_often_does_not_take_memory() -> None:
    rows = b"".join(b'<row r="%d"><c r="A%d" t="s"><v>0</v></c></row>' % (n, n) for n in range(1, 20_000))
    workbook_bytes = with_part("xl/worksheets/sheet1.xml", sheet_xml(rows))
    spool = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook_bytes)) as source,
        zipfile.ZipFile(spool, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for part in source.infolist():
            if part.filename != "xl/sharedStrings.xml":
                target.writestr(part.filename, source.read(part))
        target.writestr("xl/sharedStrings.xml", b"<sst><si><t>" + b"x" * 30_000 + b"</t></si></sst>")
    with pytest.raises(errors.WorkbookExpandsTooFar):
        read_sheets(spool.getvalue())


def test_too_many_parts_are_refused() -> None:
    spool = io.BytesIO(small())
    with zipfile.ZipFile(spool, "a") as container:
        for number in range(2_001):
            container.writestr(f"x/{number}", b"")
    with pytest.raises(errors.WorkbookExpandsTooFar):
        read_sheets(spool.getvalue())


def test_a_broken_stream_is_no_workbook() -> None:
    content = bytearray(small())
    at = content.find(b"xl/workbook.xml") + len(b"xl/workbook.xml") + 10
    content[at : at + 20] = zlib.compress(b"nonsense")[:20].ljust(20, b"\x00")
    with pytest.raises(errors.NotAWorkbook):
        read_sheets(bytes(content))


def test_markings_around_the_cells_are_seen() -> None:
    spool = io.BytesIO()
    book = xlsxwriter.Workbook(spool)
    sheet = book.add_worksheet()
    sheet.write_comment(0, 0, "机密★5年")
    book.close()
    assert marked_margin(spool.getvalue())
    spool = io.BytesIO()
    book = xlsxwriter.Workbook(spool)
    book.set_properties({"title": "【秘密】名单"})
    book.add_worksheet().set_footer('&L&"宋体"非涉密 &P')
    book.close()
    assert marked_margin(spool.getvalue())
    assert not marked_margin(small())


def test_cells_read_as_a_person_reads_them() -> None:
    midnight = datetime(2026, 3, 2)  # noqa: DTZ001 -- spreadsheets know no zones
    cells = [18.0, 1.25, True, midnight, date(2026, 3, 2), " 甲 ", 12345678901234.0, 0.1, ""]
    assert [text_of(cell) for cell in cells] == [
        "18", "1.25", "是", "2026-03-02", "2026-03-02", "甲", "12345678901234", "0.1", "",
    ]  # fmt: skip
    assert [column_letter(n) for n in (0, 25, 26, 701, 702)] == ["A", "Z", "AA", "ZZ", "AAA"]


@pytest.mark.django_db
@override_settings(UPLOAD_LIMIT_BYTES=4_000)
def test_a_file_above_the_limit_is_not_read(cast: Cast) -> None:
    make_node()
    with pytest.raises(errors.WorkbookTooLarge):
        workbook.import_workbook(form([row(cast.organisation)]), file_name="a.xlsx", by=cast.operator)
    assert ImportBatch.objects.count() == 0
