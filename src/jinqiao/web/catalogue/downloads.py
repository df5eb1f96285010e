"""Workbooks made by the catalogue as downloads."""

from io import BytesIO
from typing import cast

from django.http import FileResponse, HttpResponse

from jinqiao.web.exports import XLSX


def workbook_response(name: str, content: bytes) -> HttpResponse:
    """`name` without its extension."""
    response = FileResponse(BytesIO(content), as_attachment=True, filename=f"{name}.xlsx", content_type=XLSX)
    return cast("HttpResponse", response)  # views promise an HttpResponse; Django's streaming one is no subclass
