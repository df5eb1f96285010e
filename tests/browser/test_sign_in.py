"""Who may come in, as whom, in which language; what is refused is written down."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import City, keep_picture, sign_in

pytestmark = pytest.mark.browser
Window = Callable[..., Page]


def heading(page: Page, words: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_contain_text(words)


def test_a_wrong_password_is_refused_without_saying_what_was_wrong(window: Window) -> None:
    page = window()
    page.goto("/login")
    sign_in(page, "anning", "not-the-password")
    expect(page.get_by_role("alert")).to_contain_text("账号或口令不对")
    keep_picture(page, "login-wrong")
    page.goto("/desk")
    heading(page, "登录")


def test_five_wrong_passwords_lock_the_account_until_the_security_administrator_unlocks_it(
    city: City, window: Window, signed_in: Window
) -> None:
    page = window()
    for _attempt in range(5):
        page.goto("/login")
        sign_in(page, "chuangkou", "guess-after-guess")
    heading(page, "锁定")
    keep_picture(page, "login-locked")
    page.goto("/login")
    sign_in(page, "chuangkou", city.password)
    heading(page, "锁定")

    anquan = signed_in("anquan")
    open_person(anquan, "楚蔻")
    expect(anquan.get_by_text(re.compile(r"连续输错口令\d+次"))).to_be_visible()
    keep_picture(anquan, "person-locked")
    anquan.get_by_role("button", name="解除锁定").click()
    expect(anquan.get_by_text("连续输错口令")).to_have_count(0)

    page.goto("/login")
    sign_in(page, "chuangkou", city.password)
    expect(page).not_to_have_url(re.compile("/login"))


def test_a_reset_password_works_once_and_must_be_changed(city: City, window: Window, signed_in: Window) -> None:
    xitong = signed_in("xitong")
    open_person(xitong, "法琦")
    xitong.get_by_role("link", name="重置口令").click()
    xitong.get_by_role("button", name="重置口令").click()
    initial = xitong.locator("dd.code").nth(1).inner_text()

    page = window()
    page.goto("/login")
    sign_in(page, "faqi", city.password)
    expect(page.get_by_role("alert")).to_contain_text("账号或口令不对")
    sign_in(page, "faqi", initial)
    heading(page, "修改口令")
    page.goto("/desk/done")
    heading(page, "修改口令")  # nothing else opens before

    change_password(page, initial, "12345678901")
    expect(page.locator(".error-summary")).to_be_focused()
    keep_picture(page, "password-refused")
    change_password(page, initial, "jinchuan-river-2049")
    expect(page.get_by_text("口令已修改")).to_be_visible()
    leave(page)
    sign_in(page, "faqi", "jinchuan-river-2049")
    expect(page).not_to_have_url(re.compile("/login"))


def test_one_person_acts_in_one_post_at_a_time(signed_in: Window) -> None:
    page = signed_in("gongping")
    menu = page.locator("details.switch")
    expect(menu.locator("summary")).to_contain_text("市公安局，部门操作员")
    menu.locator("summary").click()
    menu.get_by_role("button", name="县级操作员").click()
    expect(menu.locator("summary")).to_contain_text("金川区政府，县级操作员")
    menu.locator("summary").click()
    page.keyboard.press("Escape")
    expect(menu.get_by_role("button", name="部门操作员")).to_be_hidden()
    menu.locator("summary").click()
    menu.get_by_role("button", name="部门操作员").click()
    expect(menu.locator("summary")).to_contain_text("市公安局，部门操作员")


def test_the_language_switches_and_is_remembered_by_the_account(city: City, window: Window, signed_in: Window) -> None:
    page = signed_in("yongchang")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    keep_picture(page, "desk-english")
    again = window()
    again.goto("/login")
    sign_in(again, "yongchang", city.password)
    expect(again.locator("html")).to_have_attribute("lang", "en")
    again.get_by_role("button", name="中文").click()
    expect(again.locator("html")).to_have_attribute("lang", re.compile("zh"))
    heading(again, "待办")


def test_what_is_not_ones_right_is_refused_and_stands_in_the_trail(signed_in: Window) -> None:
    page = signed_in("shangyu")
    answer = page.goto("/audit/events")
    assert answer is not None
    assert answer.status == 403
    fault = page.locator(".fault")
    expect(fault.locator(".code")).to_have_text("access.not_allowed")
    number = found_number(fault.inner_text())
    keep_picture(page, "refused")

    rizhi = signed_in("rizhi")
    heading(rizhi, "日志")
    rizhi.get_by_label("行为人").fill("尚瑜")
    rizhi.get_by_label("结果").select_option(label="已拒绝")
    rizhi.get_by_role("button", name="筛选").click()
    keep_picture(rizhi, "trail")
    rizhi.locator("table tbody tr").first.get_by_role("link").click()
    expect(rizhi.get_by_text(number)).to_be_visible()
    expect(rizhi.get_by_text("摘要与内容一致")).to_be_visible()
    keep_picture(rizhi, "trail-event")


def test_the_auditor_sees_conduct_and_no_content(signed_in: Window) -> None:
    page = signed_in("shenji")
    heading(page, "日志")
    names = page.locator(".sidenav nav").first.get_by_role("link").all_inner_texts()
    assert "共享申请" in names
    assert "人员与岗位" not in names
    page.get_by_role("link", name="调用监督").first.click()
    expect(page.locator("table tbody tr").filter(has_text="养老待遇资格核查").first).to_be_visible()
    keep_picture(page, "calls")
    # the case is named; whom it is about and what was answered is not
    assert not re.search(
        r"\d{6}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])\d{5}[\dX]", page.content()
    )  # of a person, no credit code
    page.goto("/exchange/sources")
    assert page.locator("a:has-text('登记数据源')").count() == 0


def open_person(page: Page, name: str) -> None:
    page.goto("/admin/people")
    page.get_by_role("link", name=name).click()
    heading(page, name)


def change_password(page: Page, old: str, new: str) -> None:
    page.get_by_label("现口令").fill(old)
    page.get_by_label("新口令", exact=True).fill(new)
    page.get_by_label("再输一遍新口令").fill(new)
    page.get_by_role("button", name="修改口令").click()


def leave(page: Page) -> None:
    page.locator("details.switch summary").click()
    page.get_by_role("button", name="退出登录").click()
    heading(page, "登录")


def found_number(text: str) -> str:
    found = re.search(r"编号([0-9A-F]{8})", text)
    assert found is not None
    return found[1]
