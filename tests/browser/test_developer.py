"""An application developer, from an approved grant to the first production call, by the pages and what they print alone."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import City, fits, keep_picture

pytestmark = pytest.mark.browser


def test_a_developer_comes_from_the_grant_to_the_first_production_call(
    signed_in: Callable[..., Page], city: City, tmp_path: Path
) -> None:
    page = signed_in("kaifa")
    page.get_by_role("link", name="登记应用").first.click()
    page.get_by_label("应用名称").fill("待遇核验系统")
    page.get_by_role("button", name="登记应用").click()
    expect(page.locator("h1")).to_have_text("待遇核验系统")
    application = page.url

    page.get_by_role("link", name="查询服务", exact=True).first.click()
    page.locator("main table tbody tr a").first.click()
    service = page.url
    page.get_by_label("应用", exact=True).select_option(label="待遇核验系统")
    page.get_by_role("button", name="挂上应用").click()
    expect(page.locator("#applications")).to_contain_text("待遇核验系统")
    keep_picture(page, "developer-service")

    page.goto(application)
    page.get_by_role("link", name="签发密钥").click()
    keep_picture(page, "developer-key-form")
    page.get_by_role("button", name="签发密钥").click()
    facts = page.locator(".panel dd")
    key_id, secret = facts.nth(0).inner_text(), facts.nth(1).inner_text()
    keep_picture(page, "developer-key")
    page.get_by_role("link", name="已存好，回到应用").click()
    keep_picture(page, "developer-application")

    page.goto(service)
    page.get_by_role("link", name="沙箱试用").click()
    keep_picture(page, "developer-try")
    page.locator("form.form select[name=application]").select_option(label="待遇核验系统")
    for _attempt in range(20):  # the gateway hears of the application within seconds
        page.get_by_role("button", name="调用沙箱").click()
        if page.locator("#answer").get_by_text("HTTP 200").count():
            break
        page.wait_for_timeout(500)
    expect(page.locator("#answer")).to_contain_text("HTTP 200")
    keep_picture(page, "developer-tried")
    assert fits(page)

    production = page.locator("#code details").filter(has_text="生产 · curl")
    production.locator("summary").click()
    script = production.locator("pre").inner_text().replace("ak-…", key_id)
    (tmp_path / "secret.txt").write_text(secret)
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True, capture_output=True)
    answer = json.loads(done.stdout)
    assert "rows" in answer, answer


def test_the_try_page_works_without_script(signed_in: Callable[..., Page]) -> None:
    page = signed_in("kaifa", script=False)
    page.goto("/exchange/services")
    page.locator("main table tbody tr a").first.click()
    page.get_by_role("link", name="沙箱试用").click()
    page.get_by_role("button", name="调用沙箱").click()

    expect(page.locator("#answer")).to_contain_text("HTTP 200")


def test_the_provider_sets_a_service(signed_in: Callable[..., Page]) -> None:
    page = signed_in("minxin")
    page.goto("/exchange/services")
    page.locator("main table tbody tr a").first.click()
    page.get_by_role("link", name="服务设置").click()
    keep_picture(page, "developer-settings")
    assert fits(page)
    page.get_by_label("每次返回上限（行）").fill("50")
    page.get_by_role("button", name="保存设置").click()

    expect(page.locator("#settings")).to_contain_text("50行")
