"""Oversight by the pages alone: the auditor follows a figure to its calls, and an anomaly to its figures."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import fits, keep_picture

pytestmark = pytest.mark.browser


def test_the_auditor_follows_a_figure_to_its_calls_and_an_anomaly_to_its_figures(
    signed_in: Callable[..., Page],
) -> None:
    page = signed_in("shenji")
    page.get_by_role("link", name="调用监督").first.click()
    page.get_by_role("link", name="调用统计").click()
    row = page.locator("#by tbody tr").first
    count = row.locator("td a").first
    wanted = count.inner_text()
    assert fits(page)
    count.click()
    expect(page.locator(".page-head")).to_contain_text(f"共{wanted}次调用")
    page.get_by_role("link", name="调用异常").click()
    page.locator("tbody th a").first.click()
    expect(page.locator("#figures")).to_contain_text("阈值")
    expect(page.get_by_role("button", name="提交处理结果")).to_have_count(0)
    assert fits(page)
    keep_picture(page, "anomaly")
