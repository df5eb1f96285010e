"""Taking in a classification tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.catalogue import classification, errors, rules
from jinqiao.catalogue.actions.steps import refuse_secret_at
from jinqiao.catalogue.classification import NodeRow
from jinqiao.catalogue.guide_classes import chain_to
from jinqiao.catalogue.models import ClassificationNode


@dataclass(frozen=True, slots=True)
class ClassificationImport:
    """What came of a table: how many nodes are new, renamed, as before."""

    created: int
    renamed: int
    unchanged: int


def import_classification(file: IO[bytes], *, by: Post) -> ClassificationImport:
    """Add and rename nodes from a CSV or workbook with the columns code, name, parent_code: all rows or none.

    The guide's own upper classes (类, 项) are added where a row hangs below them. No node is removed.
    Raises NotAuthority, WorkbookTooLarge, ClassificationFileUnreadable, SecrecyMarked, and ClassificationRefused with
    findings by `row` and `column`.
    """
    rules.check_may_import_classification(by)
    content = file.read(settings.UPLOAD_LIMIT_BYTES + 1)
    if len(content) > settings.UPLOAD_LIMIT_BYTES:
        raise errors.WorkbookTooLarge(limit_mb=settings.UPLOAD_LIMIT_BYTES // 2**20)
    rows = classification.read_table(content)
    marked = classification.marked_row(rows)
    if marked is not None:
        refuse_secret_at(_("第%d行") % marked, by=by)
    with transaction.atomic():
        outcome = _write(rows)
        trail.record(
            "catalogue.classification.import",
            by=by.actor,
            created=outcome.created,
            renamed=outcome.renamed,
            unchanged=outcome.unchanged,
        )
    return outcome


def _write(rows: Sequence[NodeRow]) -> ClassificationImport:
    known = {node.code: node for node in ClassificationNode.objects.select_for_update().all()}
    found = classification.table_findings(rows, {code: node.name for code, node in known.items()})
    if found:
        raise errors.ClassificationRefused(found)
    created = renamed = unchanged = 0
    # shorter codes first: a parent's code is the beginning of its children's
    for row in sorted(rows, key=lambda row: (len(row.code), row.code)):
        for code, name in chain_to(row.parent_code):
            if code not in known:
                known[code] = ClassificationNode.objects.create(
                    code=code, name=name, parent=known.get(code[:1]) if len(code) > 1 else None, level=min(len(code), 2)
                )
        node = known.get(row.code)
        if node is None:
            parent = known.get(row.parent_code)
            known[row.code] = ClassificationNode.objects.create(
                code=row.code, name=row.name, parent=parent, level=parent.level + 1 if parent else _level(row.code)
            )
            created += 1
        elif node.name != row.name:
            node.name = row.name
            node.save(update_fields=["name"])
            renamed += 1
        else:
            unchanged += 1
    return ClassificationImport(created, renamed, unchanged)


def _level(code: str) -> int:
    """The level of a root by its length: 类 1, 项 3, 目 6 digits, 细目 more."""
    return next((level for level, length in enumerate((1, 3, 6), start=1) if len(code) <= length), 4)
