"""The classification tree with how many entries are published below each class; the authority imports it."""

from collections import Counter, defaultdict
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from jinqiao.catalogue import actions, queries, rules
from jinqiao.catalogue.errors import ClassificationRefused
from jinqiao.catalogue.models import ClassificationNode
from jinqiao.kernel.errors import InvalidInput
from jinqiao.web.access import READERS, PostHttpRequest, post_required
from jinqiao.web.catalogue.forms import ClassificationForm
from jinqiao.web.catalogue.problems import put_on
from jinqiao.web.components import TreeNode
from jinqiao.web.errors import language
from jinqiao.web.exports import xlsx_response

_OPEN_DOWN_TO = 2
_FINDINGS_SHOWN = 200


@post_required(*READERS)
@require_http_methods(["GET", "POST"])
def classification(request: PostHttpRequest) -> HttpResponse:
    if request.GET.get("export") == "xlsx":
        nodes = ClassificationNode.objects.select_related("parent")
        rows = ((node.code, node.name, node.parent.code if node.parent else "") for node in nodes)
        return xlsx_response(_("分类体系"), ["code", "name", "parent_code"], rows)
    form = ClassificationForm()
    findings: list[dict[str, Any]] = []
    if request.method == "POST":
        rules.check_may_import_classification(request.post)
        form = ClassificationForm(request.POST, request.FILES)
        if form.is_valid():
            try:
                done = actions.import_classification(form.cleaned_data["file"], by=request.post)
            except ClassificationRefused as refused:
                form.add_error("file", refused.text(language()).message)
                findings = [_shown(finding) for finding in refused.findings[:_FINDINGS_SHOWN]]
            except InvalidInput as error:
                error.details["field"] = "file"
                put_on(form, error)
            else:
                messages.success(
                    request,
                    _("分类表已导入：新增%(created)d个，改名%(renamed)d个，未变%(unchanged)d个。")
                    % {"created": done.created, "renamed": done.renamed, "unchanged": done.unchanged},
                )
                return HttpResponseRedirect(reverse("catalogue:classification"))
    values = {
        "title": _("分类体系"),
        "nodes": _tree(),
        "form": form if rules.may_import_classification(request.post) else None,
        "findings": findings,
    }
    return render(request, "catalogue/classification.html", values, status=400 if form.errors else 200)


def _shown(finding: InvalidInput) -> dict[str, Any]:
    text = finding.text(language())
    details = finding.details
    return {
        "row": details["row"],
        "cell": "",
        "column": details["column"],
        "message": text.message,
        "clause": text.clause,
        "mend": text.mend,
    }


def _tree() -> list[TreeNode]:
    """All classes as nodes, in two queries; a class counts what is published at it and below."""
    nodes = list(ClassificationNode.objects.order_by("-code"))
    counts: Counter[int] = Counter(queries.published().order_by().values_list("node_id", flat=True))
    search = reverse("catalogue:search")
    children: dict[int | None, list[TreeNode]] = defaultdict(list)
    # children's codes continue their parent's: backwards by code they come before it
    for node in nodes:
        below = children.pop(node.pk, [])
        count = counts[node.pk] + sum(child.count or 0 for child in below)
        url = f"{search}?node={node.code}" if count else ""
        drawn = TreeNode(node.name, url, node.code, count, is_open=node.level <= _OPEN_DOWN_TO, children=below)
        children[node.parent_id].insert(0, drawn)
    return children[None]
