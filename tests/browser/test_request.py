"""A request from the page of an entry to the query service that answers it, through the hands of four people."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import keep_picture

pytestmark = pytest.mark.browser


def test_a_request_becomes_a_grant_and_a_query_service(signed_in: Callable[..., Page]) -> None:
    anning = signed_in("anning")
    search(anning, "hydj")
    anning.get_by_role("link", name="婚姻登记信息").click()
    anning.get_by_role("link", name="申请使用").click()
    for item in ("男方身份证号", "女方姓名", "登记类型", "联系电话"):
        anning.get_by_role("checkbox", name=item).check()
    anning.get_by_label("服务接口").check()
    anning.get_by_label("使用起").fill("2026-03-18")
    anning.get_by_label("使用止").fill("2026-12-31")
    anning.get_by_role("button", name="提交本部门审批").click()
    expect(anning.locator(".error-summary")).to_contain_text("没有写明使用依据")
    expect(anning.locator(".error-summary")).to_contain_text("条例第二十条")
    keep_picture(anning, "request-errors")
    expect(anning.get_by_role("checkbox", name="女方姓名")).to_be_checked()
    anning.get_by_label("使用依据").fill("《社会保险经办条例》第二十条")
    anning.get_by_label("使用场景").fill("遗属待遇申领时核验再婚情况，申领人免交婚姻证明。")
    anning.get_by_label("使用范围").fill("养老保险科经办系统，12名经办人员使用。")
    anning.get_by_label("用途", exact=True).fill("遗属待遇申领核验")
    anning.get_by_role("button", name="提交本部门审批").click()
    expect(anning.get_by_text("已提交本部门负责人审批")).to_be_visible()
    number = found_number(anning)
    expect(anning.locator(".page-head")).to_contain_text("待本方审批")
    keep_picture(anning, "request-submitted")

    renzhong = from_desk(signed_in("renzhong"), number)
    keep_picture(renzhong, "request-before-head")
    renzhong.get_by_role("button", name="批准申请").click()
    expect(renzhong.locator(".page-head")).to_contain_text("待答复")

    minxin = from_desk(signed_in("minxin"), number)
    expect(minxin.get_by_role("radio", name="同意（可只同意一部分数据项）")).to_be_checked()
    minxin.get_by_role("checkbox", name="联系电话").uncheck()
    minxin.get_by_label("女方姓名的遮蔽方式").select_option(label="姓名只留姓")
    minxin.get_by_label("答复意见").fill("用途明确；联系电话与核验无关，不提供。")
    keep_picture(minxin, "reply")
    minxin.get_by_role("button", name="提交答复").click()
    expect(minxin.locator(".page-head")).to_contain_text("待答复审批")

    minsheng = from_desk(signed_in("minsheng"), number)
    expect(minsheng.get_by_role("row", name=re.compile("联系电话"))).to_contain_text("不同意")
    keep_picture(minsheng, "reply-before-head")
    minsheng.get_by_role("button", name="批准答复").click()
    expect(minsheng.locator(".page-head")).to_contain_text("已授权")
    minsheng.get_by_role("link", name="查看授权").click()

    rows = minsheng.locator("main table tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text="女方姓名")).to_contain_text("姓名只留姓")
    expect(minsheng.get_by_text("内容与授权时一致")).to_be_visible()
    keep_picture(minsheng, "grant")
    minsheng.get_by_role("link", name=re.compile(r"^cx-")).click()
    expect(minsheng.get_by_role("heading", level=1)).to_contain_text("婚姻登记信息")

    renqi = signed_in("renqi")
    renqi.goto(minsheng.url)
    application = renqi.get_by_label("应用", exact=True).locator("option", has_text="养老待遇资格核查系统")
    renqi.get_by_label("应用", exact=True).select_option(value=application.get_attribute("value"))
    renqi.get_by_role("button", name="挂上应用").click()
    expect(renqi.locator("#applications table")).to_contain_text("养老待遇资格核查系统")
    expect(renqi.locator(".page-head")).to_contain_text("使用中")
    keep_picture(renqi, "service")


def test_a_request_that_is_someone_elses_business_is_not_shown(signed_in: Callable[..., Page]) -> None:
    shangyu = signed_in("shangyu")
    shangyu.goto("/sharing/requests")
    expect(shangyu.get_by_role("heading", level=1)).to_contain_text("共享申请")
    assert shangyu.get_by_text("SQ-2026-0001").count() == 0
    answer = shangyu.goto("/sharing/requests/1")
    assert answer is not None
    assert answer.status == 404
    keep_picture(shangyu, "not-found")


def search(page: Page, words: str) -> None:
    """By the box in the masthead."""
    box = page.get_by_role("searchbox", name="目录检索")
    box.fill(words)
    box.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("目录检索")


def found_number(page: Page) -> str:
    found = re.search(r"SQ-2026-\d{4}", page.locator(".page-head").inner_text())
    assert found is not None
    return found[0]


def from_desk(page: Page, words: str) -> Page:
    """What waits on the desk is opened by its title."""
    page.goto("/desk")
    page.locator(".todo").get_by_role("link", name=re.compile(words)).first.click()
    expect(page.locator(".page-head")).to_contain_text(words)
    return page
