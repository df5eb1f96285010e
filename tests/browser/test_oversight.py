"""Oversight by the pages alone: the auditor follows a figure to its calls, and an anomaly to its figures."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from jinqiao.dataplane.verify import main as verify
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


def test_the_auditor_proves_a_call_and_a_period_with_downloads_alone(
    signed_in: Callable[..., Page], tmp_path: Path
) -> None:
    page = signed_in("shenji")
    page.get_by_role("link", name="调用监督").first.click()
    page.locator("tbody th a").last.click()
    assert fits(page)
    keep_picture(page, "call")
    assert verify([saved(page, "导出证明", tmp_path / "proof.json")]) == 0

    page.get_by_role("link", name="调用监督").first.click()
    page.get_by_role("link", name="存证包").click()
    page.get_by_role("link", name="导出存证").click()
    assert fits(page)
    keep_picture(page, "pack_new")
    page.get_by_label("首日").fill("2026-01-01")
    page.get_by_role("button", name="导出存证").click()
    expect(page.locator("#packs-live")).to_contain_text("可下载")
    assert fits(page)
    keep_picture(page, "packs")
    pack = saved(page, "下载", tmp_path / "pack.zip")
    assert verify([pack]) in (0, 3)  # points may be open, e.g. an anchor that waits for its witness
    assert b"PK" in Path(pack).read_bytes()[:2]


def saved(page: Page, button: str, to: Path) -> str:
    """The file that a button gives."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button).first.click()
    download.value.save_as(to)
    return str(to)
