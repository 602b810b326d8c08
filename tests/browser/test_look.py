"""Every page in both languages, small and large, light and dark: axe-core, and pictures."""

from __future__ import annotations

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import PICTURES, NewPage, Server
from tests.browser.seed import ADMINISTRATOR, PASSWORD

JUDGED = ((1440, "light"), (360, "dark"))
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
Scheme = Literal["light", "dark"]
LOOKS: tuple[tuple[int, Scheme], ...] = (
    (1440, "light"),
    (360, "light"),
    (360, "dark"),
    (1440, "dark"),
)

BEYOND = """() => [...document.querySelectorAll("main *, header *")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth - 4 && e.closest(".skip") === null)
  .map((e) => e.outerHTML.slice(0, 90))"""
"""What does not fit into the width of the window."""


@pytest.fixture(scope="module")
def shown(server: Server) -> Server:
    server.seed("show")
    return server


def log_in(page: Page, username: str, path: str = "/login/") -> None:
    page.goto(path)
    page.locator("[name=username]").fill(username)
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("main button:not([type=button])").click()
    page.wait_for_url(lambda url: "login" not in url)


class Looker:
    """Visits pages, has axe-core judge them, and takes their pictures."""

    def __init__(self, page: Page, language: str) -> None:
        self.page = page
        self._language = language
        self.violations: list[str] = []

    def see(self, name: str, path: str | None = None) -> None:
        if path:
            self.page.goto(path)
        for width, scheme in LOOKS:
            look = f"{name}-{self._language}-{width}-{scheme}"
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(color_scheme=scheme)
            self.page.screenshot(path=PICTURES / f"{look}.png", full_page=True)
            if (width, scheme) in JUDGED:
                self._judge(look)

    def _judge(self, look: str) -> None:
        options = {"resultTypes": ["violations"], "runOnly": TAGS}
        for violation in Axe().run(self.page, options=options).response["violations"]:
            nodes = [node["html"] for node in violation["nodes"]]
            self.violations.append(f"{look}: {violation['id']}: {nodes}")
        beyond = self.page.evaluate(BEYOND)
        if beyond:
            self.violations.append(f"{look}: beyond the window: {beyond}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_page(shown: Server, new_page: NewPage, language: str) -> None:
    """axe-core finds nothing, and nothing reaches beyond the window."""
    PICTURES.mkdir(parents=True, exist_ok=True)

    def looker() -> Looker:
        return Looker(new_page(language), language)

    stranger, user, fresh, admin = looker(), looker(), looker(), looker()
    _strangers_pages(stranger)
    _users_pages(user)
    log_in(fresh.page, "sato")
    fresh.see("temporary-password")
    _administrators_pages(admin)
    problems = [*stranger.violations, *user.violations, *fresh.violations, *admin.violations]
    assert not problems, "\n".join(problems)


def _strangers_pages(look: Looker) -> None:
    look.see("login", "/login/")
    look.page.locator("[name=username]").fill("nobody-there")
    look.page.locator("[name=password]").fill("wrong")
    look.page.locator("main button:not([type=button])").click()
    look.page.get_by_role("alert").wait_for()
    look.see("login-error")
    look.see("rules", "/password/rules/")
    look.see("app-login", "/app/login/")


def _users_pages(look: Looker) -> None:
    log_in(look.page, "tanaka")
    look.see("home", "/")
    look.see("password", "/password/")
    look.page.locator("[name=current_password]").fill(PASSWORD)
    look.page.locator("[name=new_password1]").fill("tanaka")
    look.page.locator("[name=new_password2]").fill("tanaka")
    look.page.locator("main form button:not([type=button])").click()
    look.page.get_by_role("alert").wait_for()
    look.see("password-error")
    look.see("end-old", "/password/end-old/")
    look.see("not-found", "/nowhere/")
    look.see("not-allowed", "/users/")
    look.see("app", "/app/")


def _administrators_pages(look: Looker) -> None:
    page = look.page
    log_in(page, ADMINISTRATOR)
    look.see("home-administrator", "/")
    look.see("password-administrator", "/password/")
    look.see("users", "/users/")
    look.see("users-none", "/users/?q=zzzz")
    page.goto("/users/")
    page.get_by_role("link", name="tanaka").click()
    look.see("user")
    look.see("user-new", "/users/new/")
    look.see("import", "/users/import/")
    look.see("old-passwords", "/old-passwords/")
    look.see("audit", "/audit/")
    look.see("audit-none", "/audit/?q=zzzz")
