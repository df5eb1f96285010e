import io
import os
from pathlib import Path

import pytest
import xlsxwriter
from django.test import override_settings

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.catalogue import actions, errors
from jinqiao.catalogue.actions.classification import ClassificationImport
from jinqiao.catalogue.models import ClassificationNode
from tests.catalogue.factories import Cast
from tests.factories import make_post

pytestmark = pytest.mark.django_db

TABLE = "code,name,parent_code\n307011,甘肃省,307\n30701104,各市州,307011\n3070110403,金昌市,30701104\n"


def _import(cast: Cast, text: str | bytes) -> ClassificationImport:
    content = text.encode() if isinstance(text, str) else text
    return actions.import_classification(io.BytesIO(content), by=cast.bureau)


def _findings(cast: Cast, text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(errors.ClassificationRefused) as caught:
        _import(cast, text)
    assert ClassificationNode.objects.count() == 0
    return [(one.details["row"], one.details["column"], one.code.rpartition(".")[2]) for one in caught.value.findings]


def test_a_table_becomes_a_tree_below_the_guides_classes(cast: Cast) -> None:
    assert _import(cast, TABLE) == ClassificationImport(created=3, renamed=0, unchanged=0)

    node = ClassificationNode.objects.get(code="3070110403")
    chain = []
    while node is not None:
        chain.append((node.code, node.level))
        node = node.parent  # type: ignore[assignment]
    assert chain == [("3070110403", 5), ("30701104", 4), ("307011", 3), ("307", 2), ("3", 1)]
    assert AuditEvent.objects.filter(action="catalogue.classification.import").count() == 1


def test_importing_again_changes_names_only(cast: Cast) -> None:
    _import(cast, TABLE)
    assert _import(cast, TABLE.replace("各市州", "市州")) == ClassificationImport(created=0, renamed=1, unchanged=2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_both_encodings_are_read(cast: Cast, encoding: str) -> None:
    assert _import(cast, TABLE.encode(encoding)).created == 3
    assert ClassificationNode.objects.filter(name="金昌市").exists()


def test_a_workbook_is_read_too(cast: Cast) -> None:
    spool = io.BytesIO()
    book = xlsxwriter.Workbook(spool)
    sheet = book.add_worksheet()
    for row, line in enumerate(["代码,名称,上级代码", *TABLE.splitlines()[1:]]):
        for column, cell in enumerate(line.split(",")):
            sheet.write(row, column, int(cell) if cell.isdigit() else cell)
    book.close()

    assert _import(cast, spool.getvalue()).created == 3


def test_errors_name_row_and_column_and_nothing_is_taken(cast: Cast) -> None:
    table = "code,name,parent_code\n307011,甘肃省,307\n,无代码,307011\n307011,又一个,307\n30701199,,307011\n4X,错,\n3080,错,307\n30701188,孤,999\n"
    assert _findings(cast, table) == [
        (3, "代码", "code_missing"),
        (4, "代码", "code_twice"),
        (5, "名称", "name_missing"),
        (6, "代码", "code_malformed"),
        (7, "代码", "code_malformed"),
        (7, "代码", "parent_not_prefix"),
        (8, "上级代码", "parent_unknown"),
    ]


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", b"PK\x03\x04 not a zip", b"code,name,parent_code\n", b"\x00\x01\xff\xfe"]
)
def test_what_is_no_table_is_refused(cast: Cast, content: bytes) -> None:
    with pytest.raises((errors.ClassificationFileUnreadable, errors.NotAWorkbook)):
        _import(cast, content)


def test_secret_classes_do_not_enter(cast: Cast) -> None:
    with pytest.raises(errors.SecrecyMarked):
        _import(cast, TABLE + "30701105,涉密资源,307011\n")
    assert AuditEvent.objects.filter(action="catalogue.secrecy.refuse").count() == 1


@override_settings(UPLOAD_LIMIT_BYTES=50)
def test_a_file_that_is_too_large_is_not_read(cast: Cast) -> None:
    with pytest.raises(errors.WorkbookTooLarge):
        _import(cast, TABLE)


def test_only_the_authority_keeps_the_tree(cast: Cast) -> None:
    for post in (cast.administrator, make_post(Role.BUREAU, cast.organisation)):
        with pytest.raises(errors.NotAuthority):
            actions.import_classification(io.BytesIO(TABLE.encode()), by=post)


@pytest.mark.skipif(
    "JINQIAO_MATERIAL" not in os.environ, reason="JINQIAO_MATERIAL is not set: the folder of real material"
)
def test_the_national_tree_under_gansu_is_taken_whole(cast: Cast) -> None:
    table = Path(os.environ["JINQIAO_MATERIAL"]) / "catalogue" / "national_tree_gansu_307011.csv"

    assert _import(cast, table.read_bytes()).created == 96
    assert ClassificationNode.objects.get(code="3070110403").name == "金昌市"
    assert not ClassificationNode.objects.filter(parent=None).exclude(code="3").exists()
