"""An exchange, watched by the administrator who started it."""

from collections.abc import Callable
from datetime import datetime

import pytest
from playwright.sync_api import Page, expect

from jinqiao.demo.story import a_working_day_at_the_registry
from jinqiao.kernel.moments import CHINA
from jinqiao.supervisor import DEMO_DATE
from tests.browser.conftest import City, keep_picture

pytestmark = pytest.mark.browser

PATIENCE_MS = 90_000


def test_a_run_is_watched_to_its_end_without_reloading(city: City, signed_in: Callable[..., Page]) -> None:
    at = f"{DEMO_DATE} {datetime.now(CHINA):%H:%M:%S}"
    a_working_day_at_the_registry(city.home / "sources" / "minzheng.db", marriages=30, corrections=5, at=at)
    page = signed_in("renqi")
    asked_again: list[str] = []
    page.on("request", lambda request: asked_again.append(request.url) if "hx-request" in request.headers else None)
    start_a_run(page, "婚姻登记信息")
    expect(page.locator("#run-live")).to_contain_text("自动更新")
    keep_picture(page, "run-begun")
    expect(page.locator(".page-head")).to_contain_text("已对账", timeout=PATIENCE_MS)
    assert asked_again
    check_receipt(page)
    figures = page.locator(".figures")
    expect(figures.locator(".figure", has_text="新增")).to_contain_text("30")
    expect(figures.locator(".figure", has_text="更新")).to_contain_text("5")
    keep_picture(page, "run-reconciled")


def test_a_run_is_followed_without_script_too(signed_in: Callable[..., Page]) -> None:
    page = start_a_run(signed_in("renqi", script=False), "死亡火化登记信息")
    for _look in range(PATIENCE_MS // 1000):
        if page.locator(".page-head").get_by_text("已对账").count():
            break
        page.wait_for_timeout(1000)
        page.reload()
    expect(page.locator(".page-head")).to_contain_text("已对账")
    check_receipt(page)


def test_who_neither_gives_nor_takes_does_not_see_the_run(signed_in: Callable[..., Page]) -> None:
    own = signed_in("renqi")
    own.goto("/exchange/runs")
    address = own.locator("main table tbody th a").first.get_attribute("href")
    assert address
    answer = signed_in("shangli").goto(address)
    assert answer is not None
    assert answer.status == 404


def start_a_run(page: Page, entry: str) -> Page:
    """From the list of tasks to the page of the run just begun."""
    page.get_by_role("link", name="交换任务").first.click()
    page.get_by_role("link", name=entry).click()
    page.get_by_role("button", name="现在运行").click()
    page.wait_for_url("**/exchange/runs/*")
    return page


def check_receipt(page: Page) -> None:
    """Both nodes signed the same digest."""
    receipt = page.locator("#receipt")
    expect(receipt.get_by_text("市民政局前置节点")).to_be_visible()
    expect(receipt.get_by_text("市人社局前置节点")).to_be_visible()
    expect(receipt.get_by_text("有效", exact=False)).to_have_count(2)
