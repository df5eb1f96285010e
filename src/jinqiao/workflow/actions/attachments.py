"""Files handed in with a case: checked by extension and content, kept as they came, named by their digest on disk."""

from __future__ import annotations

import re
import unicodedata
from typing import IO

from django.conf import settings
from django.core.files import File
from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.audit.trail import Subject
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.suites import SUITE_NAMES, suite
from jinqiao.workflow import errors
from jinqiao.workflow.file_kinds import FILE_KINDS, extension_of, has_macros, is_really, secrecy_mark
from jinqiao.workflow.models import Attachment

_PIECE = 1024 * 1024
_NAME_LENGTH = 200


@transaction.atomic
def attach(about: Subject, *, by: Post, name: str, file: IO[bytes]) -> Attachment:
    """Take a file (pdf, ofd, docx, xlsx, png, jpg) into a case. Who may is the caller's rule.

    `file` is any seekable binary file, e.g. Django's UploadedFile. The trail names kind, size and digest.

    Raises:
        AttachmentSecret, AttachmentKind, AttachmentSize, AttachmentContent, AttachmentMacros.
    """
    name = _plain_name(name)
    mark = secrecy_mark(name)
    if mark:
        raise errors.AttachmentSecret(mark=mark)
    extension = extension_of(name)
    kind = FILE_KINDS.get(extension)
    if kind is None:
        raise errors.AttachmentKind(extension=f".{extension}", allowed="、".join(sorted(FILE_KINDS)))
    size, digest = _measured(file)
    if not 0 < size <= settings.UPLOAD_LIMIT_BYTES:
        raise errors.AttachmentSize(size_bytes=size, most_mib=settings.UPLOAD_LIMIT_BYTES // _PIECE)
    if not is_really(kind, file):
        raise errors.AttachmentContent(extension=extension)
    if has_macros(kind, file):
        raise errors.AttachmentMacros
    attachment = Attachment(
        about_type=about.type,
        about_id=about.id,
        name=name,
        media_type=kind.media_type,
        size_bytes=size,
        digest=digest,
        organisation=by.organisation,
        added_by=by,
        added_at=moments.now(),
    )
    file.seek(0)
    attachment.file.save(f"{digest}.{extension}", File(file), save=False)
    attachment.save()
    trail.record(
        "workflow.attachment.add",
        by=by.actor,
        about=about,
        attachment=attachment.pk,
        kind=extension,
        size_bytes=size,
        digest=digest,
    )
    return attachment


def open_attachment(attachment: Attachment) -> File[bytes]:
    """The file, open at its beginning, once its content was compared with the digest kept when it came.

    Raises:
        AttachmentLost: it is gone, or another.
    """
    try:
        file = attachment.file.storage.open(str(attachment.file.name), "rb")
    except FileNotFoundError as problem:
        raise errors.AttachmentLost(attachment=attachment.pk) from problem
    for name in SUITE_NAMES:
        if _measured(file, name)[1] == attachment.digest:
            file.seek(0)
            return file
    file.close()
    raise errors.AttachmentLost(attachment=attachment.pk)


def _measured(file: IO[bytes], suite_name: str | None = None) -> tuple[int, str]:
    """Size in bytes and hex digest; reading stops soon after the limit."""
    hasher = suite(suite_name or settings.CRYPTO_SUITE).hasher()
    size = 0
    file.seek(0)
    while size <= settings.UPLOAD_LIMIT_BYTES and (piece := file.read(_PIECE)):
        hasher.update(piece)
        size += len(piece)
    return size, hasher.hexdigest()


def _plain_name(name: str) -> str:
    """The last part of a path without control characters, shortened before its extension."""
    last = re.split(r"[\\/]", name)[-1]
    clean = "".join(sign for sign in last if unicodedata.category(sign)[0] != "C").strip() or "file"
    extension = extension_of(clean)
    if len(clean) <= _NAME_LENGTH or not extension:
        return clean[:_NAME_LENGTH]
    return f"{clean[: _NAME_LENGTH - len(extension) - 1]}.{extension}"
