import io
import os
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.conf import LazySettings
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.catalogue import actions, content, errors, workbook
from jinqiao.catalogue.enums import FormatClass, ItemType, SharingMeans, UpdateCycle, VersionState
from jinqiao.catalogue.fields import plain_name
from jinqiao.catalogue.models import CatalogueEntry, EntryVersion, ImportBatch
from jinqiao.catalogue.workbook_form import COLUMNS
from jinqiao.workflow.models import Attachment
from tests.catalogue import workbooks
from tests.catalogue.factories import Cast, make_node, make_published, make_submitted
from tests.catalogue.workbooks import form, item_row, row
from tests.factories import make_post

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _media(tmp_path: Path, settings: LazySettings) -> None:
    settings.MEDIA_ROOT = tmp_path
    make_node()


def take(cast: Cast, file: io.BytesIO, name: str = "目录填报_0315.xlsx", **more: Any) -> ImportBatch:
    return workbook.import_workbook(file, file_name=name, by=cast.operator, **more)


def places(batch: ImportBatch) -> list[tuple[str, str]]:
    return [(error["cell"], error["code"]) for error in batch.errors]


def good(cast: Cast, **cells: Any) -> dict[str, Any]:
    return row(cast.organisation, **cells)


@pytest.mark.skipif(
    "JINQIAO_MATERIAL" not in os.environ, reason="JINQIAO_MATERIAL is not set: the folder of real material"
)
def test_the_form_has_the_columns_of_the_real_one() -> None:
    real = workbooks.material_columns()
    ours = [(column.group, column.label) if column.group else (column.label, "") for column in COLUMNS]
    assert ours == real


def test_rows_become_a_draft_with_its_items(cast: Cast) -> None:
    rows = [
        good(cast),
        item_row("女方姓名"),
        item_row("登记日期", "日期型 D", ""),
        item_row("证件费", "货币型Y", "16,4"),
    ]
    batch = take(cast, form(rows))

    assert (batch.rows_read, batch.entries_created, batch.error_count) == (4, 1, 0)
    version = EntryVersion.objects.get()
    assert version.state == VersionState.DRAFT
    assert version.volume_gb == Decimal("1.25")
    assert version.released_on == date(2026, 3, 2)
    assert [(i.name, i.code, i.data_type, i.length, i.scale) for i in version.items.all()] == [
        ("男方姓名", "NFXM", "C", 60, None),
        ("女方姓名", "NFXM_2", "C", 60, None),
        ("登记日期", "DJRQ", "D", None, None),
        ("证件费", "ZJF", "Y", 16, 4),
    ]
    assert Attachment.objects.get().name == "目录填报_0315.xlsx"
    event = AuditEvent.objects.get(action="catalogue.workbook.import")
    assert event.details["created"] == 1


def test_rows_that_repeat_the_entry_are_one_entry_too(cast: Cast) -> None:
    batch = take(cast, form([good(cast), good(cast, 信息项名称="女方姓名")]))
    assert (batch.entries_created, batch.error_count) == (1, 0)
    assert EntryVersion.objects.get().items.count() == 2


@pytest.mark.parametrize("title", ["", "金昌市政务信息资源目录（2026年）"])
def test_a_title_above_and_a_running_number_beside_do_not_matter(cast: Cast, title: str) -> None:
    assert take(cast, form([good(cast)], title=title)).entries_created == 1
    flat = ["序号", *reversed(workbooks.LABELS)]
    again = form([good(cast, 信息资源名称="收养登记信息", 序号=1)], labels=flat, title=title)
    assert take(cast, again).entries_created == 1


