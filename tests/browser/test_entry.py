"""An entry from a department's workbook to the search of others, through the hands of four people."""

import secrets
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook
from playwright.sync_api import FilePayload, Page, expect

from jinqiao.demo.profile import profile
from jinqiao.demo.workbook import workbook
from tests.browser.conftest import keep_picture
from tests.browser.test_request import from_desk, search

pytestmark = pytest.mark.browser

CLASS = "307011040301 金昌市／金昌市民政局"


def test_an_entry_is_compiled_reviewed_signed_published_and_found(signed_in: Callable[..., Page]) -> None:
    name = f"殡葬服务机构信息{secrets.token_hex(2)}"
    minxin = signed_in("minxin")
    minxin.get_by_role("link", name="填报与导入").first.click()
    hand_in(minxin, [entry_named(name)])
    expect(minxin.get_by_text("全部收为草稿")).to_be_visible()
    keep_picture(minxin, "import-good")
    minxin.get_by_role("link", name="看收下的草稿").click()
    minxin.get_by_role("link", name=name).click()
    minxin.get_by_role("link", name="接着改草稿").click()
    minxin.get_by_role("button", name="提交审核").click()
    expect(minxin.locator(".error-summary").first).to_be_visible()
    keep_picture(minxin, "draft-incomplete")
    fill_in_what_the_form_has_no_column_for(minxin)
    minxin.get_by_role("button", name="提交审核").click()
    expect(minxin.get_by_text("已提交，由部门管理员审核")).to_be_visible()
    keep_picture(minxin, "draft-submitted")

    mingang = from_desk(signed_in("mingang"), name)
    keep_picture(mingang, "review-department")
    mingang.get_by_role("button", name="审核通过，送第一责任人签发").click()
    expect(mingang.locator(".page-head")).to_contain_text("待第一责任人签发")

    minsheng = from_desk(signed_in("minsheng"), name)
    expect(minsheng.get_by_label("保密风险评估结论")).to_have_value("不含国家秘密。")
    keep_picture(minsheng, "review-head")
    minsheng.get_by_role("button", name="签发，送主管部门审核").click()
    expect(minsheng.locator(".page-head")).to_contain_text("待主管部门审核")

    jinhai = from_desk(signed_in("jinhai"), name)
    jinhai.get_by_role("button", name="审核通过并发布").click()
    expect(jinhai.get_by_text("已发布，信息资源代码307011040301/")).to_be_visible()
    keep_picture(jinhai, "review-published")

    anning = signed_in("anning")
    for words in (name, "bzfwjg", "binzangfuwu"):
        search(anning, words)
        expect(anning.locator(".results").get_by_role("link", name=name)).to_be_visible()
    keep_picture(anning, "search")
    anning.get_by_role("link", name=name).click()
    expect(anning.locator(".page-head")).to_contain_text("已发布")
    expect(anning.get_by_role("link", name="申请使用")).to_be_visible()


def test_a_workbook_with_errors_comes_back_with_each_at_its_place(
    signed_in: Callable[..., Page], tmp_path: Path
) -> None:
    name = f"养老机构备案信息{secrets.token_hex(2)}"
    without_condition = entry_named(name) | {"category": "2", "condition": ""}
    without_cycle = entry_named(name + "续") | {"cycle": "hourly"}
    minxin = signed_in("minxin")
    minxin.goto("/catalogue/import")
    hand_in(minxin, [without_condition, without_cycle, entry_named(name + "又")], cycles={"hourly": "每小时"})
    expect(minxin.locator(".page-head")).to_contain_text("2处要改")
    errors = minxin.locator("#errors tbody tr")
    expect(errors).to_have_count(2)
    expect(errors.nth(0)).to_contain_text("T4")
    expect(errors.nth(0)).to_contain_text("共享条件")
    expect(errors.nth(1)).to_contain_text("Y6")
    expect(errors.nth(1)).to_contain_text("更新周期")
    keep_picture(minxin, "import-errors")

    with minxin.expect_download() as taken:
        minxin.get_by_role("link", name="下载标注工作簿").click()
    copy = tmp_path / "copy.xlsx"
    taken.value.save_as(copy)
    sheet = load_workbook(copy).worksheets[0]
    for cell in ("T4", "Y6"):
        assert sheet[cell].comment is not None, cell

    sheet["T4"].value = "用于养老服务补贴核验"
    sheet["Y6"].value = "每日"
    mended = BytesIO()
    sheet.parent.save(mended)
    choose(minxin, "改好的.xlsx", mended.getvalue())
    minxin.get_by_role("button", name="上传改好的工作簿").click()
    expect(minxin.get_by_text("全部收为草稿")).to_be_visible()


def entry_named(name: str) -> dict[str, Any]:
    """One entry as the demo's list has them, of two data items."""
    return {
        "key": "new",
        "provider": "mzj",
        "name": name,
        "section": "社会事务科",
        "abstract": "殡仪馆、公墓和骨灰堂的名称、地址和服务项目。",
        "category": "1",
        "condition": "无条件",
        "cycle": "monthly",
        "items": [["机构名称", "jgmc", "C", 100, "k"], ["服务项目", "fwxm", "C", 200, "r"]],
    }


def hand_in(page: Page, entries: list[dict[str, Any]], *, cycles: dict[str, str] | None = None) -> None:
    from jinqiao.demo import workbook as forms

    forms.CYCLES.update(cycles or {})
    choose(page, "目录.xlsx", workbook(entries, profile()["organisations"]["mzj"]))
    page.get_by_label("信息资源分类").select_option(label=CLASS)
    page.get_by_role("button", name="上传并检查").click()


def choose(page: Page, name: str, content: bytes) -> None:
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    page.locator("input[type=file]").set_input_files(FilePayload(name=name, mimeType=kind, buffer=content))
    if page.get_by_label("信息资源分类").count():
        page.get_by_label("信息资源分类").select_option(label=CLASS)


def fill_in_what_the_form_has_no_column_for(page: Page) -> None:
    """Grading and both assessments (条例第十三条), and which item is the key."""
    page.get_by_label("数据分类").fill("公共管理和服务")
    page.get_by_label("数据分级").select_option(label="一级（可公开）")
    page.locator("#id_personal_information").select_option(label="不含个人信息")
    page.get_by_label("已作保密风险评估").check()
    page.get_by_label("保密风险评估结论").fill("不含国家秘密。")
    page.get_by_label("已作个人信息保护影响评估").check()
    page.get_by_label("个人信息保护影响评估结论").fill("不含个人信息，不影响个人权益。")
    page.get_by_role("checkbox", name="是主键").first.check()
