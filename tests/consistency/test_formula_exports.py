"""No export makes a formula of what people wrote: every list and form that goes out as a workbook, with every text poisoned.

The texts are poisoned behind the actions' backs, column by column, so that a new column of free text is poisoned as well.
"""

import io
import itertools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.apps import apps
from django.core.files.base import ContentFile
from django.db import connection, models
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Section
from jinqiao.audit import trail
from jinqiao.catalogue import workbook
from jinqiao.catalogue.models import ImportBatch
from jinqiao.exchange import actions
from jinqiao.exchange.enums import AlertKind, ChannelKind
from jinqiao.exchange.models import Alert
from jinqiao.kernel import moments
from jinqiao.workflow import actions as workflow
from tests.catalogue import workbooks
from tests.catalogue.factories import Cast, make_cast, make_draft, make_node, make_published
from tests.consistency.test_access import PAGES
from tests.exchange.factories import Served, call_record, evidence_batches, make_served
from tests.factories import make_post
from tests.sharing.factories import make_request
from tests.web.conftest import enter as enter

pytestmark = pytest.mark.django_db

SIGNS = ("=", "+", "-", "@")
FREE_TEXT = {
    "name", "short_name", "title", "scenario", "basis", "scope", "row_scope", "abstract", "sharing_condition", "reason",
    "opinion", "case_number", "purpose", "end_user", "file_name", "notice", "note", "actor_name", "organisation_name",
    "subject_label", "provider_section", "comment", "format_other", "open_condition", "data_class", "about_label", "label",
}  # fmt: skip
"""Columns that hold what people wrote. Codes, numbers and states keep their form by rules of their own."""

NOTHING_TO_POISON = {
    "catalogue:template",
    "catalogue:import_result",  # words of the platform; what was handed in stands within them
    "dashboard_rows late",  # no row here
    "dashboard_rows unused",
    "exchange:anomalies",
    "exchange:packs",  # gateways and periods alone
    "exchange:samples",
    "exchange:samplings",
    "exchange:unused",
}
FORMS = ("catalogue:export", "catalogue:entry_workbook", "catalogue:import_annotated")


@pytest.fixture
def world(settings: Any, tmp_path: Path) -> tuple[Served, Cast]:
    """A row in every list."""
    settings.RELAY_ROOT = tmp_path / "relay"
    settings.MEDIA_ROOT = tmp_path / "media"
    served = make_served()
    served.world.finished()
    (batch,) = evidence_batches([call_record(served, 1)])
    actions.accept_evidence(served.gateway.node, batch)
    make_node()
    for post in (served.world.provider_admin, served.world.parties.bureau):
        actions.add_alert_channel(by=post, kind=ChannelKind.MAIL, address="alerts@jinchang.example")
        Alert.objects.create(
            kind=AlertKind.NODE_SILENT,
            key=f"node:{post.pk}",
            organisation=post.organisation,
            node=served.gateway.node,
            opened_at=moments.now(),
        )
    cast = make_cast("金昌市市场监督管理局")
    make_published(cast)
    make_draft(cast)
    make_request(served.world.parties)
    Section.objects.create(organisation=cast.organisation, name="登记科")
    bad = workbooks.form([workbooks.row(cast.organisation, 更新周期="=1+1", 共享条件="")])
    workbook.import_workbook(ContentFile(bad.getvalue()), file_name="目录.xlsx", by=cast.operator)
    for post in (served.world.parties.bureau, served.world.parties.clerk, cast.operator, cast.bureau):
        workflow.open_todo(
            kind="sharing.request.decide",
            title="答复",
            organisation=post.organisation,
            role=post.role,
            about=trail.subject(cast.organisation),
        )
    return served, cast


