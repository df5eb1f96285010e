"""Taking in a workbook: good entries become drafts, bad ones are reported by row and column, all rows of an entry together."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import IO, Any

from django.conf import settings
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext as _

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.audit.trail import subject
from jinqiao.catalogue import content as described_content
from jinqiao.catalogue import errors, queries, rules, secrecy
from jinqiao.catalogue.actions import compiling
from jinqiao.catalogue.actions.steps import refuse_secret_at
from jinqiao.catalogue.enums import VersionState
from jinqiao.catalogue.fields import plain_name
from jinqiao.catalogue.models import CatalogueEntry, ClassificationNode, EntryVersion, ImportBatch
from jinqiao.catalogue.workbook_file import Sheet, column_letter, marked_margin, read_sheets, text_of
from jinqiao.catalogue.workbook_form import BY_FIELD, Form, locate
from jinqiao.catalogue.workbook_rows import Classes, Described, column_of, describe, group
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import InvalidInput
from jinqiao.workflow import actions as desk

ERRORS_KEPT = 2_000
"""So many errors stand in the batch; the count is of all."""


def import_workbook(
    file: IO[bytes], *, file_name: str, by: Post, node: ClassificationNode | None = None
) -> ImportBatch:
    """Take in a filled form of the post's organisation. `node` is the class of entries whose last column is empty.

    An entry of the same code, or of the same name in the class, is changed: its draft, or a revision of what is published.
    Nothing is kept of a workbook that cannot be read as the form, or that marks anything in it as secret.

    Raises NotCompiler, SecrecyMarked, WorkbookTooLarge, NotAWorkbook, WorkbookExpandsTooFar, FormNotFound, FormEmpty,
    ColumnsMissing, ColumnsUnknown, and what `workflow.actions.attach` raises.
    """
    rules.check_may_compile(by, by.organisation)
    if secrecy.is_marked_file_name(file_name):
        refuse_secret_at(_("文件名"), by=by)
    content = file.read(settings.UPLOAD_LIMIT_BYTES + 1)
    if len(content) > settings.UPLOAD_LIMIT_BYTES:
        raise errors.WorkbookTooLarge(limit_mb=settings.UPLOAD_LIMIT_BYTES // 2**20)
    sheets = read_sheets(content)
    marked = _marked_place(content, sheets)
    if marked is not None:
        refuse_secret_at(marked, by=by)
    form = locate(sheets)
    marked = _marked_answer(form)
    if marked is not None:
        refuse_secret_at(marked, by=by)
    if form.unknown:
        raise errors.ColumnsUnknown(columns="、".join(column_letter(place) for place in form.unknown))
    entries, astray, rows_read = group(form)
    if not rows_read:
        raise errors.FormEmpty
    classes = Classes(ClassificationNode.objects.all(), node)
    for entry in entries:
        describe(entry, provider=by.organisation, classes=classes, on=moments.today())
    with transaction.atomic():
        intake = _Intake(by, entries)
        intake.take_all()
        found = [*astray, *(finding for entry in entries for finding in entry.findings)]
        batch = ImportBatch.objects.create(
            organisation=by.organisation,
            imported_by=by,
            imported_at=moments.now(),
            file_name=file_name[-200:],
            digest=suite(settings.CRYPTO_SUITE).digest(content).hex(),
            rows_read=rows_read,
            entries_created=intake.created,
            entries_updated=intake.updated,
            entries_unchanged=intake.unchanged,
            entries_refused=sum(bool(entry.findings) for entry in entries),
            error_count=len(found),
            errors=_written(found, form),
        )
        about = subject(batch)
        stem = file_name.rpartition(".")[0] or file_name
        desk.attach(about, by=by, name=f"{stem}.xlsx", file=io.BytesIO(content))
        trail.record(
            "catalogue.workbook.import",
            by=by.actor,
            about=about,
            rows=rows_read,
            created=batch.entries_created,
            updated=batch.entries_updated,
            refused=batch.entries_refused,
            errors=batch.error_count,
        )
    return batch


class _Intake:
    """Turns entries without findings into drafts; looks up once what the platform already holds."""

    def __init__(self, by: Post, entries: Sequence[Described]) -> None:
        self.by = by
        self.entries = entries
        self.created = self.updated = self.unchanged = 0
        self.taken: dict[int, int] = {}  # entry → first row of this workbook that describes it
        nodes = {entry.node.pk for entry in entries if entry.node is not None}
        named = EntryVersion.objects.filter(
            entry__node__in=nodes,
            entry__withdrawn_at__isnull=True,
            state__in=[*rules.IN_WORK, VersionState.PUBLISHED],
        ).values_list("entry__node_id", "name", "entry_id", "entry__provider_id")
        self.by_name = {(pk, plain_name(name)): (entry, provider) for pk, name, entry, provider in named.iterator()}
        codes = {entry.code for entry in entries if entry.code}
        own = CatalogueEntry.objects.filter(provider=by.organisation, withdrawn_at__isnull=True)
        self.by_code = dict(own.filter(code__in=codes).values_list("code", "pk"))

    def take_all(self) -> None:
        for entry in self.entries:
            if not entry.findings:
                finding = self._take(entry)
                if finding is not None:
                    name = str(finding.details.setdefault("field", "name"))
                    finding.details.setdefault("label", BY_FIELD[name].label)
                    entry.findings.append((entry.first_row, finding))

    def _take(self, entry: Described) -> InvalidInput | None:
        if entry.node is None:
            return errors.ClassMissing(field="class_name")
        held, provider = self.by_name.get((entry.node.pk, entry.plain_name), (None, None))
        if entry.code:
            held_by_code = self.by_code.get(entry.code)
            if held_by_code is None:
                return errors.EntryCodeUnknown(field="code")
            if held is not None and held != held_by_code:
                return errors.NameTaken()
            held = held_by_code
        elif held is not None and provider != self.by.organisation_id:
            return errors.NameTaken()
        if held is None:
            version = compiling.add_entry(by=self.by, node=entry.node, fields=entry.fields, items=entry.items)
            self.by_name[entry.node.pk, entry.plain_name] = (version.entry_id, self.by.organisation_id)
            self.taken[version.entry_id] = entry.first_row
            self.created += 1
            return None
        if held in self.taken:
            return errors.EntryTwice(first_row=self.taken[held] + 1)
        self.taken[held] = entry.first_row
        return self._change(CatalogueEntry.objects.get(pk=held), entry)

    def _change(self, held: CatalogueEntry, entry: Described) -> InvalidInput | None:
        work = queries.version_in_work(held)
        if work is not None and work.state not in rules.WITH_COMPILER:
            return errors.EntryInReview()
        if held.code and entry.node is not None and entry.node.pk != held.node_id:
            return errors.NodeTaken(field="class_name")
        before = work or held.live_version
        if before is None:
            return errors.EntryCodeUnknown(field="code")
        items = _merged(entry.items, described_content.item_values(before.items.order_by("position")))
        same_fields = all(getattr(before, name) == value for name, value in entry.fields.items())
        if same_fields and items == described_content.item_values(before.items.order_by("position")):
            self.unchanged += 1
            return None
        if work is None:
            work = compiling.start_revision(held, by=self.by)
        compiling.change_draft(work, by=self.by, fields=entry.fields, items=items, node=entry.node)
        self.updated += 1
        return None


def _merged(items: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items of the form with what it has no column for (code, key, personal information, …) as it stood."""
    held = {item["name"]: item for item in before}
    return [
        {**held[item["name"]], **{name: item[name] for name in ("name", "data_type", "length", "scale")}}
        if item["name"] in held
        else {
            "is_key": False,
            "is_required": False,
            "personal_information": "none",
            "code_table": "",
            "description": "",
            **item,
            "code": "" if item["code"] in {one["code"] for one in before} else item["code"],
        }
        for item in items
    ]


