"""One running city for all journeys, and one browser; each journey signs in as the person whose job it is."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from jinqiao.supervisor import Platform, free_port

CHROMIUM = next(
    (found for name in ("chromium", "google-chrome", "chromium-browser") if (found := shutil.which(name))), None
)
expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The demo city, running: built as `./run` builds it."""
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
        yield platform
    finally:
        platform.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
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
def signed_in(city: Platform, browser: Browser) -> Iterator[Callable[..., Page]]:
    """`signed_in("anning")` gives that person's desk in a window of their own. A script error on any page fails the test."""
    cast = json.loads((city.home / "demo" / "cast.json").read_text(encoding="utf-8"))
    contexts = []
    problems: list[str] = []

    def enter(username: str, *, width: int = 1440) -> Page:
        context = browser.new_context(base_url=city.url, viewport={"width": width, "height": 900}, locale="zh-CN")
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda said: (
                problems.append(f"{page.url}: {said.text}")
                if said.type == "error" and "Content Security" in said.text
                else None
            ),
        )
        page.goto("/login")
        page.get_by_label("登录名").fill(username)
        page.get_by_label("口令").fill(cast["password"])
        page.get_by_role("button", name="登录").click()
        page.wait_for_url(lambda url: "/login" not in url)
        return page

    yield enter
    for context in contexts:
        context.close()
    assert problems == []


def shots() -> Path | None:
    """Where to keep screenshots of the journeys, if anywhere (JINQIAO_SHOTS)."""
    folder = os.environ.get("JINQIAO_SHOTS")
    return Path(folder) if folder else None