def test_every_fault_is_named_by_row_and_column_with_clause_and_mend(cast: Cast) -> None:
    rows = [
        good(cast, 信息资源格式分类="电子文件", 信息资源格式类型="mp4", 共享方式类型="文件"),
        good(cast, 信息资源名称="低保信息", 共享条件=""),
        good(cast, 信息资源名称="举报信息", 共享类型="不予共享", 共享条件="内部规定"),
        good(cast, 信息资源名称="婚姻登记系统"),
        good(cast, 信息资源名称="救助信息", 数据类型="文本"),
        good(cast, 信息资源名称="殡葬信息", 发布日期="2026-13-02"),
        good(cast, 信息资源名称="养老信息", 资源提供方代码="11620321MB0A12345X"),
        good(cast, 信息资源名称="区划信息", **{"数据存储总量（G）": "12G", "已共享的数据存储量（G）": ""}),
        good(cast, 信息资源名称="志愿信息", 关联及类目名称="没有这个类"),
        good(cast, 信息资源名称="慈善信息", 是否向社会开放="可以", 更新周期="常常"),
        good(cast, 信息资源名称="彩票信息", 信息资源提供方="别的局", 数据长度="很长", 发布日期="2027-01-01"),
    ]
    batch = take(cast, form(rows))

    assert places(batch) == [
        ("H4", "catalogue.format.mismatch"),
        ("T5", "catalogue.sharing.condition_missing"),
        ("T6", "catalogue.sharing.basis_not_law"),
        ("A7", "catalogue.name.is_system"),
        ("Q8", "catalogue.field.not_in_list"),
        ("Z9", "catalogue.field.not_a_date"),
        ("E10", "workbook.provider.code_differs"),
        ("J11", "catalogue.field.not_a_number"),
        ("L11", "catalogue.field.missing"),
        ("AA12", "workbook.class.unknown"),
        ("W13", "catalogue.field.not_in_list"),
        ("Y13", "catalogue.field.not_in_list"),
        ("C14", "workbook.provider.not_own"),
        ("R14", "catalogue.items.length_malformed"),
        ("Z14", "catalogue.field.date_in_future"),
    ]
    assert (batch.entries_created, batch.entries_refused) == (0, 11)
    second = batch.errors[1]
    assert (second["row"], second["column"]) == (5, "共享条件")
    assert second["message"] == "有条件共享须写明条件。"
    assert second["clause"] == "《政务数据共享条例》第十五条"
    assert "写明使用用途和范围" in second["mend"]
    assert cast.organisation.credit_code in batch.errors[6]["mend"]


def test_good_entries_are_taken_and_all_rows_of_a_bad_one_left(cast: Cast) -> None:
    rows = [
        good(cast), item_row("女方姓名"),
        good(cast, 信息资源名称="收养登记信息"), item_row("被收养人", "文本"), item_row("收养人"),
        good(cast, 信息资源名称="社会组织登记信息"),
    ]  # fmt: skip
    batch = take(cast, form(rows))

    assert (batch.rows_read, batch.entries_created, batch.entries_refused) == (6, 2, 1)
    assert places(batch) == [("Q7", "catalogue.field.not_in_list")]
    assert set(EntryVersion.objects.values_list("name", flat=True)) == {"婚姻登记信息", "社会组织登记信息"}


def test_rows_of_one_entry_must_agree(cast: Cast) -> None:
    batch = take(cast, form([good(cast), good(cast, 信息项名称="女方姓名", 更新周期="每月")]))
    assert places(batch) == [("Y5", "workbook.row.differs")]
    assert "第4行" in batch.errors[0]["message"]


def test_the_same_entry_at_two_places_is_named(cast: Cast) -> None:
    batch = take(cast, form([good(cast), good(cast, 信息资源名称="收养登记信息"), good(cast)]))
    assert places(batch) == [("A6", "workbook.entry.twice")]
    assert batch.entries_created == 2


def test_a_row_that_belongs_to_no_entry_is_named(cast: Cast) -> None:
    assert places(take(cast, form([item_row("女方姓名")]))) == [("A4", "workbook.row.without_entry")]


def test_the_class_may_be_chosen_at_upload_or_named(cast: Cast) -> None:
    node = make_node("3070110404", "白银市")
    batch = take(cast, form([good(cast, 关联及类目名称="")]), node=node)
    assert batch.entries_created == 1
    assert CatalogueEntry.objects.get().node == node
    assert (
        take(cast, form([good(cast, 信息资源名称="收养登记信息", 关联及类目名称="")])).errors[0]["code"]
        == "workbook.class.missing"
    )
    assert take(cast, form([good(cast, 信息资源名称="收养登记信息", 关联及类目名称="金昌市")])).entries_created == 1
    related = "3070110403 金昌市；关联：3070110404/1、3070110404/2"
    assert take(cast, form([good(cast, 信息资源名称="救助信息", 关联及类目名称=related)])).entries_created == 1
    assert EntryVersion.objects.get(name="救助信息").related_codes == "3070110404/1、3070110404/2"


def test_an_entry_that_exists_is_changed_not_doubled(cast: Cast) -> None:
    take(cast, form([good(cast), item_row("女方姓名")]))
    version = EntryVersion.objects.get()
    items = content.item_values(version.items.all())
    items[0] |= {"code": "NAN_XM", "personal_information": "ordinary", "is_key": True}
    actions.save_draft(version, by=cast.operator, fields={"data_class": "民政", "data_level": "2"}, items=items)

    assert take(cast, form([good(cast), item_row("女方姓名")])).entries_unchanged == 1
    batch = take(cast, form([good(cast, 更新周期="每周"), item_row("登记机关")]))

    assert (batch.entries_created, batch.entries_updated) == (0, 1)
    version = EntryVersion.objects.get()
    assert (version.update_cycle, version.data_class) == (UpdateCycle.WEEKLY, "民政")
    first, second = version.items.all()
    assert (first.code, first.personal_information, first.is_key) == ("NAN_XM", "ordinary", True)
    assert second.name == "登记机关"


