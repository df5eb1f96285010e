"""Workbooks: handing one in, what came of it, the copy with its errors marked."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from jinqiao.accounts.models import Post
from jinqiao.catalogue import rules, workbook
from jinqiao.catalogue.errors import EntryNotFound
from jinqiao.catalogue.models import ImportBatch
from jinqiao.kernel.errors import InvalidInput, error_texts
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.catalogue.downloads import workbook_response
from jinqiao.web.catalogue.forms import WorkbookForm
from jinqiao.web.catalogue.problems import put_on
from jinqiao.web.catalogue.roles import DEPARTMENT_ROLES
from jinqiao.web.components import Figure
from jinqiao.web.errors import language
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of


@post_required(*DEPARTMENT_ROLES)
@require_http_methods(["GET", "POST"])
def hand_in(request: PostHttpRequest) -> HttpResponse:
    """Hand in a filled form; below, what was handed in before."""
    form = WorkbookForm(request.POST or None, request.FILES or None) if request.method == "POST" else WorkbookForm()
    if request.method == "POST":
        rules.check_may_compile(request.post, request.post.organisation)
        if form.is_valid():
            file = form.cleaned_data["file"]
            try:
                batch = workbook.import_workbook(
                    file, file_name=file.name, by=request.post, node=form.cleaned_data["node"]
                )
            except InvalidInput as error:
                error.details["field"] = "file"
                put_on(form, error)
            else:
                return HttpResponseRedirect(reverse("catalogue:import_result", args=[batch.pk]))
    page = page_of(request, _batches(request.post))
    values = {
        "title": _("填报与导入"),
        "form": form,
        "page": page,
        "may_compile": rules.may_compile(request.post, request.post.organisation),
    }
    return render(request, "catalogue/import.html", values, status=400 if form.errors else 200)


@post_required(*DEPARTMENT_ROLES)
def empty_form(request: PostHttpRequest) -> HttpResponse:
    return workbook_response(_("政务信息资源目录（空表）"), workbook.template())


@post_required(*DEPARTMENT_ROLES)
def result(request: PostHttpRequest, pk: int) -> HttpResponse:
    """What came of a workbook, with its errors by row and column."""
    batch = _found(request.post, pk)
    errors = [in_words(error) for error in batch.errors]
    kinds = Counter(error["code"] for error in errors)
    kind = request.GET.get("kind", "")
    if kind in kinds:
        errors = [error for error in errors if error["code"] == kind]
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("%s的错误") % batch.file_name.rpartition(".")[0],
            [_("位置"), _("行号"), _("列"), _("问题"), _("依据"), _("怎么改")],
            ((e["cell"], e["row"], e["column"], e["message"], e["clause"], e["mend"]) for e in errors),
        )
    values = {
        "title": batch.file_name,
        "batch": batch,
        "figures": [
            Figure(batch.rows_read, _("读到"), _("行")),
            Figure(batch.entries_created, _("新建草稿"), _("项")),
            Figure(batch.entries_updated, _("更新草稿"), _("项")),
            Figure(batch.entries_unchanged, _("没有变化"), _("项")),
            Figure(batch.entries_refused, _("没有收下"), _("项")),
            Figure(batch.error_count, _("要改"), _("处"), url="#errors" if batch.error_count else ""),
        ],
        "page": page_of(request, errors),
        "kinds": [(code, _kind_words(code), count) for code, count in kinds.most_common()],
        "kind": kind,
        "left_out": batch.error_count - len(batch.errors),
        "form": WorkbookForm(),
        "may_compile": rules.may_compile(request.post, batch.organisation),
    }
    return render(request, "catalogue/import_result.html", values)


@post_required(*DEPARTMENT_ROLES)
def annotated(request: PostHttpRequest, pk: int) -> HttpResponse:
    batch = _found(request.post, pk)
    return workbook_response(_("标注_%s") % batch.file_name.rpartition(".")[0], workbook.annotated(batch))


def in_words(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error of a batch in the reader's language; it is kept in Chinese with what another language needs."""
    texts = error_texts().get(error["code"])
    if language() != "en" or texts is None:
        return dict(error)
    details = error.get("details", {})
    clause = texts.get("clause_en", "")
    return {
        **error,
        "message": texts["message_en"].format_map(details),
        "mend": texts.get("mend_en", "").format_map(details),
        "clause": clause,
    }


def _kind_words(code: str) -> str:
    """The first words of an error's text, as the name of its kind; without what is filled in."""
    texts: Mapping[str, str] = error_texts().get(code, {})
    words = texts.get("message_en" if language() == "en" else "message", code)
    return words.replace("{label}", _("某列")).split("{")[0].rstrip("“（:：") or code


def _batches(post: Post) -> Any:
    return (
        ImportBatch.objects.filter(organisation=post.organisation).select_related("imported_by__person").defer("errors")
    )


def _found(post: Post, pk: int) -> ImportBatch:
    found = ImportBatch.objects.select_related("organisation", "imported_by__person").filter(
        pk=pk, organisation=post.organisation
    )
    batch = found.first()
    if batch is None:
        raise EntryNotFound
    return batch
