"""Chromium for tests of the console's pages, and where they keep its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.browser_seed import PASSWORD
from tests.support.labels import Labels
from tests.support.places import ROOT

NewPage = Callable[..., Page]
PICTURES = ROOT / ".artifacts" / "browser"
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


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium without a screen."""
    if not Path(CHROMIUM).exists():
        pytest.skip("Debian package is missing: chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def pages(browser: Browser, console: str) -> Iterator[NewPage]:
    """Yield a function that opens a page in a fresh profile. No page may log an error."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def new_page(language: str = "ja", **options: object) -> Page:
        context = browser.new_context(
            base_url=console,
            locale={"ja": "ja-JP", "en": "en-US"}[language],
            timezone_id="Asia/Tokyo",
            **options,  # type: ignore[arg-type]  # Playwright has one parameter for each
        )
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console", lambda said: problems.append(said.text) if "Policy" in said.text else None
        )
        return page

    expect.set_options(timeout=WAIT_MS)
    yield new_page
    for context in contexts:
        context.close()
    assert not problems


def log_in(
    page: Page, words: Labels, username: str, password: str = PASSWORD, *, path: str = "/login/"
) -> None:
    """Log in, or find out at the login page why not."""
    page.goto(path)
    page.get_by_label(words.username).fill(username)
    page.get_by_label(words.password).fill(password)
    with page.expect_navigation():
        page.get_by_role("button", name=words.log_in).click()


def fill_new(page: Page, words: Labels, new: str) -> None:
    """Type a new password into both fields, as soon as the page has them."""
    for field in (0, 1):
        page.get_by_label(words.new_password).nth(field).fill(new)
