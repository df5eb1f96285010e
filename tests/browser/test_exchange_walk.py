"""From a machine without a node to a daily exchange, by the pages alone; then the source is changed, and its failure is mended."""

import re
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import fits, keep_picture
from tests.browser.test_request import found_number, from_desk, search
from tests.machines import machine as machine

pytestmark = pytest.mark.browser

ENTRY = "最低生活保障对象信息"
COLUMNS = {"家庭编号": "jtbh", "户主姓名": "hzxm", "户主身份证号": "hzsfzh", "月保障金额": "ybzje"}
PATIENCE_MS = 60_000
MARK = secrets.token_hex(2)
NODE, SOURCE = f"市民政局救助节点{MARK}", f"低保业务库{MARK}"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The department's own database of allowances."""
    file = tmp_path / "dibao.db"
    with closing(sqlite3.connect(file)) as base:
        base.execute(
            "CREATE TABLE dibao (jtbh TEXT PRIMARY KEY NOT NULL, hzxm TEXT, hzsfzh TEXT, bzrks INTEGER, ybzje DECIMAL(10,2), "
            "qsny TEXT, gxsj TIMESTAMP)"
        )
        base.executemany(
            "INSERT INTO dibao VALUES (?, ?, ?, 2, 812.5, '202601', '2026-03-01 08:00:00')",
            [(f"JT{n:06}", f"户主{n}", "11010519491231002X") for n in range(500)],
        )
        base.commit()
    return file


def test_a_department_without_a_node_comes_to_a_daily_exchange_and_mends_a_failed_run(
    signed_in: Callable[..., Page], machine: Callable[[str], str], database: Path
) -> None:
    a_node_is_registered_and_approved(signed_in("mingang"), machine)
    the_database_is_registered_and_bound(signed_in("minxin"), database)
    the_data_is_requested_and_granted(signed_in)
    task = a_daily_task_is_configured(signed_in("renqi"))
    task.get_by_role("button", name="现在运行").click()
    expect(task.locator(".page-head")).to_contain_text("已对账", timeout=PATIENCE_MS)
    expect(task.locator("#receipt").get_by_text("有效", exact=False)).to_have_count(2)
    assert fits(task)
    keep_picture(task, "walk-run")
    the_source_changes_and_the_run_explains_it(task, signed_in("minxin"), database)
    the_map_shows_it(signed_in("jinhai"))


def a_node_is_registered_and_approved(page: Page, machine: Callable[[str], str]) -> None:
    page.get_by_role("link", name="节点", exact=True).first.click()
    page.get_by_role("link", name="登记节点").click()
    page.get_by_label("节点标识").fill(f"dibao-{MARK}")
    page.get_by_label("名称").fill(NODE)
    page.get_by_role("button", name="登记节点，取接入码").click()
    keep_picture(page, "walk-node-code")
    assert fits(page)
    said = machine(page.locator("#register-command").inner_text())
    shown = re.search(r"([0-9a-f]{4} ?){4,}", said)
    assert shown is not None, said
    machine(page.locator("#run-command").inner_text())
    page.get_by_role("link", name="已记下，到节点页").click()
    expect(page.locator(".page-head")).to_contain_text("待核准")
    keep_picture(page, "walk-node-awaits")
    page.get_by_role("link", name="核准节点").click()
    page.get_by_label("节点机器上显示的密钥指纹").fill("0000 0000")
    page.get_by_role("button", name="指纹一致，核准").click()
    expect(page.locator(".error-summary")).to_be_visible()
    page.get_by_label("节点机器上显示的密钥指纹").fill(shown[0])
    page.get_by_role("button", name="指纹一致，核准").click()
    expect(page.locator(".page-head")).to_contain_text("在用")
    keep_picture(page, "walk-node")


def the_database_is_registered_and_bound(page: Page, database: Path) -> None:
    page.get_by_role("link", name="数据源与挂接").first.click()
    page.get_by_role("link", name="登记数据源").click()
    page.get_by_label("类型").select_option(label="SQLite")
    expect(page.get_by_label("文件路径")).to_be_visible()
    page.get_by_label("经由节点").select_option(label=NODE)
    page.get_by_label("名称").fill(SOURCE)
    page.get_by_label("文件路径").fill(str(database))
    keep_picture(page, "walk-source-form")
    page.get_by_role("button", name="登记并测试").click()
    expect(page.locator("#tables")).to_contain_text("dibao", timeout=PATIENCE_MS)
    page.get_by_role("link", name="保护数据源").click()
    page.get_by_label("限速（行/秒）").fill("20000")
    page.get_by_role("button", name="保存").click()
    expect(page.locator("#protection")).to_contain_text("20,000行/秒")
    keep_picture(page, "walk-source")
    page.goto("/exchange/bindings?q=最低生活保障")
    page.get_by_role("link", name=ENTRY).click()
    page.get_by_label("数据源").select_option(label=SOURCE)
    page.wait_for_url(re.compile("source="))
    page.locator("#id_table").select_option(label="dibao")
    page.wait_for_url(re.compile("table=dibao"))
    for column in COLUMNS.values():
        expect(page.locator(f"#id_column-{column}")).to_have_value(column)  # suggested by name
    page.get_by_role("button", name="保存挂接").click()
    expect(page.get_by_text("已挂接到dibao")).to_be_visible()


