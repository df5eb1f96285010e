import io

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.catalogue.models import ClassificationNode, EntryVersion, ImportBatch
from tests.catalogue.factories import make_node
from tests.catalogue.workbooks import form, row
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db


def upload(client, content, name="目录填报.xlsx", **data):
    file = SimpleUploadedFile(name, content if isinstance(content, bytes) else content.getvalue())
    return client.post(reverse("catalogue:import"), {"file": file, **data}, follow=True)


def downloaded(response):
    return openpyxl.load_workbook(io.BytesIO(b"".join(response.streaming_content)))


def test_a_workbook_comes_back_with_its_errors_by_row_and_column(cast, browser):
    client = browser(cast.operator)
    rows = [row(cast.organisation), row(cast.organisation, 信息资源名称="低保信息", 共享条件="", 更新周期="常常")]
    response = upload(client, form(rows))

    page = response.content.decode()
    batch = ImportBatch.objects.get()
    assert response.redirect_chain[-1][0] == reverse("catalogue:import_result", args=[batch.pk])
    assert "T5" in page
    assert "有条件共享须写明条件" in page
    assert "第十五条" in page
    assert EntryVersion.objects.count() == 1
    marked = downloaded(client.get(reverse("catalogue:import_annotated", args=[batch.pk])))
    assert "须写明条件" in marked.worksheets[0]["T5"].comment.text
    only = client.get(reverse("catalogue:import_result", args=[batch.pk]), {"kind": "catalogue.field.not_in_list"})
    assert [error["cell"] for error in only.context["page"]] == ["Y5"]
    listed = downloaded(client.get(reverse("catalogue:import_result", args=[batch.pk]), {"export": "xlsx"}))
    assert [cell.value for cell in listed.worksheets[0]["A"]] == ["位置", "T5", "Y5"]
    assert "目录填报.xlsx" in client.get(reverse("catalogue:import")).content.decode()


def test_errors_are_read_in_english_too(cast, browser):
    client = browser(cast.operator)
    upload(client, form([row(cast.organisation, 共享条件="")]))
    client.post(reverse("language"), {"language": "en", "next": "/"})
    page = client.get(reverse("catalogue:import_result", args=[ImportBatch.objects.get().pk])).content.decode()
    assert "Conditional sharing must state its conditions." in page


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"name,code\n", "目录.xlsx", "不是xlsx工作簿"),
        (b"", "目录.xlsx", ""),
        (b"PK\x03\x04", "机密名单.xlsx", "标明是涉密内容"),
    ],
)
def test_what_cannot_be_taken_is_said_at_the_field(cast, browser, content, name, words):
    response = upload(browser(cast.operator), content, name)
    assert response.status_code == 400
    assert words in response.content.decode()
    assert ImportBatch.objects.count() == 0


def test_a_file_above_the_limit_is_refused(cast, browser, settings):
    settings.UPLOAD_LIMIT_BYTES = 3000
    response = upload(browser(cast.operator), form([row(cast.organisation)]))
    assert response.status_code == 400
    assert "没有读" in response.content.decode()


def test_the_class_is_chosen_at_upload(cast, browser):
    node = make_node("3070110404", "白银市")
    upload(browser(cast.operator), form([row(cast.organisation, 关联及类目名称="")]), node=node.pk)
    assert EntryVersion.objects.get().entry.node == node


def test_the_empty_form_is_handed_out(cast, browser):
    book = downloaded(browser(cast.administrator).get(reverse("catalogue:template")))
    assert book.worksheets[0]["A1"].value == "信息资源名称"


def test_others_see_neither_the_page_nor_the_result(cast, browser):
    upload(browser(cast.operator), form([row(cast.organisation)]))
    batch = ImportBatch.objects.get()
    stranger = browser(make_post(Role.OPERATOR, make_organisation()))
    assert stranger.get(reverse("catalogue:import_result", args=[batch.pk])).status_code == 404
    assert stranger.get(reverse("catalogue:import_annotated", args=[batch.pk])).status_code == 404
    assert browser(make_post(Role.AUDITOR)).get(reverse("catalogue:import")).status_code == 403
    assert upload(browser(cast.administrator), form([row(cast.organisation)])).status_code == 403


def test_the_tree_is_shown_and_the_authority_imports_it(cast, browser):
    client = browser(cast.bureau)
    good = "code,name,parent_code\n307011,甘肃省,307\n30701104,各市州,307011\n"
    response = client.post(
        reverse("catalogue:classification"), {"file": SimpleUploadedFile("t.csv", good.encode())}, follow=True
    )
    assert "分类表已导入" in response.content.decode()
    assert ClassificationNode.objects.filter(code="30701104").exists()
    bad = "code,name,parent_code\n307011,甘肃省,307\n,无代码,307011\n30701199,孤,999\n"
    page = client.post(reverse("catalogue:classification"), {"file": SimpleUploadedFile("t.csv", bad.encode())})
    assert page.status_code == 400
    assert "第3行没有代码" in page.content.decode()
    assert "上级代码" in page.content.decode()
    reader = browser(cast.operator)
    shown = reader.get(reverse("catalogue:classification")).content.decode()
    assert "各市州" in shown
    assert 'type="file"' not in shown
    assert reader.post(reverse("catalogue:classification"), {}).status_code == 403
    assert reader.get(reverse("catalogue:classification"), {"export": "xlsx"}).status_code == 200
