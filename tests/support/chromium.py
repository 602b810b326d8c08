"""What the tests of the console's pages in Chromium share."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from tests.support.browser_seed import PASSWORD
from tests.support.labels import Labels
from tests.support.places import ROOT

NewPage = Callable[..., Page]
"""The type of the fixture `new_page`."""
PICTURES = ROOT / ".artifacts" / "browser"


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