def the_data_is_requested_and_granted(signed_in: Callable[..., Page]) -> None:
    anning = signed_in("anning")
    search(anning, "最低生活保障")
    anning.get_by_role("link", name=ENTRY).click()
    anning.get_by_role("link", name="申请使用").click()
    for item in COLUMNS:
        anning.get_by_role("checkbox", name=item).check()
    anning.get_by_label("批量交换").check()
    anning.get_by_label("使用依据").fill("《社会保险经办条例》第二十条")
    anning.get_by_label("使用场景").fill("核验困难群体代缴养老保险费资格。")
    anning.get_by_label("使用范围").fill("养老保险科，5名经办人员使用。")
    anning.get_by_label("用途", exact=True).fill("困难群体代缴核验")
    anning.get_by_label("使用起").fill("2026-03-18")
    anning.get_by_label("使用止").fill("2026-12-31")
    anning.get_by_role("button", name="提交本部门审批").click()
    expect(anning.locator(".page-head")).to_contain_text("待本方审批")
    number = found_number(anning)
    from_desk(signed_in("renzhong"), number).get_by_role("button", name="批准申请").click()
    minxin = from_desk(signed_in("minxin"), number)
    minxin.get_by_label("答复意见").fill("用途明确。")
    minxin.get_by_role("button", name="提交答复").click()
    expect(minxin.locator(".page-head")).to_contain_text("待答复审批")
    minsheng = from_desk(signed_in("minsheng"), number)
    minsheng.get_by_role("button", name="批准答复").click()
    expect(minsheng.locator(".page-head")).to_contain_text("已授权")


def a_daily_task_is_configured(page: Page) -> Page:
    page.goto("/exchange/tasks?q=最低生活保障")
    page.get_by_role("link", name=ENTRY).first.click()
    page.get_by_role("link", name="配置任务").first.click()
    page.get_by_label("交付到").select_option(index=1)
    page.get_by_label("目标表", exact=True).fill("mzj_dibao")
    page.get_by_label("计划").select_option(label="每天")
    page.get_by_label("几点").fill("02:30")
    keep_picture(page, "walk-configure")
    page.get_by_role("button", name="保存配置").click()
    expect(page.locator("#plan")).to_contain_text("每天02:30")
    expect(page.locator("#plan")).to_contain_text("2026-03-20 02:30")
    keep_picture(page, "walk-task")
    return page


def the_source_changes_and_the_run_explains_it(page: Page, provider: Page, database: Path) -> None:
    with closing(sqlite3.connect(database)) as base:
        base.execute("ALTER TABLE dibao RENAME COLUMN ybzje TO ybzje_yuan")
        base.commit()
    page.get_by_role("button", name="重新运行").or_(page.get_by_role("link", name=re.compile(r"^JH-"))).first.click()
    page.get_by_role("button", name="现在运行").click()
    expect(page.locator(".page-head")).to_contain_text("失败", timeout=PATIENCE_MS)
    mend = page.locator("#mend")
    expect(mend).to_contain_text("不再有的列 ybzje")
    expect(mend).to_contain_text("没有读取任何数据")
    expect(mend).to_contain_text("目标表没有留下半批数据")
    expect(mend.get_by_role("button", name="重新运行")).to_be_visible()
    keep_picture(page, "walk-failed")
    address = page.url

    provider.goto(address)
    provider.get_by_role("button", name="重读表结构").click()
    expect(provider.locator("#source-live")).not_to_contain_text("节点办理中", timeout=PATIENCE_MS)
    provider.goto(address)
    provider.get_by_role("link", name="调整挂接").click()
    provider.locator("#id_column-ybzje").select_option("ybzje_yuan")
    provider.get_by_role("button", name="保存挂接").click()
    provider.goto(address)
    provider.get_by_role("button", name="确认新的结构").click()
    expect(provider.get_by_text("已确认来源现在的结构")).to_be_visible()

    page.goto(address)
    page.get_by_role("button", name="重新运行").click()
    expect(page.locator(".page-head")).to_contain_text("已对账", timeout=PATIENCE_MS)


def the_map_shows_it(page: Page) -> None:
    page.goto("/exchange/monitor")
    edge = page.locator("#edges tbody tr", has_text="市民政局").filter(has_text="市人社局")
    expect(edge).to_have_count(1)
    expect(page.locator("[data-chart='map-data'] canvas")).to_be_visible()
    keep_picture(page, "walk-map")
    edge.get_by_role("link").nth(1).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("运行记录")
