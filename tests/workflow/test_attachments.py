"""Attachments: what is taken, what is refused, and that a file on disk is the one handed in."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from jinqiao.audit.models import AuditEvent
from jinqiao.workflow import actions, errors, queries
from jinqiao.workflow.file_kinds import extension_of, secrecy_mark
from jinqiao.workflow.models import Attachment

pytestmark = pytest.mark.django_db

PDF = b"%PDF-1.7\n%%EOF\n"


def _container(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as container:
        for member in members:
            container.writestr(member, "<x/>")
    return buffer.getvalue()


GOOD = {
    "依据.pdf": PDF,
    "公文.OFD": _container("OFD.xml"),
    "说明.docx": _container("[Content_Types].xml", "word/document.xml"),
    "清单.xlsx": _container("[Content_Types].xml", "xl/workbook.xml"),
    "图.png": b"\x89PNG\r\n\x1a\n" + bytes(20),
    "照片.jpg": b"\xff\xd8\xff\xe0" + bytes(20),
    "照片.jpeg": b"\xff\xd8\xff\xe1" + bytes(20),
}


@pytest.fixture
def attach(case, provider, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path

    def attach_file(name, content):
        return actions.attach(case, by=provider, name=name, file=io.BytesIO(content))

    return attach_file


@pytest.mark.parametrize("name", GOOD)
def test_files_of_the_listed_kinds_are_taken_as_they_came(name, attach, case):
    kept = attach(name, GOOD[name])

    assert (kept.name, kept.size_bytes, kept.digest) == (name, len(GOOD[name]), hashlib.sha256(GOOD[name]).hexdigest())
    with actions.open_attachment(kept) as file:
        assert file.read() == GOOD[name]
    assert kept.digest in kept.file.name
    assert list(queries.attachments(case)) == [kept]
    assert AuditEvent.objects.get().action == "workflow.attachment.add"


@pytest.mark.parametrize("name", ["程序.exe", "宏.docm", "页面.html", "包.zip", "无扩展名", "矢量.svg"])
def test_other_kinds_are_refused(name, attach):
    with pytest.raises(errors.AttachmentKind):
        attach(name, PDF)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("依据.pdf", b"MZ\x90\x00"),
        ("依据.pdf", GOOD["图.png"]),
        ("图.png", PDF),
        ("公文.ofd", GOOD["说明.docx"]),
        ("说明.docx", GOOD["清单.xlsx"]),
        ("清单.xlsx", b"PK\x03\x04 not really"),
    ],
)
def test_content_that_is_not_what_its_name_says_is_refused(name, content, attach):
    with pytest.raises(errors.AttachmentContent):
        attach(name, content)
    assert not Attachment.objects.exists()


def test_macros_are_refused_whatever_the_extension(attach):
    with pytest.raises(errors.AttachmentMacros):
        attach("说明.docx", _container("word/document.xml", "word/vbaProject.bin"))


def test_empty_and_too_large_files_are_refused(attach, settings):
    settings.UPLOAD_LIMIT_BYTES = 100

    with pytest.raises(errors.AttachmentSize):
        attach("依据.pdf", b"")
    with pytest.raises(errors.AttachmentSize):
        attach("依据.pdf", PDF + bytes(100))
    assert attach("依据.pdf", PDF + bytes(100 - len(PDF)))


@pytest.mark.parametrize("name", ["【机密】方案.pdf", "秘密★1年.pdf", "绝密.pdf", "涉密名单.pdf", "非涉密与涉密.pdf"])
def test_names_marked_as_secret_are_refused(name, attach):
    with pytest.raises(errors.AttachmentSecret):
        attach(name, PDF)


def test_a_declaration_that_nothing_is_secret_is_no_secret():
    assert secrecy_mark("非涉密承诺书.pdf") == ""
    assert secrecy_mark("涉密承诺书.pdf") == "涉密"


def test_names_lose_their_path_and_control_signs_and_are_shortened(attach):
    assert attach("../../etc/依\x00据\u202e.pdf", PDF).name == "依据.pdf"
    assert attach("C:\\文件\\依据.pdf", PDF).name == "依据.pdf"
    kept = attach("长" * 300 + ".pdf", PDF)
    assert len(kept.name) == 200
    assert extension_of(kept.name) == "pdf"


def test_a_file_changed_or_lost_on_disk_is_not_handed_out(attach):
    kept = attach("依据.pdf", PDF)

    Path(kept.file.path).write_bytes(b"%PDF-other")
    with pytest.raises(errors.AttachmentLost):
        actions.open_attachment(kept)
    kept.file.storage.delete(kept.file.name)
    with pytest.raises(errors.AttachmentLost):
        actions.open_attachment(kept)


def test_a_file_stays_readable_after_the_suite_was_changed(attach, settings):
    kept = attach("依据.pdf", PDF)
    settings.CRYPTO_SUITE = "guomi"

    with actions.open_attachment(kept) as file:
        assert file.read() == PDF
    assert attach("依据.pdf", PDF).digest == hashlib.new("sm3", PDF).hexdigest()