def poison() -> set[str]:
    """Let every free text begin with a sign that spreadsheets take for a formula, the signs in turn; the columns reached."""
    reached = set()
    signs = itertools.cycle(SIGNS)
    for model in apps.get_models():
        if not model._meta.label.startswith(
            ("accounts.", "audit.", "catalogue.", "exchange.", "sharing.", "workflow.")
        ):
            continue
        for column in model._meta.concrete_fields:
            if column.name not in FREE_TEXT or not isinstance(column, models.CharField | models.TextField):
                continue
            if column.choices or column.unique:
                continue
            words, table = connection.ops.quote_name(column.column), connection.ops.quote_name(model._meta.db_table)
            width = column.max_length or 1000
            with connection.cursor() as cursor:  # beneath the models, some of which never change
                cursor.execute(
                    f"UPDATE {table} SET {words} = substr(%s || {words}, 1, {width}) WHERE {words} <> ''",
                    [f"{next(signs)}HYPERLINK(1)"],
                )
                if cursor.rowcount > 0:
                    reached.add(f"{model._meta.label}.{column.name}")
    return reached


def lists() -> Iterator[tuple[str, str]]:
    for route, name, entry in PAGES:
        if not set("<(") & set(route) and entry.callback.access != "public":
            yield name, reverse(name)
    for figure in ("sources", "entries", "requests", "late", "grants", "unused", "runs", "calls"):
        yield f"dashboard_rows {figure}", reverse("dashboard_rows", args=[figure])


def workbook_of(response: Any) -> bytes:
    data = b"".join(response.streaming_content) if response.streaming else response.content
    assert data.startswith(b"PK")
    return data


def cells(data: bytes) -> list[Any]:
    return [
        cell
        for sheet in openpyxl.load_workbook(io.BytesIO(data)).worksheets
        for row in sheet.iter_rows()
        for cell in row
        if cell.value is not None
    ]


def check(data: bytes, where: str) -> int:
    """How many poisoned texts went out harmlessly."""
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        for part in parts.namelist():
            assert b"<f>" not in parts.read(part), (where, part)
    found = cells(data)
    for cell in found:
        assert cell.data_type != "f", (where, cell.coordinate)
        if isinstance(cell.value, str) and cell.value not in SIGNS:
            assert not cell.value.startswith((*SIGNS, "\t", "\r")), (where, cell.coordinate, cell.value[:20])
    return sum(isinstance(cell.value, str) and cell.value.startswith("'") for cell in found)


def test_no_list_and_no_form_goes_out_with_a_formula(enter: Any, world: tuple[Served, Cast]) -> None:
    served, cast = world
    reached = poison()
    assert len(reached) > 20, sorted(reached)
    batch = ImportBatch.objects.get()
    parties = served.world.parties
    posts = [
        parties.bureau,
        parties.clerk,
        parties.asker,
        cast.operator,
        served.world.provider_admin,
        *(
            make_post(role)
            for role in (Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR, Role.AUDIT_ADMINISTRATOR)
        ),
        make_post(Role.AUDITOR),
    ]
    exported: dict[str, int] = {}
    for post in posts:
        client = enter(post)
        addresses = [(name, f"{address}?export=xlsx") for name, address in lists()]
        addresses.append(
            ("catalogue:import_result", reverse("catalogue:import_result", args=[batch.pk]) + "?export=xlsx")
        )
        addresses.append(("catalogue:import_annotated", reverse("catalogue:import_annotated", args=[batch.pk])))
        addresses.append(("catalogue:entry_workbook", reverse("catalogue:entry_workbook", args=[parties.entry.pk])))
        for name, address in addresses:
            response = client.get(address)
            assert response.status_code < 500, (name, post.role)
            kind = response.headers.get("Content-Type", "")
            if response.status_code == 200 and "spreadsheetml" in kind:
                exported[name] = exported.get(name, 0) + check(workbook_of(response), name)
    assert set(FORMS) <= set(exported)
    assert len(exported) >= 30, sorted(exported)
    assert {name for name, count in exported.items() if not count} == NOTHING_TO_POISON
