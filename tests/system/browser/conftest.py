"""Fixtures of the browser's tests: a real server, and Chromium on its pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.browser_seed import ADMINISTRATOR, PASSWORD
from tests.support.chromium import NewPage
from tests.support.installation import Installation, Server

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WAIT_MS = 15_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test here, so that `-m 'not browser'` leaves it out."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a server with one account, whose name is Japanese."""
    installation = Installation(tmp_path_factory.mktemp("server") / "data")
    installation.create(
        account="株式会社ここな", user=ADMINISTRATOR, password=PASSWORD, name="総務 太郎"
    )
    with installation.serving() as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Run Chromium in headless mode."""
    if not Path(CHROMIUM).exists():
        pytest.skip("Debian package is missing: chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def new_page(browser: Browser, server: Server) -> Iterator[NewPage]:
    """`new_page(language="ja", **context)`: a page in a new profile, which must log no error."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def make(language: str = "ja", **options: object) -> Page:
        context = browser.new_context(
            base_url=server.console,
            locale={"ja": "ja-JP", "en": "en-US"}[language],
            timezone_id="Asia/Tokyo",
            **options,  # type: ignore[arg-type]  # Playwright has one parameter for each
        )
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda said: problems.append(said.text) if "Policy" in said.text else None,
        )
        return page

    expect.set_options(timeout=WAIT_MS)
    yield make
    for context in contexts:
        context.close()
    assert not problems
