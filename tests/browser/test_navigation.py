"""Every page that somebody's navigation offers opens, breaks nothing, and fits its window."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NARROW, WIDE, fits, keep_picture

pytestmark = pytest.mark.browser

WHO = {
    "anning": "data officer",
    "mingang": "department administrator",
    "minsheng": "head",
    "jinhai": "bureau",
    "lingdao": "leader",
    "shenji": "auditor",
    "kaifa": "developer",
    "jinchuan": "county clerk",
    "xitong": "system administrator",
    "anquan": "security administrator",
    "rizhi": "audit administrator",
}


@pytest.mark.parametrize("username", WHO, ids=WHO.values())
def test_all_that_the_navigation_offers_opens_and_fits(signed_in: Callable[..., Page], username: str) -> None:
    walk_the_navigation(signed_in(username), username)


def test_english_pages_fit_as_well(signed_in: Callable[..., Page]) -> None:
    page = signed_in("gongzhi")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    walk_the_navigation(page, "english")


def test_the_first_rows_of_the_lists_open_and_fit(signed_in: Callable[..., Page]) -> None:
    page = signed_in("jinhai")
    for address in (
        "/catalogue/", "/sharing/requests", "/sharing/grants", "/exchange/tasks", "/exchange/runs", "/exchange/services",
        "/exchange/nodes", "/exchange/sources", "/exchange/bindings", "/admin/organisations", "/admin/applications",
    ):  # fmt: skip
        page.goto(address)
        row = page.locator("main table tbody th a, main .results h3 a, main .tree a").first
        assert row.count(), f"nothing to open at {address}"
        row.click()
        expect(page.locator("h1")).to_have_count(1)
        expect(page.locator(".fault")).to_have_count(0)
        for width in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": 900})
            assert fits(page), f"{page.url} at {width} px"
        page.set_viewport_size({"width": WIDE, "height": 900})
        keep_picture(page, f"first-of{address.rstrip('/').replace('/', '-')}")


def test_the_menu_unfolds_on_a_narrow_screen(signed_in: Callable[..., Page]) -> None:
    page = signed_in("anning", width=NARROW)
    menu = page.locator("details.navfold")
    expect(menu.get_by_role("link", name="目录检索")).to_be_hidden()
    menu.locator("summary").click()
    menu.get_by_role("link", name="目录检索").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("目录检索")
    expect(menu.locator("summary")).to_contain_text("目录检索")


def walk_the_navigation(page: Page, who: str) -> None:
    addresses = page.locator(".sidenav > nav a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert addresses
    for address in addresses:
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, address
        expect(page.locator("h1")).to_have_count(1)
        for width in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": 900})
            assert fits(page), f"{address} at {width} px"
        page.set_viewport_size({"width": WIDE, "height": 900})
        keep_picture(page, f"{who}{address.rstrip('/').replace('/', '-')}")