def test_a_published_entry_gets_a_revision_by_its_code(cast: Cast) -> None:
    entry = make_published(cast, name="企业注册登记信息")
    batch = take(cast, form([good(cast, 信息资源代码=entry.code, 信息资源名称="企业登记信息")]))

    assert (batch.entries_updated, batch.error_count) == (1, 0)
    entry.refresh_from_db()
    assert entry.live_version is not None
    assert entry.live_version.name == "企业注册登记信息"
    assert entry.versions.get(state=VersionState.DRAFT).name == "企业登记信息"
    assert (
        take(cast, form([good(cast, 信息资源代码="3070110403/999")])).errors[0]["code"] == "workbook.entry.code_unknown"
    )


def test_an_entry_under_review_is_not_touched(cast: Cast) -> None:
    make_submitted(cast, name="婚姻登记信息")
    assert places(take(cast, form([good(cast)]))) == [("A4", "workbook.entry.in_review")]


@pytest.mark.parametrize(
    ("cells", "margin", "name"),
    [
        ({"信息资源摘要": "机密★10年 名单"}, "", "目录.xlsx"),
        ({"信息项名称": "秘密"}, "", "目录.xlsx"),
        ({}, "内部资料 绝密", "目录.xlsx"),
        ({}, "", "目录（机密）.xlsx"),
    ],
)
def test_a_marked_workbook_is_refused_whole(cast: Cast, cells: dict[str, Any], margin: str, name: str) -> None:
    rows = [good(cast, 信息资源名称="收养登记信息"), good(cast, **cells)]
    with pytest.raises(errors.SecrecyMarked):
        take(cast, form(rows, margin=margin), name)

    assert CatalogueEntry.objects.count() == ImportBatch.objects.count() == Attachment.objects.count() == 0
    event = AuditEvent.objects.get(outcome="refused")
    assert event.action == "catalogue.secrecy.refuse"
    assert "名单" not in str(event.details)
    assert name not in str(event.details)


def test_a_yes_below_a_column_for_the_secrecy_level_is_refused(cast: Cast) -> None:
    labels = [*workbooks.LABELS, "是否涉密"]
    with pytest.raises(errors.SecrecyMarked):
        take(cast, form([good(cast, 是否涉密="是")], labels=labels))
    with pytest.raises(errors.ColumnsUnknown):
        take(cast, form([good(cast, 是否涉密="否")], labels=labels))


def test_saying_that_it_is_no_secret_is_fine(cast: Cast) -> None:
    assert take(cast, form([good(cast, 信息资源摘要="非涉密；经保密风险评估不涉及国家秘密。")])).entries_created == 1


def test_wrong_columns_are_named(cast: Cast) -> None:
    labels = [label for label in workbooks.LABELS if label not in ("数据类型", "更新周期")]
    with pytest.raises(errors.ColumnsMissing) as caught:
        take(cast, form([good(cast)], labels=labels))
    assert caught.value.details["columns"] == "数据类型、更新周期"
    with pytest.raises(errors.ColumnsUnknown) as unknown:
        take(cast, form([good(cast, 备注="x")], labels=[*workbooks.LABELS, "备注"]))
    assert unknown.value.details["columns"] == "AB"
    with pytest.raises(errors.FormNotFound):
        take(cast, form([{"甲": 1}], labels=["甲", "乙"]))
    with pytest.raises(errors.FormEmpty):
        take(cast, form([]))


def test_ten_thousand_bad_rows_are_counted_and_the_first_kept(cast: Cast) -> None:
    rows = [good(cast, 信息资源名称=f"信息{number}", 更新周期="常常") for number in range(10_000)]
    file = form(rows)
    started = time.perf_counter()
    batch = take(cast, file)

    assert (batch.rows_read, batch.error_count, len(batch.errors)) == (10_000, 10_000, 2_000)
    assert batch.errors[-1]["cell"] == "Y2003"
    assert time.perf_counter() - started < 60


def test_the_annotated_copy_marks_wrong_cells_and_can_be_handed_in_again(cast: Cast) -> None:
    batch = take(cast, form([good(cast, 更新周期="常常", 共享条件="")]))
    copy = workbook.annotated(batch)

    book = openpyxl.load_workbook(io.BytesIO(copy))
    cell = book.worksheets[0]["Y4"]
    assert "不在列表里" in cell.comment.text
    assert cell.fill.fgColor.rgb.endswith("F9D9D3")
    assert book.worksheets[0]["T4"].comment is not None
    assert [one.value for one in book.worksheets[1]["A"]] == ["位置", "T4", "Y4"]
    again = take(cast, io.BytesIO(copy))
    assert [error["cell"] for error in again.errors] == ["T4", "Y4"]