def _marked_place(content: bytes, sheets: Sequence[Sheet]) -> str | None:
    """Where a workbook marks itself as secret: a sheet's name, a cell, or what stands around the cells."""
    for sheet in sheets:
        if secrecy.is_marked(sheet.name):
            return _("工作表名")
        for row, cells in enumerate(sheet.rows):
            for place, cell in enumerate(cells):
                if isinstance(cell, str) and "密" in cell and secrecy.is_marked(cell):
                    return f"{column_letter(place)}{row + 1}"
    return _("页眉页脚、批注或文件属性") if marked_margin(content) else None


def _marked_answer(form: Form) -> str | None:
    """The first cell that answers yes below a head that asks for the secrecy level."""
    asking = [place for place in form.unknown if secrecy.asks_for_level(form.heads[place])]
    for row in range(form.first_row, len(form.sheet.rows)):
        for place in asking:
            cells = form.sheet.rows[row]
            if place < len(cells) and secrecy.answers_secret(text_of(cells[place])):
                return f"{column_letter(place)}{row + 1}"
    return None


def _written(found: Iterable[tuple[int, InvalidInput]], form: Form) -> list[dict[str, Any]]:
    """The first errors in the order of the sheet, in words and with what another language needs to render them."""
    ordered = sorted(found, key=lambda one: (one[0], form.places.get(column_of(one[1]), 99)))[:ERRORS_KEPT]
    written = []
    with translation.override("zh-hans"):
        for row, finding in ordered:
            field = column_of(finding)
            text = finding.text()
            written.append(
                {
                    "row": row + 1,
                    "column": BY_FIELD[field].label if field in BY_FIELD else str(finding.details.get("label", "")),
                    "cell": form.cell(row, field),
                    "code": finding.code,
                    "message": text.message,
                    "clause": text.clause,
                    "mend": text.mend,
                    "details": {
                        name: value if isinstance(value, int) else str(value) for name, value in finding.details.items()
                    },
                }
            )
    return written
