"""Helpers of the tests of the console's pages in Chromium."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from tests.support.browser_seed import PASSWORD
from tests.support.places import ROOT

NewPage = Callable[..., Page]
"""The type of the fixture `new_page`."""
PICTURES = ROOT / ".artifacts" / "browser"


class Labels:
    """The texts of one language. The Japanese ones are the manual's."""

    def __init__(self, language: str) -> None:
        def text(ja: str, en: str) -> str:
            return ja if language == "ja" else en

        self.language = language
        self.username = text("ユーザ名", "User name")
        self.password = text("パスワード", "Password")
        self.log_in = text("ログイン", "Log in")
        self.password_change = text("パスワード変更", "Password change")
        self.current_password = text("現在のパスワード", "Current password")
        self.new_password = text("新しいパスワード", "New password")
        self.push = text(
            "「coconowork client」にパスワードの変更を反映する",
            "Apply the password change to “coconowork client”",
        )
        self.change = text("変更", "Change")
        self.changed = text("パスワードが変更されました。", "The password was changed.")
        self.user_management = text("ユーザ管理", "User management")
        self.must_change = text(
            "次回ログイン時にパスワードの変更が必要", "Password change required at next login"
        )
        self.force = text("パスワードを変更", "Change password")
        self.rules = text("ココナワークのパスワードの条件", "Rules for coconowork passwords")
        self.waiting = text("待ち受け中", "Waiting")
        self.applied = text("反映済み", "Applied")
        self.not_applied = text("反映していません", "Not applied")
        self.days_left_30 = text("残り30日", "30 days left")
        self.refused = text(
            "ユーザ名またはパスワードが正しくありません。",
            "The user name or the password is wrong.",
        )
        self.other_language = text("English", "日本語")


JA, EN = Labels("ja"), Labels("en")


def log_in(
    page: Page, words: Labels, username: str, password: str = PASSWORD, *, path: str = "/login/"
) -> None:
    """Log in. Fail with the login page's text if the login is refused."""
    page.goto(path)
    page.get_by_label(words.username).fill(username)
    page.get_by_label(words.password).fill(password)
    with page.expect_navigation():
        page.get_by_role("button", name=words.log_in).click()


def fill_new(page: Page, words: Labels, new: str) -> None:
    """Type a new password into both fields, once the page has them."""
    for field in (0, 1):
        page.get_by_label(words.new_password).nth(field).fill(new)