def test_the_empty_form_is_taken_as_a_form(cast: Cast) -> None:
    with pytest.raises(errors.FormEmpty):
        take(cast, io.BytesIO(workbook.template()))


def test_only_compilers_hand_in_workbooks(cast: Cast) -> None:
    with pytest.raises(errors.NotCompiler):
        workbook.import_workbook(form([good(cast)]), file_name="a.xlsx", by=make_post(Role.AUDITOR, cast.organisation))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''=1", "'普通", '=HYPERLINK("x")'])
def test_formulas_are_neutralised_on_the_way_out_and_come_back_as_they_were(cast: Cast, text: str) -> None:
    batch = take(cast, form([good(cast)]))
    version = EntryVersion.objects.get()
    assert batch.entries_created == 1
    actions.save_draft(version, by=cast.operator, fields={"provider_section": text})

    exported = workbook.export_entries(EntryVersion.objects.all())
    cell = openpyxl.load_workbook(io.BytesIO(exported)).worksheets[0]["D4"]
    assert cell.data_type == "s"
    assert not cell.value.startswith(("=", "+", "-", "@"))
    assert take(cast, io.BytesIO(exported)).entries_unchanged == 1


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20).filter(
    lambda text: "密" not in text
)
_LINE = st.text("登记信息户籍=+-@'\"&<>,;1aZ", min_size=1, max_size=30)
_VOLUME = st.decimals(0, 99_999, places=3)


@st.composite
def _entries(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    fields = {
        "name": "信" + draw(_TEXT) + "息",
        "abstract": draw(_LINE),
        "provider_section": draw(st.one_of(st.just(""), _LINE)),
        "format_class": FormatClass.SELF_DESCRIBING,
        "format_type": draw(_LINE),
        "format_note": draw(_LINE),
        "sharing_category": draw(st.sampled_from(["1", "2"])),
        "sharing_condition": draw(_LINE),
        "means_class": "platform",
        "means": draw(st.sampled_from([SharingMeans.FILE, SharingMeans.INTERFACE])),
        "is_open": draw(st.booleans()),
        "open_condition": draw(st.one_of(st.just(""), _LINE)),
        "update_cycle": draw(st.sampled_from(UpdateCycle)),
        "released_on": draw(st.dates(date(2000, 1, 1), date(2026, 3, 18))),
        **{name: draw(_VOLUME) for name in ("volume_gb", "shared_volume_gb", "open_volume_gb")},
        **{name: draw(_VOLUME) for name in ("records_10k", "shared_records_10k", "open_records_10k")},
    }
    names = draw(st.lists(st.text("甲乙丙丁=a1", min_size=1, max_size=6), unique=True, min_size=1, max_size=5))
    items = []
    for name in names:
        length = draw(st.integers(1, 4000))
        scale = draw(st.one_of(st.none(), st.integers(0, min(length, 30))))
        items.append({"name": name, "data_type": draw(st.sampled_from(ItemType)), "length": length, "scale": scale})
    return fields, items


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_entries(), min_size=1, max_size=4, unique_by=lambda one: plain_name(one[0]["name"])))
def test_what_goes_out_comes_back_the_same(
    cast: Cast, entries: list[tuple[dict[str, Any], list[dict[str, Any]]]]
) -> None:
    with transaction.atomic():
        versions = [
            actions.create_entry(by=cast.operator, node=make_node(), fields=fields, items=items)
            for fields, items in entries
        ]
        exported = workbook.export_entries(EntryVersion.objects.filter(pk__in=[version.pk for version in versions]))
        before = [(content.values_of(v), content.item_values(v.items.all())) for v in versions]
        same = take(cast, io.BytesIO(exported))
        CatalogueEntry.objects.filter(versions__in=versions).delete()

        batch = take(cast, io.BytesIO(exported))

        after = [
            (content.values_of(v), content.item_values(v.items.all()))
            for v in EntryVersion.objects.filter(entry__withdrawn_at=None).order_by("id")
        ]
        transaction.set_rollback(True)
    assert (batch.errors, batch.entries_created) == ([], len(versions))
    assert same.entries_unchanged == len(versions)
    for (fields, items), (fields_after, items_after) in zip(before, after, strict=True):
        assert fields_after == fields
        assert [{k: item[k] for k in ("name", "data_type", "length", "scale")} for item in items_after] == [
            {k: item[k] for k in ("name", "data_type", "length", "scale")} for item in items
        ]
