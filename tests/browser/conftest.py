"""One running city for all journeys, and one browser; each journey signs in as the person whose job it is."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, StorageState, expect, sync_playwright

from jinqiao.kernel.ports import free_port
from jinqiao.supervisor import Platform

CHROMIUM = next(
    (found for name in ("chromium", "google-chrome", "chromium-browser") if (found := shutil.which(name))), None
)
WIDE, NARROW = 1440, 390
expect.set_options(timeout=15_000)


@dataclass(frozen=True)
class City:
    """Where the pages are, and the one password of everybody in the cast."""

    url: str
    home: Path

    @property
    def password(self) -> str:
        cast: dict[str, str] = json.loads((self.home / "demo" / "cast.json").read_text(encoding="utf-8"))
        return cast["password"]


# both end with this folder: an open playwright keeps an event loop in the thread, and Django's database refuses to work beside one
@pytest.fixture(scope="package")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """The demo city, running: built as `./run` builds it, or the one that runs already (JINQIAO_CITY="<address> <home>")."""
    running = os.environ.get("JINQIAO_CITY", "").split()
    if running:
        yield City(running[0], Path(running[1]))
        return
    kept = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("JINQIAO_", "DATABASE_", "DJANGO_"))]:
        if name != "JINQIAO_ASSETS":
            del os.environ[name]
    try:
        platform = Platform(tmp_path_factory.mktemp("city") / "home", port=free_port(), demo=True)
    finally:
        os.environ.update(kept)
    platform.prepare()
    try:
        platform.start()
        platform.settle()
        yield City(platform.url, platform.home)
    finally:
        platform.stop()


@pytest.fixture(scope="package")
def browser(city: City) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def window(city: City, browser: Browser) -> Iterator[Callable[..., Page]]:
    """`window()` is an empty page of a visitor. A script error or a breach of the content security policy fails the test."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def heard(said: ConsoleMessage) -> None:
        if said.type == "error" and "Content Security" in said.text:
            problems.append(f"{said.location}: {said.text}")

    def open_window(*, width: int = WIDE, script: bool = True, session: StorageState | None = None) -> Page:
        context = browser.new_context(
            base_url=city.url,
            viewport={"width": width, "height": 900},
            locale="zh-CN",
            java_script_enabled=script,
            storage_state=session,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
        page.on("console", heard)
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="package")
def sessions() -> dict[str, StorageState]:
    """Who has signed in before: checking a password is slow on purpose, so each does it once."""
    return {}


@pytest.fixture
def signed_in(city: City, window: Callable[..., Page], sessions: dict[str, StorageState]) -> Callable[..., Page]:
    """`signed_in("anning")` gives that person's first page in a window of their own."""

    def enter(username: str, *, width: int = WIDE, script: bool = True) -> Page:
        page = window(width=width, script=script, session=sessions.get(username))
        page.goto("/login")  # leads who is signed in to the first page
        if username not in sessions:
            sign_in(page, username, city.password)
            page.wait_for_url(lambda url: "/login" not in url)
            sessions[username] = page.context.storage_state()
        return page

    return enter


def sign_in(page: Page, username: str, password: str) -> None:
    page.get_by_label("平台账号").fill(username)
    page.get_by_label("口令").fill(password)
    page.get_by_role("button", name="登录").click()


def fits(page: Page) -> bool:
    """Whether nothing sticks out to the right of the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def keep_picture(page: Page, name: str) -> None:
    """The page as it stands, wide and narrow, in the folder that JINQIAO_SHOTS names, if any."""
    folder = os.environ.get("JINQIAO_SHOTS")
    if not folder:
        return
    size = page.viewport_size
    for width in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=Path(folder) / f"{name}-{width}.png", full_page=True)
    if size:
        page.set_viewport_size(size)
